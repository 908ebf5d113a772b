"""LangGraph's own tests: where they come from, and how they are run against an engine.

They are read from LangGraph's source distribution, which is downloaded once into a cache outside the
repository; its tests are unpacked into a temporary folder for each run. Nothing of it is kept here but names.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

VERSION = "1.2.22"
SHA256 = "32700dc34b5cf9ebb397258c2e56392f017d4dbc51c9591339225c3c1b7b5126"

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

#: pytest loads the plugins of everything installed otherwise, LangSmith's among them.
PLUGINS = ("anyio.pytest_plugin", "pytest_mock", "syrupy", "xdist.plugin", "pytest_timeout", "suite_plugin")

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


class SourceMissingError(Exception):
    """The source distribution is not in the cache and could not be downloaded."""


def cached_source() -> Path:
    """Return the source distribution, downloaded if need be.

    Raises:
        SourceMissingError: It is not there, or is not the one whose tests we know.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-stream"
    source = cache / f"langgraph-{VERSION}.tar.gz"
    if not source.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _download(Path(folder))
            (Path(folder) / source.name).replace(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SourceMissingError(f"{source} has SHA-256 {digest}, not {SHA256}: remove it and run again")
    return source


def _download(folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", "langgraph", "--dest", str(folder), f"langgraph=={VERSION}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SourceMissingError(f"pip could not download langgraph {VERSION}: {done.stderr.strip()[-500:]}")


def unpack(folder: Path) -> None:
    """Lay LangGraph's tests, without their conftest, into ``folder/tests``."""
    prefix = f"langgraph-{VERSION}/tests/"
    with tarfile.open(cached_source()) as source:
        for member in source.getmembers():
            path = member.name.removeprefix(prefix)
            if member.isfile() and path != member.name and not path.startswith("conftest"):
                member.name = f"tests/{path}"
                source.extract(member, folder, filter="data")
    (folder / "pytest.ini").write_text(SETTINGS)


def run(tests: Iterable[str], target: str, folder: Path, *arguments: str) -> dict[str, list[Outcome]]:
    """Run ``tests``, ids without parameters, in ``folder``, with ``target`` answering to LangGraph's name.

    A test has the outcomes of its parameter sets; none if it did not run, its file's if that fails to import.

    Raises:
        RuntimeError: pytest itself did not get through.
    """
    wanted, outcomes = folder / "tests.txt", folder / "outcomes.jsonl"
    found: dict[str, list[Outcome]] = {test: [] for test in tests}
    wanted.write_text("\n".join(found))
    outcomes.touch()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors"),
            *("--target", target, "--tests", str(wanted), "--outcomes", str(outcomes)),
            *(argument for plugin in PLUGINS for argument in ("-p", plugin)),
            *arguments,
            *sorted({file_of(test) for test in found}),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(folder), str(HERE), str(ROOT)]),
            "LANGSMITH_TRACING": "false",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = outcomes.read_text().splitlines()
    if not lines:
        raise RuntimeError(f"pytest ended with {done.returncode} and no outcome:\n{done.stdout[-4000:]}")
    for outcome in (Outcome(**json.loads(line)) for line in lines):
        alike = [test for test in found if file_of(test) == outcome.test] or [outcome.test.partition("[")[0]]
        for test in alike:
            found[test].append(outcome)
    return found


def file_of(test: str) -> str:
    return test.partition("::")[0]
