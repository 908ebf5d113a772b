"""Streams of runs: how they end, and that whatever starts in them also ends."""

import contextlib
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from engine import (
    START,
    CachePolicy,
    InMemoryCache,
    InMemorySaver,
    RetryPolicy,
    RunControl,
    Send,
    StateGraph,
    TimeoutPolicy,
    interrupt,
)
from otel_stream import events as e
from otel_stream.config import Custom, StreamConfig
from otel_stream.stream.modes import StreamPart
from tests.engine.samples import (
    State,
    compiled,
    drained,
    graph,
    nested,
    parts_of,
    read_into,
    say,
    thread,
    two_steps,
)

# -- the end ---------------------------------------------------------------------------------------


async def _forever(state: Any) -> None:
    await anyio.sleep_forever()


def _boom(state: Any) -> None:
    raise ValueError("kaboom")


def _control() -> RunControl:
    control = RunControl()
    control.request_drain("maintenance")
    return control


def _circle() -> Any:
    return graph(a=say("a")).add_edge("a", "a").compile(name="g")


def _impatient() -> Any:
    made = (
        StateGraph(State)
        .add_node("a", _forever, timeout=TimeoutPolicy(run_timeout=0.01))
        .add_edge(START, "a")
    )
    return made.compile(name="g")


ENDS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "ok": (two_steps, {}),
    "error": (lambda: compiled(a=_boom), {}),
    "interrupted": (
        lambda: compiled(a=lambda state: interrupt("?"), checkpointer=InMemorySaver()),
        {"config": thread()},
    ),
    "recursion_limit": (_circle, {"config": {"recursion_limit": 2}}),
    "timeout": (_impatient, {}),
    "drained": (two_steps, {"control": _control()}),
}


@pytest.mark.clause("S-ORD-5")
@pytest.mark.parametrize("end", ENDS)
async def test_every_run_ends_with_exactly_one_part_that_says_how(end: str) -> None:
    make, asked = ENDS[end]
    config = StreamConfig(modes="updates", include_end=True)
    seen: list[StreamPart] = []
    async with make().open_stream({"log": []}, config, **asked) as stream:
        with contextlib.suppress(Exception):
            await read_into(seen, stream)
        with contextlib.suppress(Exception):
            await stream.wait()
    assert stream.end is not None
    assert stream.end.value == end
    assert [part.data["end"] for part in seen if part.type == "end"] == [end]
    assert seen[-1].type == "end"


@pytest.mark.clause("S-ERR-1")
@pytest.mark.parametrize("end", ["error", "recursion_limit", "timeout"])
async def test_iteration_and_result_raise_what_the_run_raised_after_the_last_part(end: str) -> None:
    make, asked = ENDS[end]
    async with make().open_stream({"log": []}, StreamConfig(modes="values"), **asked) as stream:
        seen: list[StreamPart] = []
        with pytest.raises(Exception) as iterated:
            await read_into(seen, stream)
        with pytest.raises(Exception) as awaited:
            await stream.wait()
    assert iterated.value is awaited.value
    with pytest.raises(type(awaited.value)):
        _ = stream.result
    assert seen[0].data == {"log": []}


async def test_an_interrupted_run_ends_normally_and_says_what_it_waits_for() -> None:
    make, asked = ENDS["interrupted"]
    async with make().open_stream({"log": []}, StreamConfig(modes="values"), **asked) as stream:
        parts = await drained(stream)
    assert [i.value for i in stream.interrupts] == ["?"]
    assert parts[-1].interrupts == stream.interrupts
    assert stream.result == {"log": []}


@pytest.mark.parametrize("leave", ["break", "error"])
async def test_who_leaves_early_abandons_the_run_and_its_nodes_are_cancelled(leave: str) -> None:
    started: list[str] = []
    cancelled: list[str] = []
    ends: list[str] = []

    async def last(state: Any) -> None:
        started.append("last")
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append("last")

    def note(event: Any) -> None:
        ends.append(event.end.value)

    config = StreamConfig(modes=["updates", Custom(note, "ends", events=(e.RunEnded,))])
    with contextlib.suppress(KeyError):
        async with compiled(a=say("a"), last=last).open_stream({"log": []}, config) as stream:
            async for _ in stream:
                if leave == "error":
                    raise KeyError("the consumer's own")
                break
    assert (ends, stream.end) == (["abandoned"], e.End.ABANDONED)
    assert cancelled == started


@pytest.mark.parametrize("way", ["open_stream", "astream"])
async def test_a_consumer_that_is_cancelled_takes_the_run_with_it(way: str) -> None:
    ends: list[str] = []
    cancelled: list[str] = []
    waiting = anyio.Event()

    async def last(state: Any) -> None:
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append("last")

    def note(event: Any) -> None:
        ends.append(event.end.value)

    made, modes = compiled(last=last), [Custom(note, "ends", events=(e.RunEnded,))]

    async def consume() -> None:
        if way == "astream":
            async with contextlib.aclosing(made.astream({"log": []}, stream_mode=modes)) as parts:
                async for _ in parts:
                    pass
        else:
            async with made.open_stream({"log": []}, StreamConfig(modes=modes)) as stream:
                async for _ in stream:
                    pass

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await waiting.wait()
        group.cancel_scope.cancel()
    assert (ends, cancelled) == (["cancelled"], ["last"])


@pytest.mark.clause("S-END-3")
async def test_who_is_cancelled_while_awaiting_the_result_takes_the_run_with_it() -> None:
    waiting, cancelled = anyio.Event(), []

    async def node(state: Any) -> None:
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append("node")

    async def cancel(scope: anyio.CancelScope) -> None:
        await waiting.wait()
        scope.cancel()

    async with compiled(a=node).open_stream({"log": []}) as stream, anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(cancel, scope)
            await stream.wait()
        assert (stream.end, cancelled) == (e.End.CANCELLED, ["node"])
    with pytest.raises(RuntimeError, match=r"^the run has no result: it was cancelled$"):
        await stream


async def test_a_run_that_is_cancelled_before_its_first_step_leaves_nobody_waiting() -> None:
    """Two wait for it, and one of them is cancelled."""
    stream = compiled(a=_forever).open_stream({"log": []})

    async def other() -> None:
        with pytest.raises(RuntimeError, match=r"^the run has no result: it was cancelled$"):
            await stream.wait()

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            scope.cancel()
            stream.start()
            group.start_soon(other)
            await stream.wait()
    assert stream.end is e.End.CANCELLED


async def test_the_consumers_own_error_reaches_the_consumer() -> None:
    async def consume() -> None:
        async with two_steps().open_stream({"log": []}, StreamConfig(modes="updates")) as stream:
            async for _ in stream:
                raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await consume()


async def test_a_run_that_is_left_before_its_first_step_is_abandoned_too() -> None:
    ends: list[str] = []
    config = StreamConfig(
        modes=Custom(lambda event: ends.append(event.end.value), "ends", events=(e.RunEnded,))
    )
    async with two_steps().open_stream({"log": []}, config) as stream:
        pass
    assert (stream.end, ends) == (e.End.ABANDONED, ["abandoned"])


@pytest.mark.clause("S-END-8")
async def test_an_abandoned_run_has_no_result_and_says_so() -> None:
    async with compiled(a=_forever).open_stream({"log": []}, StreamConfig(modes="values")) as stream:
        async for _ in stream:
            break
    with pytest.raises(RuntimeError, match=r"^the run has no result: it was abandoned$"):
        _ = stream.result
    with pytest.raises(RuntimeError, match=r"^the run has no result: it was abandoned$"):
        await stream.wait()


async def test_the_result_is_there_only_after_the_end() -> None:
    async with compiled(a=_forever).open_stream({"log": []}, StreamConfig(modes="updates")) as stream:
        with pytest.raises(RuntimeError, match=r"^the run has not ended yet: iterate its stream to the end"):
            _ = stream.result


async def test_a_run_needs_no_reader_to_be_waited_for() -> None:
    async with two_steps().open_stream({"log": []}) as stream:
        assert await stream.wait() == {"log": ["a", "b"], "x": 1}
        assert await stream == stream.result


@pytest.mark.parametrize(
    "make",
    [
        two_steps,
        nested,
        lambda: compiled(a=say("a"), b=lambda state: None),
        lambda: compiled(a=lambda state: {"x": interrupt("?")}),
    ],
)
async def test_the_last_values_part_equals_the_result(make: Callable[[], Any]) -> None:
    async with make().open_stream({"log": []}, StreamConfig(modes="values")) as stream:
        parts = await drained(stream)
    assert parts[-1].data == stream.result
    assert parts[-1].data == make().invoke({"log": []}, version="v2").value


@pytest.mark.clause("S-DEL-4")
async def test_a_part_that_was_yielded_never_changes() -> None:
    def mutate(state: Any) -> dict[str, Any]:
        state["log"].append("sneaked in")
        return {"x": state.get("x", 0) + 1}

    parts = await parts_of(compiled(a=mutate, b=mutate), "values")
    assert [part.data["log"] for part in parts[:1]] == [[]]
    assert len({id(part.data["log"]) for part in parts}) == len(parts)


# -- tasks are balanced in streams, too --------------------------------------------------------------


def _balanced(parts: list[StreamPart]) -> bool:
    starts = [part.data["id"] for part in parts if "triggers" in part.data]
    results = [part.data["id"] for part in parts if "result" in part.data]
    return sorted(starts) == sorted(results) and len(set(starts)) == len(starts) > 0


def _flaky() -> Any:
    tries: list[int] = []

    def node(state: Any) -> dict[str, Any]:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return {"log": ["flaky"]}

    return node


RETRY = RetryPolicy(initial_interval=0, jitter=False)
BALANCED: dict[str, Callable[[], Any]] = {
    "ok": two_steps,
    "subgraphs": nested,
    "retried": lambda: (
        StateGraph(State).add_node("a", _flaky(), retry_policy=RETRY).add_edge(START, "a").compile()
    ),
    "handled": lambda: (
        StateGraph(State)
        .add_node("a", _boom, error_handler=lambda state, error: {"log": ["saved"]})
        .add_edge(START, "a")
        .compile()
    ),
    "failed, with siblings": lambda: (
        StateGraph(State)
        .add_node("a", _boom)
        .add_node("b", _forever)
        .add_edge(START, "a")
        .add_edge(START, "b")
        .compile()
    ),
    "interrupted": lambda: compiled(a=lambda state: interrupt("?")),
    "packets": lambda: (
        StateGraph(State)
        .add_node("a", say("a"))
        .add_conditional_edges(START, lambda state: [Send("a", n) for n in range(4)], ["a"])
        .compile()
    ),
}


@pytest.mark.parametrize("case", BALANCED)
async def test_every_task_that_starts_has_one_result(case: str) -> None:
    parts: list[StreamPart] = []
    config = StreamConfig(modes="tasks", subgraphs=True)
    async with BALANCED[case]().open_stream({"log": []}, config) as stream:
        with contextlib.suppress(ValueError):
            await read_into(parts, stream)
    assert _balanced(parts)


async def test_a_cached_task_has_a_start_and_a_result_and_its_update_says_so() -> None:
    made = graph().add_node("a", say("a"), cache_policy=CachePolicy()).add_edge(START, "a")
    cached = made.compile(cache=InMemoryCache())
    runs = [await parts_of(cached, ["tasks", "updates"]) for _ in range(2)]
    assert [_balanced([part for part in parts if part.type == "tasks"]) for parts in runs] == [True, True]
    assert [[part.data for part in parts if part.type == "updates"] for parts in runs] == [
        [{"a": {"log": ["a"]}}],
        [{"a": {"log": ["a"]}, "__metadata__": {"cached": True}}],
    ]
