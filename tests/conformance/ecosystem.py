"""Run the suites of what is built on LangGraph twice, on LangGraph and on our engine, and print both results.

    python -m tests.conformance.ecosystem [--observed] [-k EXPRESSION] [SUITE ...]

Each suite is its project's own, from its source distribution; not one of its tests is edited. On our engine
``import langgraph...`` is answered by ``alias``; with ``--observed`` the second time is LangGraph, too, with
all its runs observed. What passes on LangGraph only goes, with the reason, to ``.survey/ecosystem.txt``, or
``.survey/observed.txt``. Everything runs in an environment of its own, whose versions are in
``ecosystem.txt``, made once.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.conformance.sources import Source
from tests.conformance.suite import HERE, ROOT, Outcome, outcomes_of
from tests.environments import made

PINS = HERE / "ecosystem.txt"
SURVEYS = ROOT / ".survey"


class Target(NamedTuple):
    """What the suites run on: the package that answers to LangGraph's name, and pytest's plugins beside."""

    name: str
    package: str
    plugins: tuple[str, ...] = ()


LANGGRAPH = Target("LangGraph", "langgraph")
ENGINE = Target("engine", "engine")
OBSERVED = Target("observed", "langgraph", ("-p", "observed_plugin"))


class Suite(NamedTuple):
    """Tests that are run: ``tests`` is a folder, in the source distribution or, without one, beside us."""

    name: str
    source: Source | None
    tests: str
    #: Whether it asks what is observed, and so runs on nothing else.
    observes: bool = False

    def lay(self, folder: Path) -> None:
        """Lay the tests, and how their project configures pytest, into ``folder``."""
        if self.source is None:
            shutil.copytree(HERE / self.tests, folder / self.tests)
            (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
        else:
            self.source.unpack(folder, lambda path: path.startswith("tests/") or path == "pyproject.toml")


SUITES = (
    Suite(
        "prebuilt",
        Source(
            "langgraph-prebuilt", "1.1.3", "7ee72332e925000e3d24d2d491dd0ebb9d3a44dbffe650185943b730a832cf6d"
        ),
        "tests",
    ),
    Suite(
        "supervisor",
        Source(
            "langgraph-supervisor",
            "0.0.31",
            "0f71d5098fa1ac274423eff08750345450045c1e0dd2480ab7f3e5c1848f6016",
        ),
        "tests",
    ),
    Suite(
        "swarm",
        Source(
            "langgraph-swarm", "0.1.0", "e0f189fc2471d06108fc293da05771d0106d72f755cd130ee37d579561942479"
        ),
        "tests",
    ),
    # Its source distributions carry no tests: these are ours, of what its README shows.
    Suite("trustcall", None, "trustcall"),
    Suite(
        "create_agent",
        Source("langchain", "1.5.2", "63816aee7f55503db5c4f266a0874047d417957ae70cbf27397325c584982c52"),
        "tests/unit_tests/agents",
    ),
    # Ours: what receivers get of agents is what LangGraph streams.
    Suite("agents", None, "agents", observes=True),
)


class Result(NamedTuple):
    """What became of a suite's tests, by their ids, on LangGraph and on the other target."""

    langgraph: Mapping[str, Outcome]
    other: Mapping[str, Outcome]

    @property
    def expected(self) -> list[str]:
        """The tests that pass on LangGraph."""
        return [test for test, found in self.langgraph.items() if found.outcome == "passed"]

    @property
    def failing(self) -> dict[str, str]:
        """Those that do not pass on the other target, and why."""
        lost = Outcome("", "failed", "did not run: its file can't be imported")
        found = {test: self.other.get(test, lost) for test in self.expected}
        return {test: outcome.why for test, outcome in found.items() if outcome.outcome != "passed"}


def run(suite: Suite, other: Target, python: str, expression: str) -> Result:
    """Run a suite on LangGraph and on ``other`` at once."""
    arguments = ["--timeout", "60", "-p", "no:cacheprovider", *(["-k", expression] if expression else [])]

    def one(target: Target) -> dict[str, Outcome]:
        with tempfile.TemporaryDirectory() as name:
            suite.lay(Path(name))
            asked = [*target.plugins, *arguments, suite.tests]
            found = outcomes_of(python, target.package, Path(name), asked, {})
        # Of a test's call and its teardown, what failed counts.
        return {outcome.test: outcome for outcome in sorted(found, key=lambda one: one.outcome == "failed")}

    with ThreadPoolExecutor() as pool:
        return Result(*pool.map(one, (LANGGRAPH, other)))


def print_row(name: str, version: str, results: list[Result]) -> None:
    """Print how many tests pass on LangGraph, and how many of those on the other target."""
    expected = sum(len(result.expected) for result in results)
    passed = expected - sum(len(result.failing) for result in results)
    share = f"{passed / expected:8.1%}" if expected else ""
    print(f"{name:16}{version:10}{expected:14}{passed:10}{share}", flush=True)


def write_failures(results: Mapping[str, Result], file: Path) -> None:
    """Write what passes on LangGraph only, and its reasons, counted."""
    reasons: Counter[str] = Counter()
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as out:
        for name, result in results.items():
            for test, why in result.failing.items():
                out.write(f"{name} {test}\n    {' '.join(why.split())[:400]}\n")
                reasons[" ".join(why.split())[:110]] += 1
        out.write("\nreasons\n")
        out.writelines(f"{count:5} {reason}\n" for reason, count in reasons.most_common())


def main() -> None:
    """Run the suites that are asked for, all by default."""
    parser = argparse.ArgumentParser(prog="ecosystem", description=(__doc__ or "").partition("\n")[0])
    names = [suite.name for suite in SUITES]
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"some of {', '.join(names)}")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only tests that match, as in pytest")
    parser.add_argument("--observed", action="store_true", help="on LangGraph alone and observed")
    options = parser.parse_args()
    unknown = [name for name in options.suites if name not in names]
    if unknown:
        parser.error(f"{unknown[0]!r} is no suite; choose from {', '.join(names)}")
    other = OBSERVED if options.observed else ENGINE
    failures = SURVEYS / ("observed.txt" if options.observed else "ecosystem.txt")
    home = ROOT / ".venv" / "ecosystem"
    python = made(home, "--requirement", str(PINS), of=PINS.read_text())
    results: dict[str, Result] = {}
    print(f"{'':26}{'on LangGraph':>14}{f'of them {other.name}':>18}")
    for suite in SUITES:
        if suite.name in (options.suites or names) and (options.observed or not suite.observes):
            results[suite.name] = run(suite, other, python, options.k)
            print_row(suite.name, suite.source.version if suite.source else "", [results[suite.name]])
            write_failures(results, failures)
    print_row("all", "", [*results.values()])
    print(f"what passes on LangGraph only is in {failures.relative_to(ROOT)}")
    if options.observed and any(result.failing for result in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
