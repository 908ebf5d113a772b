"""The pytest plugin inside the process that runs LangGraph's tests.

It takes the place of LangGraph's ``conftest.py``, which wants Redis and Postgres: the same fixtures with what
runs in memory. And it writes what became of each test, one JSON line each, for the process outside to read.
"""

import json
from pathlib import Path
from uuid import UUID

import alias
import pytest
from pytest_mock import MockerFixture


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--target", default="engine", help="package that answers to langgraph's name")
    group.addoption("--outcomes", type=Path, help="file for the outcomes, JSON lines")
    group.addoption("--tests", type=Path, help="file with the tests to run, one id without parameters a line")


def pytest_configure(config: pytest.Config) -> None:
    target = config.getoption("target")
    if target != "langgraph":
        alias.install(target)
    if config.getoption("outcomes") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config.getoption("outcomes")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Ids on the command line would keep every test away when one file of theirs can't be imported.
    wanted = set(config.getoption("tests").read_text().split())
    items[:] = [item for item in items if item.nodeid.partition("[")[0] in wanted]


def pytest_collection_finish() -> None:
    alias.Missing.collecting = False


class Outcomes:
    def __init__(self, file: Path) -> None:
        self._file = file.open("w")

    def _write(self, test: str, outcome: str, why: object) -> None:
        message = getattr(getattr(why, "reprcrash", None), "message", None) or str(why or "")
        self._file.write(json.dumps({"test": test, "outcome": outcome, "why": message}) + "\n")
        self._file.flush()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._write(report.nodeid, report.outcome, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(report.nodeid, "failed", report.longrepr)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def deterministic_uuids(mocker: MockerFixture) -> object:
    return mocker.patch("uuid.uuid4", side_effect=(UUID(int=n, version=4) for n in range(10_000)))


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# One set of parameters each, so that a test has the id that LangGraph's own run gives it.


@pytest.fixture(params=["memory"])
def cache(request: pytest.FixtureRequest) -> object:
    from langgraph.cache.memory import InMemoryCache

    return InMemoryCache()


@pytest.fixture(params=["in_memory"])
def sync_store(request: pytest.FixtureRequest) -> object:
    from langgraph.store.memory import InMemoryStore

    return InMemoryStore()


@pytest.fixture(params=["in_memory"])
def async_store(request: pytest.FixtureRequest) -> object:
    from langgraph.store.memory import InMemoryStore

    return InMemoryStore()


@pytest.fixture(params=["memory"])
def sync_checkpointer(request: pytest.FixtureRequest) -> object:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


@pytest.fixture(params=["memory"])
def async_checkpointer(request: pytest.FixtureRequest) -> object:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()
