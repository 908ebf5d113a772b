"""LangGraph's own tests, and how the tests of others are run against an engine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.conformance.sources import Source

LANGGRAPH = Source("langgraph", "1.2.22", "32700dc34b5cf9ebb397258c2e56392f017d4dbc51c9591339225c3c1b7b5126")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

#: pytest loads the plugins of everything installed otherwise, LangSmith's among them.
PLUGINS = (
    *("anyio.pytest_plugin", "pytest_mock", "syrupy", "xdist.plugin", "pytest_timeout"),
    "suite_plugin",
)

SETTINGS = """
[pytest]
addopts = --strict-markers --snapshot-warn-unused -p no:cacheprovider
timeout = 30
"""


class Outcome(NamedTuple):
    """What became of one test, one parameter set of it."""

    test: str
    outcome: str
    why: str


def unpack(folder: Path) -> None:
    """Lay LangGraph's tests, without their conftest, into ``folder/tests``."""
    LANGGRAPH.unpack(folder, lambda path: path.startswith("tests/") and not path.startswith("tests/conftest"))
    (folder / "pytest.ini").write_text(SETTINGS)


def run(tests: Iterable[str], target: str, folder: Path, *arguments: str) -> dict[str, list[Outcome]]:
    """Run ``tests``, ids without parameters, in ``folder``, with ``target`` answering to LangGraph's name.

    A test has the outcomes of its parameter sets; none if it did not run, its file's if that fails to import.

    Raises:
        RuntimeError: pytest itself did not get through.
    """
    wanted = folder / "tests.txt"
    found: dict[str, list[Outcome]] = {test: [] for test in tests}
    wanted.write_text("\n".join(found))
    arguments = (
        *("--tests", str(wanted)),
        *(argument for plugin in PLUGINS for argument in ("-p", plugin)),
        *arguments,
        *sorted({file_of(test) for test in found}),
    )
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for outcome in outcomes_of(sys.executable, target, folder, arguments, environment):
        alike = [test for test in found if file_of(test) == outcome.test] or [outcome.test.partition("[")[0]]
        for test in alike:
            found[test].append(outcome)
    return found


def outcomes_of(
    python: str, target: str, folder: Path, arguments: Iterable[str], environment: Mapping[str, str]
) -> list[Outcome]:
    """Run pytest in ``folder``, with ``target`` answering to LangGraph's name.

    Raises:
        RuntimeError: pytest itself did not get through.
    """
    outcomes = folder / f"outcomes-{target}.jsonl"
    outcomes.touch()
    done = subprocess.run(
        [
            *(python, "-m", "pytest", "-q", "--continue-on-collection-errors", "-p", "outcomes_plugin"),
            *("--target", target, "--outcomes", str(outcomes)),
            *arguments,
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(HERE), str(ROOT)]),
            "LANGSMITH_TRACING": "false",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = outcomes.read_text().splitlines()
    if not lines:
        raise RuntimeError(f"pytest ended with {done.returncode} and no outcome:\n{done.stdout[-4000:]}")
    return [Outcome(**json.loads(line)) for line in lines]


def file_of(test: str) -> str:
    return test.partition("::")[0]
