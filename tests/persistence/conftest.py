"""One PostgreSQL server for all tests that want one, and a database of its own for each."""

import itertools
from collections.abc import Iterator

import pytest

from tests import postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as server:
        yield server


@pytest.fixture(scope="module")
def places(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where there is an empty database of each kind, kept for the tests of a module."""
    with postgres.database(postgres_server, f"test{next(_numbers)}") as place:
        yield {"sqlite": str(tmp_path_factory.mktemp("sqlite") / "threads.db"), "postgres": place}
