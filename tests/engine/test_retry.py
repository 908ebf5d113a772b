"""Retries, timeouts and error handlers: what is tried again, how often, and what one sees of it."""

import operator
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    START,
    GraphInterrupt,
    NodeError,
    NodeTimeoutError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    StreamWriter,
    TimeoutPolicy,
    emit_message,
    interrupt,
)
from otel_stream import events as e
from otel_stream.config import StreamConfig
from tests.engine.recorder import WORLDS, Recorder, record, unbalanced

every_world = pytest.mark.parametrize("world", WORLDS)
NOW = RetryPolicy(initial_interval=0, jitter=False)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Flaky:
    """A node that fails ``failures`` times, then succeeds; it says which attempt it is."""

    def __init__(self, failures: int, error: type[Exception] = ConnectionError) -> None:
        self.failures = failures
        self.error = error
        self.attempts = 0

    def __call__(self, state: Any, writer: StreamWriter) -> dict[str, Any]:
        self.attempts += 1
        writer(self.attempts)
        if self.attempts <= self.failures:
            raise self.error(f"attempt {self.attempts}")
        return {"log": [f"attempt {self.attempts}"]}


def alone(node: Any, **options: Any) -> Any:
    return StateGraph(State).add_node("a", node, **options).add_edge(START, "a").compile(name="g")


def attempts(recorder: Recorder) -> list[tuple[str, int, Any]]:
    return [
        ("start", event.attempt, event.retryable)
        if isinstance(event, e.AttemptStarted)
        else ("end", event.attempt, (None if event.error is None else str(event.error), event.retry_after))
        for event in recorder.of(e.AttemptStarted, e.AttemptEnded)
    ]


# -- attempts --------------------------------------------------------------------------------------


@every_world
def test_every_attempt_is_told_with_its_error_and_the_pause_after_it(world: str) -> None:
    recorder, loop = record(alone(Flaky(2), retry_policy=NOW), {}, world=world)
    assert attempts(recorder) == [
        ("start", 1, True),
        ("end", 1, ("attempt 1", 0)),
        ("start", 2, True),
        ("end", 2, ("attempt 2", 0)),
        ("start", 3, True),
        ("end", 3, (None, None)),
    ]
    assert (recorder.task_ends(), loop.result) == ([("a", "ok")], {"log": ["attempt 3"]})
    assert [(x.task.attempt, x.data) for x in recorder.of(e.CustomWritten)] == [(3, 1), (3, 2), (3, 3)]


@every_world
def test_the_last_error_is_raised_when_attempts_run_out(world: str) -> None:
    recorder, loop = record(alone(Flaky(9), retry_policy=NOW), {}, world=world)
    assert [number for kind, number, _ in attempts(recorder) if kind == "start"] == [1, 2, 3]
    assert attempts(recorder)[-1] == ("end", 3, ("attempt 3", None))
    assert str(loop.error) == "attempt 3"
    assert recorder.ends() == [("g", "error")]


@every_world
def test_without_a_policy_there_is_one_attempt_and_none_is_expected(world: str) -> None:
    recorder, _ = record(alone(Flaky(1)), {}, world=world)
    assert attempts(recorder) == [("start", 1, False), ("end", 1, ("attempt 1", None))]


async def test_a_part_names_the_attempt_it_comes_from() -> None:
    graph = alone(Flaky(2), retry_policy=NOW)
    async with graph.open_stream({}, StreamConfig(modes="custom")) as stream:
        assert [(part.data, part.attempt) async for part in stream] == [(1, 1), (2, 2), (3, 3)]


@every_world
def test_a_retried_node_starts_from_the_same_state_and_leaves_no_trace_of_failures(world: str) -> None:
    inputs: list[Any] = []

    def node(state: Any) -> dict[str, Any]:
        inputs.append(state)
        if len(inputs) < 3:
            raise ConnectionError
        return {"log": ["done"]}

    _, loop = record(alone(node, retry_policy=NOW), {"log": ["in"]}, world=world)
    assert inputs == [{"log": ["in"]}] * 3
    assert loop.result == {"log": ["in", "done"]}


@every_world
@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError, OSError])
def test_mistakes_are_not_worth_another_attempt(error: type[Exception], world: str) -> None:
    node = Flaky(1, error)
    _recorder, loop = record(alone(node, retry_policy=NOW), {}, world=world)
    assert (node.attempts, type(loop.error)) == (1, error)


RULES: list[tuple[Any, type[Exception], int]] = [
    (KeyError, KeyError, 3),
    (LookupError, KeyError, 3),
    (KeyError, ValueError, 1),
    ([KeyError, ValueError], ValueError, 3),
    ((KeyError, ValueError), ValueError, 3),
    (lambda error: "attempt 1" in str(error), ValueError, 2),
]


@pytest.mark.parametrize(("rule", "error", "tried"), RULES)
def test_what_is_tried_again_is_for_the_policy_to_say(rule: Any, error: type[Exception], tried: int) -> None:
    node = Flaky(9, error)
    record(alone(node, retry_policy=NOW._replace(retry_on=rule)), {})
    assert node.attempts == tried


def test_the_first_policy_that_matches_decides() -> None:
    policies = [
        NOW._replace(retry_on=KeyError, max_attempts=2),
        NOW._replace(retry_on=LookupError, max_attempts=5),
    ]
    node = Flaky(9, KeyError)
    record(alone(node, retry_policy=policies), {})
    assert node.attempts == 2


@given(st.integers(1, 20), st.floats(0, 5), st.floats(1, 3), st.floats(0, 10))
def test_pauses_grow_by_the_factor_up_to_the_limit(
    attempt: int, initial: float, factor: float, limit: float
) -> None:
    policy = RetryPolicy(initial_interval=initial, backoff_factor=factor, max_interval=limit, jitter=False)
    assert policy.pause(attempt) == min(limit, initial * factor ** (attempt - 1))
    jittered = policy._replace(jitter=True).pause(attempt)
    assert policy.pause(attempt) <= jittered <= policy.pause(attempt) + 1


def test_a_policy_may_hold_for_every_node_of_a_graph() -> None:
    nodes = {"a": Flaky(2), "b": Flaky(2)}
    graph = StateGraph(State).set_node_defaults(retry_policy=NOW)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    _, loop = record(graph.compile(), {})
    assert loop.result == {"log": ["attempt 3", "attempt 3"]}


def test_siblings_are_not_held_up_or_repeated_by_a_retry() -> None:
    ran: list[str] = []
    graph = StateGraph(State).add_node("a", Flaky(2), retry_policy=NOW).add_edge(START, "a")
    graph.add_node("b", lambda state: ran.append("b")).add_edge(START, "b")
    recorder, _ = record(graph.compile(name="g"), {})
    assert (ran, unbalanced(recorder.events)) == (["b"], [])


@every_world
def test_an_interrupt_is_no_failure_to_retry(world: str) -> None:
    calls: list[int] = []

    def node(state: Any) -> None:
        calls.append(1)
        interrupt("?")

    recorder, _ = record(alone(node, retry_policy=NOW._replace(retry_on=Exception)), {}, world=world)
    assert (len(calls), recorder.ends()) == (1, [("g", "interrupted")])
    assert issubclass(GraphInterrupt, Exception)  # so that a policy might have caught it


@every_world
def test_a_retry_policy_that_breaks_hides_nothing(world: str) -> None:
    policy = RetryPolicy(retry_on=lambda error: bool(1 / 0))
    _, loop = record(alone(Flaky(1), retry_policy=policy), {}, world=world)
    assert str(loop.error) == "attempt 1"
    assert loop.error is not None
    assert "Not tried again: the retry policy of 'a' raised ZeroDivisionError('division by zero')" in (
        loop.error.__notes__
    )


# -- timeouts --------------------------------------------------------------------------------------

on_an_event_loop = pytest.mark.parametrize("world", ["asyncio", "trio"])


async def forever(state: Any) -> None:
    await anyio.sleep_forever()


@on_an_event_loop
@pytest.mark.parametrize(
    "timeout",
    [0.01, timedelta(milliseconds=10), TimeoutPolicy(run_timeout=0.01), TimeoutPolicy(idle_timeout=0.01)],
)
def test_a_node_that_takes_too_long_is_stopped_and_the_run_ends_as_timeout(timeout: Any, world: str) -> None:
    recorder, loop = record(alone(forever, timeout=timeout), {}, world=world)
    assert recorder.task_ends() == [("a", "timeout")]
    assert recorder.ends() == [("g", "timeout")]
    assert isinstance(loop.error, NodeTimeoutError)
    idle = isinstance(timeout, TimeoutPolicy) and timeout.idle_timeout is not None
    assert (loop.error.node, loop.error.kind, loop.error.timeout) == ("a", "idle" if idle else "run", 0.01)
    assert unbalanced(recorder.events) == []


@on_an_event_loop
def test_a_timeout_is_worth_another_attempt(world: str) -> None:
    calls: list[int] = []

    async def node(state: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            await anyio.sleep_forever()
        return {"log": ["second"]}

    recorder, loop = record(alone(node, timeout=0.01, retry_policy=NOW), {}, world=world)
    assert [number for kind, number, _ in attempts(recorder) if kind == "start"] == [1, 2]
    assert loop.result == {"log": ["second"]}


@on_an_event_loop
def test_who_is_cancelled_by_a_timeout_can_clean_up(world: str) -> None:
    cleaned: list[str] = []

    async def node(state: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append("a")

    record(alone(node, timeout=0.01), {}, world=world)
    assert cleaned == ["a"]


def _writes(writer: StreamWriter, runtime: Runtime) -> None:
    writer("alive")


def _speaks(writer: StreamWriter, runtime: Runtime) -> None:
    emit_message({"id": "1", "content": "alive"})


def _beats(writer: StreamWriter, runtime: Runtime) -> None:
    runtime.heartbeat()


@on_an_event_loop
@pytest.mark.parametrize("sign", [_writes, _beats, _speaks])
def test_signs_of_life_put_an_idle_timeout_off(sign: Callable[..., None], world: str) -> None:
    """The limit is moved to where the clock will be: no time needs to pass."""
    deadlines: list[float] = []

    async def node(state: Any, writer: StreamWriter, runtime: Runtime) -> dict[str, Any]:
        deadlines.append(anyio.current_effective_deadline())
        await anyio.sleep(0.001)
        sign(writer, runtime)
        deadlines.append(anyio.current_effective_deadline())
        return {"log": ["done"]}

    _, loop = record(alone(node, timeout=TimeoutPolicy(idle_timeout=60)), {}, world=world)
    assert loop.result == {"log": ["done"]}
    assert deadlines[0] < deadlines[1]


@on_an_event_loop
def test_only_heartbeats_count_where_the_policy_says_so(world: str) -> None:
    moved: list[bool] = []

    async def node(state: Any, writer: StreamWriter, runtime: Runtime) -> None:
        for sign in (_writes, _speaks, _beats):
            before = anyio.current_effective_deadline()
            await anyio.sleep(0.001)
            sign(writer, runtime)
            moved.append(anyio.current_effective_deadline() > before)

    record(alone(node, timeout=TimeoutPolicy(idle_timeout=60, refresh_on="heartbeat")), {}, world=world)
    assert moved == [False, False, True]


@on_an_event_loop
def test_a_packet_may_bring_its_own_limit(world: str) -> None:
    graph = StateGraph(State).add_node("a", forever)
    graph.add_conditional_edges(START, lambda state: [Send("a", {}, timeout=0.01)], ["a"])
    recorder, loop = record(graph.compile(name="g"), {}, world=world)
    assert (recorder.ends(), type(loop.error)) == ([("g", "timeout")], NodeTimeoutError)


@on_an_event_loop
def test_a_node_that_is_in_time_never_notices_its_limit(world: str) -> None:
    async def node(state: Any) -> dict[str, Any]:
        return {"log": ["in time"]}

    _, loop = record(alone(node, timeout=60), {}, world=world)
    assert loop.result == {"log": ["in time"]}


def test_without_an_event_loop_a_limit_is_refused() -> None:
    async def node(state: Any) -> None: ...

    _recorder, loop = record(alone(node, timeout=60), {}, world="threads")
    assert isinstance(loop.error, ValueError)
    assert str(loop.error).startswith(
        "Node timeouts are only supported for async nodes: 'a' was called through invoke"
    )


# -- error handlers --------------------------------------------------------------------------------


@every_world
def test_a_handler_is_told_what_failed_after_the_last_attempt(world: str) -> None:
    given: list[Any] = []

    def handle(state: Any, error: NodeError) -> dict[str, Any]:
        given.append((state, error.node, str(error.error)))
        return {"log": ["handled"]}

    graph = alone(Flaky(9), retry_policy=NOW, error_handler=handle)
    recorder, loop = record(graph, {"log": ["in"]}, world=world)
    assert given == [({"log": ["in"]}, "a", "attempt 3")]
    assert loop.result == {"log": ["in", "handled"]}
    assert recorder.task_ends() == [("a", "error"), ("__error_handler__a", "ok")]
    assert recorder.ends() == [("g", "ok")]


@every_world
def test_a_handler_may_serve_every_node(world: str) -> None:
    def handle(state: Any, error: NodeError) -> dict[str, Any]:
        return {"log": [error.node]}

    graph = StateGraph(State).set_node_defaults(error_handler=handle)
    for name in ("a", "b"):
        graph.add_node(name, Flaky(9)).add_edge(START, name)
    _, loop = record(graph.compile(), {}, world=world)
    assert loop.result == {"log": ["a", "b"]}


@every_world
def test_the_siblings_of_a_handled_failure_run_to_their_end(world: str) -> None:
    graph = StateGraph(State).add_node("a", Flaky(1), error_handler=lambda state, error: {"log": ["handled"]})
    graph.add_node("b", lambda state: {"log": ["b"]}).add_edge(START, "a").add_edge(START, "b")
    recorder, loop = record(graph.compile(name="g"), {}, world=world)
    assert loop.result == {"log": ["handled", "b"]}
    assert sorted(recorder.task_ends()) == [("__error_handler__a", "ok"), ("a", "error"), ("b", "ok")]
