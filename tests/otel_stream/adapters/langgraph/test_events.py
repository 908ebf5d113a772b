"""What LangGraph does, as our events: every start has its end, and each end says how it was."""

import asyncio
from collections import Counter

import pytest

from otel_stream import events as e
from tests.engine.recorder import Recorder, unbalanced
from tests.otel_stream.adapters.langgraph.scenarios import Scenario, run, run_async, scenarios

SYNC = [pytest.param(one, id=one.name) for one in scenarios(is_async=False)]
ASYNC = [pytest.param(one, id=one.name) for one in scenarios(is_async=True)]


def holds(scenario: Scenario, told: Recorder) -> None:
    assert unbalanced(told.events) == []
    assert Counter(end for _, end in told.ends()) == Counter(scenario.ends)
    if scenario.tasks:
        ends = Counter(f"{node} {end}" for node, end in told.task_ends())
        assert ends == Counter(scenario.tasks)
    attempts = [event for event in told.of(e.AttemptEnded) if event.retryable and event.error is not None]
    for event in attempts:
        last = event.attempt == event.task.attempt
        assert (event.retry_after is None) is last


@pytest.mark.parametrize("scenario", SYNC)
def test_every_start_has_its_end(scenario: Scenario, told: Recorder) -> None:
    run(scenario)
    holds(scenario, told)


@pytest.mark.parametrize("scenario", ASYNC)
def test_every_start_has_its_end_on_an_event_loop(scenario: Scenario, told: Recorder) -> None:
    asyncio.run(run_async(scenario))
    holds(scenario, told)
