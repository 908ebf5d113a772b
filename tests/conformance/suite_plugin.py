"""The pytest plugin that takes the place of LangGraph's ``conftest.py``, which wants Redis and Postgres.

It has the same fixtures with what runs in memory.
"""

from pathlib import Path
from uuid import UUID

import pytest
from pytest_mock import MockerFixture


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--tests", type=Path, help="file with the tests to run, one id without parameters a line")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Ids on the command line would keep every test away when one file of theirs can't be imported.
    wanted = set(config.getoption("tests").read_text().split())
    items[:] = [item for item in items if item.nodeid.partition("[")[0] in wanted]


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
