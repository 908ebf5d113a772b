"""A run as its observer sees it: what is reported, in which order, and that whatever starts also ends."""

import operator
import sys
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from engine.launch import Options
from otel_stream import events as e
from otel_stream.events import End
from tests.engine.recorder import WORLDS, Recorder, record, unbalanced

every_world = pytest.mark.parametrize("world", WORLDS)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    x: int


def say(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda state: {"log": [name]}


def boom(state: Any) -> None:
    raise ValueError("kaboom")


def ask(state: Any) -> dict[str, Any]:
    return {"log": [interrupt("name?")]}


def side_by_side(*, checkpointer: Any = None, cache: Any = None, **nodes: Any) -> Any:
    graph = StateGraph(State)
    for name, node in nodes.items():
        action, options = node if isinstance(node, tuple) else (node, {})
        graph.add_node(name, action, **options).add_edge(START, name)
    return graph.compile(checkpointer, cache=cache, name="g")


def sub(**nodes: Any) -> Any:
    compiled = side_by_side(**nodes)
    compiled.name = "sub"
    return compiled


def chain(*names: str, **options: Any) -> Any:
    graph = StateGraph(State)
    for one, other in zip((START, *names[:-1]), names, strict=True):
        graph.add_node(other, say(other)).add_edge(one, other)
    return graph.compile(name="g", **options)


def thread(name: str = "1") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


def line(event: Any) -> str:  # noqa: PLR0911 - one per kind
    """Return an event as one readable line, without what differs from run to run."""
    kind = type(event).__name__
    name = getattr(event, "task", event).node if hasattr(event, "task") else event.run.graph
    match event:
        case e.RunEnded():
            return f"{kind} {name} {event.end.value}"
        case e.SuperstepStarted():
            return f"{kind} {name} {event.step}: {' '.join(task.node for task in event.tasks)}"
        case e.SuperstepEnded():
            return f"{kind} {name} {event.step} {event.end.value}: {' '.join(sorted(event.wrote))}".rstrip(
                ": "
            )
        case e.TaskEnded():
            return f"{kind} {name} {event.end.value} {event.update}"
        case e.AttemptStarted() | e.AttemptEnded():
            return f"{kind} {name} {event.attempt}"
        case e.ValuesChanged():
            return f"{kind} {name} {event.values}"
        case e.RouteChosen():
            return f"{kind} {name} {' '.join(event.targets)}"
        case _:
            return f"{kind} {name}"


def lines(recorder: Recorder) -> list[str]:
    return [line(event) for event in recorder.events]


# -- the whole story -------------------------------------------------------------------------------


@every_world
def test_a_run_is_told_from_its_start_to_its_end(world: str) -> None:
    graph = StateGraph(State).add_node("a", say("a")).add_node("b", say("b")).add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: "b", ["b"])
    recorder, loop = record(graph.compile(name="g"), {"x": 1}, world=world)
    assert lines(recorder) == [
        "RunStarted g",
        "ValuesChanged g {'log': [], 'x': 1}",
        "SuperstepStarted g 1: a",
        "TaskStarted a",
        "AttemptStarted a 1",
        "RouteChosen a b",
        "AttemptEnded a 1",
        "TaskEnded a ok {'log': ['a']}",
        "SuperstepEnded g 1 ok: log",
        "ValuesChanged g {'log': ['a'], 'x': 1}",
        "SuperstepStarted g 2: b",
        "TaskStarted b",
        "AttemptStarted b 1",
        "AttemptEnded b 1",
        "TaskEnded b ok {'log': ['b']}",
        "SuperstepEnded g 2 ok: log",
        "ValuesChanged g {'log': ['a', 'b'], 'x': 1}",
        "RunEnded g ok",
    ]
    assert loop.result == {"x": 1, "log": ["a", "b"]}


@every_world
def test_the_run_of_a_subgraph_lies_within_its_task(world: str) -> None:
    recorder, _ = record(side_by_side(inner=sub(i=say("i"))), {}, world=world)
    assert lines(recorder) == [
        "RunStarted g",
        "SuperstepStarted g 1: inner",
        "TaskStarted inner",
        "AttemptStarted inner 1",
        "RunStarted sub",
        "ValuesChanged sub {'log': []}",
        "SuperstepStarted sub 1: i",
        "TaskStarted i",
        "AttemptStarted i 1",
        "AttemptEnded i 1",
        "TaskEnded i ok {'log': ['i']}",
        "SuperstepEnded sub 1 ok: log",
        "ValuesChanged sub {'log': ['i']}",
        "RunEnded sub ok",
        "AttemptEnded inner 1",
        "TaskEnded inner ok {'log': ['i']}",
        "SuperstepEnded g 1 ok: log",
        "ValuesChanged g {'log': ['i']}",
        "RunEnded g ok",
    ]
    inner = recorder.of(e.RunStarted)[1].run
    (around,) = (event.task for event in recorder.of(e.TaskStarted) if event.task.node == "inner")
    assert (inner.parent, inner.root, inner.ns) == (around, around.run, (f"inner:{around.id}",))


@every_world
def test_all_tasks_of_a_superstep_start_before_any_node_runs(world: str) -> None:
    recorder, _ = record(side_by_side(z=say("z"), m=say("m"), a=say("a")), {}, world=world)
    kinds = (e.TaskStarted, e.AttemptStarted)
    started = [(type(event), event.task.node) for event in recorder.of(*kinds)]
    assert started[:3] == [(e.TaskStarted, name) for name in ("a", "m", "z")]
    assert sorted(name for _, name in started[3:]) == ["a", "m", "z"]


@every_world
def test_a_second_turn_on_a_thread_is_told_like_the_first(world: str) -> None:
    graph = side_by_side(a=say("a"), checkpointer=InMemorySaver())
    told = []
    for _ in range(2):
        recorder, _ = record(graph, {"x": 1}, thread(), world=world)
        assert unbalanced(recorder.events) == []
        told.append([type(event).__name__ for event in recorder.events])
    assert told[0] == told[1]


# -- whatever starts also ends ---------------------------------------------------------------------


class Way(NamedTuple):
    """One way a run can go, and what is told of its ends."""

    make: Callable[[], Any]
    runs: list[tuple[str, str]]
    tasks: dict[str, set[str]]
    config: dict[str, Any] | None = None
    options: Callable[[], Options] = Options
    input: Any = MappingProxyType({"x": 1})


def _drained() -> Options:
    control = RunControl()
    control.request_drain("maintenance")
    return Options(control=control)


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
        {"a": {"error"}, "b": {"ok"}, "__error_handler__a": {"error"}},
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
    from engine.executors import async_executor
    from engine.launch import launch

    async with anyio.create_task_group() as group:
        group.start_soon(launch(compiled, {}, None, Options(), async_executor(None), recorder).execute)
        await started.wait()
        group.cancel_scope.cancel()
    assert unbalanced(recorder.events) == []
    assert dict(recorder.ends())["g"] == "cancelled"
    assert {end for _, end in recorder.task_ends()} == {"cancelled"}


@pytest.mark.parametrize("others", [{}, {"b": say("b")}])
def test_a_node_that_exits_ends_a_run_without_an_event_loop(others: Any) -> None:
    recorder, loop = record(side_by_side(a=lambda state: sys.exit(3), **others), {}, world="threads")
    assert unbalanced(recorder.events) == []
    assert (recorder.ends(), type(loop.error)) == ([("g", "cancelled")], SystemExit)
    assert dict(recorder.task_ends())["a"] == "cancelled"


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


# -- one outcome, whichever way it was reached ------------------------------------------------------


@settings(max_examples=20)
@given(ends=st.permutations(["a", "b", "c", "d"]))
def test_whichever_node_ends_first_the_state_is_the_same(ends: list[str]) -> None:
    """Async nodes wait for one another, so that they end exactly in the order drawn."""
    ended = {name: anyio.Event() for name in ends}
    before = dict(zip(ends[1:], ends[:-1], strict=True))

    def node(name: str) -> Any:
        async def run(state: Any) -> dict[str, Any]:
            if name in before:
                await ended[before[name]].wait()
            ended[name].set()
            return {"log": [name]}

        return run

    recorder, loop = record(side_by_side(**{name: node(name) for name in "dcba"}), {})
    assert [name for name, _ in recorder.task_ends()] == ends
    assert loop.result == {"log": ["a", "b", "c", "d"]}


def test_asyncio_trio_and_threads_tell_the_same_story() -> None:
    graph = StateGraph(State).add_node("split", say("split")).add_edge(START, "split")
    graph.add_node("work", sub(i=lambda item: {"log": ["i"]})).add_node("end", say("end"))
    graph.add_conditional_edges("split", lambda state: [Send("work", {}) for _ in range(3)], ["work"])
    graph.add_edge("work", "end")
    compiled = graph.compile(name="g")
    told = [record(compiled, {}, {"max_concurrency": 1}, world=world) for world in WORLDS]
    assert [sorted(lines(recorder)) for recorder, _ in told[1:]] == [sorted(lines(told[0][0]))] * 2
    assert [loop.result for _, loop in told] == [{"log": ["split", "i", "i", "i", "end"]}] * 3


@every_world
def test_all_interrupts_of_a_superstep_are_collected(world: str) -> None:
    graph = side_by_side(a=ask, b=ask, checkpointer=InMemorySaver())
    recorder, loop = record(graph, {}, thread(), world=world)
    assert [i.value for i in loop.interrupts] == ["name?", "name?"]
    (waiting,) = recorder.of(e.RunInterrupted)
    assert recorder.events.index(waiting) == len(recorder.events) - 2
    assert recorder.events[-1].interrupts == waiting.interrupts == loop.interrupts
    answers = {i.id: name for i, name in zip(loop.interrupts, ("Ada", "Bob"), strict=True)}
    _, resumed = record(graph, Command(resume=answers), thread(), world=world)
    assert resumed.result == {"log": ["Ada", "Bob"]}


def test_the_error_of_a_run_names_all_that_failed_in_its_superstep() -> None:
    meet = anyio.Event()
    waiting: list[str] = []

    def failing(name: str) -> Any:
        async def node(state: Any) -> None:
            waiting.append(name)
            if len(waiting) == 2:
                meet.set()
            await meet.wait()
            raise ValueError(name)

        return node

    _, loop = record(side_by_side(a=failing("first"), b=failing("second")), {})
    assert loop.error is not None
    assert loop.error.args in (("first",), ("second",))


@pytest.mark.parametrize(
    ("limit", "end"), [(2, "recursion_limit"), (3, "recursion_limit"), (4, "ok"), (5, "ok")]
)
def test_a_recursion_limit_is_reached_as_in_langgraph(limit: int, end: str) -> None:
    """As many supersteps run as it says; a run must find out before the next one that nothing is left."""
    recorder, _ = record(chain("a", "b", "c"), {}, {"recursion_limit": limit})
    assert recorder.ends() == [("g", end)]
    assert [event.task.node for event in recorder.of(e.AttemptStarted)] == ["a", "b", "c"][:limit]


def test_nobody_who_watches_changes_what_happens() -> None:
    """Without an observer nothing is built; the result is the same."""
    compiled = side_by_side(a=sub(i=say("i")), b=say("b"))
    _, loop = record(compiled, {"x": 1})
    assert compiled.invoke({"x": 1}) == loop.result
