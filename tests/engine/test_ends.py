"""Runs that go every way a run can go: whatever starts in them ends, once, and says how."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import pytest

from engine import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    InMemorySaver,
    RetryPolicy,
    RunControl,
    Send,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from engine.api.launch import launch
from engine.api.options import Asked
from engine.executors import async_executor
from otel_stream import events as e
from otel_stream.events import End
from tests.engine.recorder import WORLDS, Recorder, record, unbalanced
from tests.engine.samples import State, ask, boom, chain, say, side_by_side, sub, thread

every_world = pytest.mark.parametrize("world", WORLDS)


INPUT: Any = {"x": 1}


class Way(NamedTuple):
    """One way a run can go, and what is told of its ends."""

    make: Callable[[], Any]
    runs: list[tuple[str, str]]
    tasks: dict[str, set[str]]
    config: dict[str, Any] | None = None
    options: Callable[[], Asked] = Asked
    input: Any = INPUT


def _drained() -> Asked:
    control = RunControl()
    control.request_drain("maintenance")
    return Asked(control=control)


def _key(*_: Any) -> str:
    raise RuntimeError("no key")


def _loop() -> Any:
    graph = StateGraph(State).add_node("a", say("a")).add_edge(START, "a").add_edge("a", "a")
    return graph.compile(name="g")


def _flaky(failures: int) -> Callable[[Any], dict[str, Any]]:
    calls: list[int] = []

    def node(state: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) <= failures:
            raise ConnectionError(f"attempt {len(calls)}")
        return {"log": ["flaky"]}

    return node


def _fails(error: Exception) -> Callable[[Any], None]:
    def node(state: Any) -> None:
        raise error

    return node


RETRY = RetryPolicy(initial_interval=0, jitter=False, max_attempts=3)
BROKEN_RETRY = RetryPolicy(retry_on=lambda error: bool(1 / 0))
WAYS = {
    "ok": Way(lambda: side_by_side(a=say("a"), b=say("b")), [("g", "ok")], {"a": {"ok"}, "b": {"ok"}}),
    "a node fails": Way(
        lambda: side_by_side(a=boom, b=say("b")), [("g", "error")], {"a": {"error"}, "b": {"ok", "cancelled"}}
    ),
    "a node fails, perhaps before its siblings start": Way(  # trio starts tasks in any order
        lambda: side_by_side(a=boom, b=say("b"), c=say("c")),
        [("g", "error")],
        {"a": {"error"}, "b": {"ok", "cancelled"}, "c": {"ok", "cancelled"}},
        {"max_concurrency": 1},
    ),
    "several nodes fail": Way(
        lambda: side_by_side(a=boom, b=boom),
        [("g", "error")],
        {"a": {"error", "cancelled"}, "b": {"error", "cancelled"}},
    ),
    "writes that cannot be merged": Way(
        lambda: side_by_side(a=lambda s: {"x": 1}, b=lambda s: {"x": 2}),
        [("g", "error")],
        {"a": {"ok"}, "b": {"ok"}},
    ),
    "an answer that is no mapping": Way(
        lambda: side_by_side(a=lambda s: 3), [("g", "error")], {"a": {"error"}}
    ),
    "a retry that helps": Way(
        lambda: side_by_side(a=(_flaky(2), {"retry_policy": RETRY}), b=say("b")),
        [("g", "ok")],
        {"a": {"ok"}, "b": {"ok"}},
    ),
    "retries that do not help": Way(
        lambda: side_by_side(a=(_flaky(9), {"retry_policy": RETRY})), [("g", "error")], {"a": {"error"}}
    ),
    "a retry policy that breaks": Way(
        lambda: side_by_side(a=(boom, {"retry_policy": BROKEN_RETRY}), b=say("b")),
        [("g", "error")],
        {"a": {"error"}, "b": {"ok", "cancelled"}},
    ),
    "an error handler": Way(
        lambda: side_by_side(
            a=(boom, {"error_handler": lambda state, error: {"log": ["saved"]}}), b=say("b")
        ),
        [("g", "ok")],
        {"a": {"error"}, "b": {"ok"}, "__error_handler__a": {"ok"}},
    ),
    "an error handler that fails": Way(
        lambda: side_by_side(a=(boom, {"error_handler": lambda state, error: 1 / 0}), b=say("b")),
        [("g", "error")],
        {"a": {"error"}, "b": {"ok", "cancelled"}, "__error_handler__a": {"error"}},  # or is b still running?
    ),
    "a cache that breaks": Way(
        lambda: side_by_side(
            a=(say("a"), {"cache_policy": CachePolicy(key_func=_key)}), cache=InMemoryCache()
        ),
        [("g", "error")],
        {"a": {"cancelled"}},
    ),
    "a subgraph": Way(
        lambda: side_by_side(a=sub(i=say("i")), b=say("b")),
        [("sub", "ok"), ("g", "ok")],
        {"i": {"ok"}, "a": {"ok"}, "b": {"ok"}},
    ),
    "a subgraph that fails": Way(
        lambda: side_by_side(a=sub(i=boom)),
        [("sub", "error"), ("g", "error")],
        {"i": {"error"}, "a": {"error"}},
    ),
    "an interrupt": Way(
        lambda: side_by_side(a=ask, b=say("b"), checkpointer=InMemorySaver()),
        [("g", "interrupted")],
        {"a": {"interrupted"}, "b": {"ok"}},
        thread(),
    ),
    "an interrupt in a subgraph": Way(
        lambda: side_by_side(a=sub(i=ask), checkpointer=InMemorySaver()),
        [("sub", "interrupted"), ("g", "interrupted")],
        {"i": {"interrupted"}, "a": {"interrupted"}},
        thread(),
    ),
    "an interrupt without a checkpointer": Way(
        lambda: side_by_side(a=ask), [("g", "interrupted")], {"a": {"interrupted"}}
    ),
    "a breakpoint": Way(
        lambda: chain("a", "b", checkpointer=InMemorySaver(), interrupt_before=["b"]),
        [("g", "interrupted")],
        {"a": {"ok"}},
        thread(),
    ),
    "the recursion limit": Way(_loop, [("g", "recursion_limit")], {"a": {"ok"}}, {"recursion_limit": 3}),
    "a drain": Way(lambda: side_by_side(a=say("a")), [("g", "drained")], {}, options=_drained),
    "no input": Way(lambda: side_by_side(a=say("a")), [("g", "error")], {}, input=None),
    "a router that fails": Way(
        lambda: (
            StateGraph(State)
            .add_node("a", say("a"))
            .add_edge(START, "a")
            .add_conditional_edges("a", _fails(KeyError("route")))
            .compile(name="g")
        ),
        [("g", "error")],
        {"a": {"error"}},
    ),
    "a router that fails at the start": Way(
        lambda: (
            StateGraph(State)
            .add_node("a", say("a"))
            .add_conditional_edges(START, _fails(KeyError("route")))
            .compile(name="g")
        ),
        [("g", "error")],
        {},
    ),
    "packets": Way(
        lambda: (
            StateGraph(State)
            .add_node("a", say("a"))
            .add_conditional_edges(START, lambda s: [Send("a", n) for n in range(5)], ["a"])
            .compile(name="g")
        ),
        [("g", "ok")],
        {"a": {"ok"}},
    ),
}


@every_world
@pytest.mark.parametrize("way", WAYS)
def test_whatever_starts_ends_exactly_once_however_the_run_goes(way: str, world: str) -> None:
    make, runs, tasks, config, options, input = WAYS[way]
    recorder, loop = record(make(), input, config, world=world, options=options())
    assert unbalanced(recorder.events) == []
    assert recorder.ends() == runs
    assert isinstance(recorder.events[0], e.RunStarted)
    assert isinstance(recorder.events[-1], e.RunEnded)
    assert recorder.events[-1].error is loop.error
    found: dict[str, set[str]] = {}
    for name, end in recorder.task_ends():
        found.setdefault(name, set()).add(end)
    assert found.keys() == tasks.keys()
    assert [name for name in found if not found[name] <= tasks[name]] == []


def test_every_end_of_a_run_is_reached_by_some_test() -> None:
    reached = {end for way in WAYS.values() for _, end in way.runs}
    # The rest needs time or somebody from outside: below, in test_retry and in test_concurrency.
    assert {end.value for end in End} - reached == {"cancelled", "abandoned", "timeout"}


async def test_a_cancelled_run_ends_as_cancelled_with_all_its_tasks() -> None:
    recorder, started = Recorder(), anyio.Event()

    async def forever(state: Any) -> None:
        started.set()
        await anyio.sleep_forever()

    compiled = side_by_side(a=sub(i=forever), b=forever)
    async with anyio.create_task_group() as group:
        group.start_soon(launch(compiled.spec, {}, None, Asked(), async_executor(None), recorder).execute)
        await started.wait()
        group.cancel_scope.cancel()
    assert unbalanced(recorder.events) == []
    assert dict(recorder.ends())["g"] == "cancelled"
    assert {end for _, end in recorder.task_ends()} == {"cancelled"}


class Storing(InMemorySaver):
    """Tells when what a node has logged comes, and never has stored it; or fails to."""

    def __init__(self, began: anyio.Event | None = None) -> None:
        super().__init__()
        self.began = began

    def put_writes(self, config: Any, writes: Any, *more: Any) -> None:
        if any(name == "log" for name, _ in writes):
            raise OSError("disk full")
        super().put_writes(config, writes, *more)

    async def aput_writes(self, config: Any, writes: Any, *more: Any) -> None:
        if self.began is not None and any(name == "log" for name, _ in writes):
            self.began.set()
            await anyio.sleep_forever()
        self.put_writes(config, writes, *more)


@every_world
@pytest.mark.parametrize("others", [{}, {"b": say("b")}])
def test_what_has_ended_is_told_although_it_can_not_be_kept(world: str, others: Any) -> None:
    graph = side_by_side(a=say("a"), **others, checkpointer=Storing())
    recorder, _ = record(graph, {}, thread(), world=world)
    assert unbalanced(recorder.events) == []
    assert dict(recorder.ends())["g"] == "error"
    # Nodes in threads return in any order; the first one that does is what could not be kept.
    assert "ok" in {end for _, end in recorder.task_ends()}


@pytest.mark.parametrize("others", [{}, {"b": say("b")}])
async def test_what_has_ended_is_told_although_the_run_is_cancelled_while_it_is_kept(others: Any) -> None:
    recorder, began = Recorder(), anyio.Event()
    spec = side_by_side(a=say("a"), **others, checkpointer=Storing(began)).spec
    async with anyio.create_task_group() as group:
        run = launch(spec, {}, thread(), Asked(durability="sync"), async_executor(None), recorder)
        group.start_soon(run.execute)
        await began.wait()
        group.cancel_scope.cancel()
    assert unbalanced(recorder.events) == []
    assert dict(recorder.ends())["g"] == "cancelled"
    assert "ok" in {end for _, end in recorder.task_ends()}


@pytest.mark.parametrize("others", [{}, {"b": say("b")}])
def test_a_node_that_exits_ends_a_run_without_an_event_loop(others: Any) -> None:
    recorder, loop = record(side_by_side(a=lambda state: sys.exit(3), **others), {}, world="threads")
    assert unbalanced(recorder.events) == []
    assert (recorder.ends(), type(loop.error)) == ([("g", "cancelled")], SystemExit)
    assert dict(recorder.task_ends())["a"] == "cancelled"


@pytest.mark.parametrize("others", [{}, {"b": say("b")}])
def test_a_node_that_exits_ends_a_run_on_trio_and_leaves_trio_whole(others: Any) -> None:
    """Not so on asyncio: there an exit in any task ends the event loop itself."""
    compiled = side_by_side(a=lambda state: sys.exit(3), **others)
    recorder, loop = Recorder(), None

    async def alone() -> None:
        nonlocal loop
        loop = launch(compiled.spec, {}, None, Asked(), async_executor(None), recorder)
        with pytest.raises(SystemExit):
            await loop.execute()

    async def streamed() -> Any:
        async with compiled.open_stream({}) as stream:
            with pytest.raises(SystemExit):
                await stream.wait()
        return stream.end

    anyio.run(alone, backend="trio")
    assert unbalanced(recorder.events) == []
    assert recorder.ends() == [("g", "cancelled")]
    assert anyio.run(streamed, backend="trio") is End.CANCELLED


@every_world
def test_tasks_an_earlier_run_has_finished_start_and_end_again_as_cached(world: str) -> None:
    ran: list[str] = []

    def once(state: Any) -> dict[str, Any]:
        ran.append("b")
        return {"log": ["b"]}

    graph = side_by_side(a=ask, b=once, checkpointer=InMemorySaver())
    record(graph, {}, thread(), world=world)
    recorder, loop = record(graph, Command(resume="Ada"), thread(), world=world)
    assert unbalanced(recorder.events) == []
    ended = [(event.task.node, event.cached, event.update) for event in recorder.of(e.TaskEnded)]
    assert ended == [("b", True, {"log": ["b"]}), ("a", False, {"log": ["Ada"]})]
    assert (ran, loop.result) == (["b"], {"log": ["Ada", "b"]})
    assert [event.resumed for event in recorder.of(e.RunStarted)] == [True]


@every_world
def test_writes_from_the_cache_are_told_without_an_attempt(world: str) -> None:
    graph = side_by_side(a=(say("a"), {"cache_policy": CachePolicy()}), cache=InMemoryCache())
    told = []
    for _ in range(2):
        recorder, loop = record(graph, {"x": 1}, world=world)
        assert unbalanced(recorder.events) == []
        assert loop.result == {"x": 1, "log": ["a"]}
        (ended,) = recorder.of(e.TaskEnded)
        told.append((ended.cached, ended.update, len(recorder.of(e.AttemptStarted))))
    assert told == [(False, {"log": ["a"]}, 1), (True, {"log": ["a"]}, 0)]


def test_functional_tasks_start_and_end_and_again_when_the_run_is_resumed() -> None:
    ran: list[int] = []

    @task
    def double(n: int) -> int:
        ran.append(n)
        return 2 * n

    @entrypoint(checkpointer=InMemorySaver())
    def program(n: int) -> int:
        doubled = double(n).result()
        return doubled + interrupt("how much more?")

    first, _ = record(program, 4, thread(), world="threads")
    second, loop = record(program, Command(resume=1), thread(), world="threads")
    assert (unbalanced(first.events), unbalanced(second.events)) == ([], [])
    assert first.task_ends() == [("double", "ok"), ("program", "interrupted")]
    assert second.task_ends() == [("double", "ok"), ("program", "ok")]
    assert (ran, loop.result) == ([4], 9)
