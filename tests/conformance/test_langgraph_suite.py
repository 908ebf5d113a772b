"""Tests that LangGraph wrote for its engine, passed by ours."""

import os
from pathlib import Path

import pytest

from tests.conformance.sources import SourceMissingError
from tests.conformance.suite import HERE, LANGGRAPH, Outcome, run, unpack

TESTS = (HERE / "tests.txt").read_text().split()

# The first test of the session waits for all of them; one worker gets them all.
pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("conformance")]


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Outcome]]:
    try:
        LANGGRAPH.cached()
    except SourceMissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"offline, and LangGraph's source distribution is not in the cache: {error}")
    folder: Path = tmp_path_factory.mktemp("langgraph")
    unpack(folder)
    return run(TESTS, "engine", folder)


@pytest.mark.parametrize("test", TESTS)
def test_the_engine_passes(outcomes: dict[str, list[Outcome]], test: str) -> None:
    assert outcomes[test], f"{test} did not run"
    assert [outcome for outcome in outcomes[test] if outcome.outcome != "passed"] == []
