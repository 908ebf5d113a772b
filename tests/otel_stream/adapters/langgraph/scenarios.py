"""Graphs of every shape in which a run of LangGraph's can begin, go on, and end."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, interrupt

try:  # since 1.2, as are error handlers and timeouts
    from langgraph.errors import NodeError
except ImportError:
    NodeError = None  # type: ignore[assignment, misc]

TRIED_AGAIN = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=3)


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


@dataclass
class Scenario:
    """A graph, the inputs it is run with one after the other, and how each of the runs is to end."""

    name: str
    graph: Any
    ends: list[str]
    inputs: list[Any] = field(default_factory=lambda: [{"log": []}])
    #: How it is consumed: to the end, or left after the first part, or cancelled once a node runs.
    how: str = "whole"
    limit: int = 25
    #: How the tasks end, in any order; not compared where it is empty.
    tasks: list[str] = field(default_factory=list)


class Nodes:
    """Makes nodes of either kind."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async

    def node(self, act: Callable[[Any], Any]) -> Any:
        if not self.is_async:
            return act

        async def later(state: State) -> Any:
            await asyncio.sleep(0)
            return act(state)

        return later

    def says(self, name: str) -> Any:
        return self.node(lambda state: {"log": [name]})

    def fails(self, error: Exception, times: int = 1000) -> Any:
        calls = iter(range(times))

        def act(state: Any) -> Any:
            if next(calls, None) is not None:
                raise error
            return {"log": ["at last"]}

        return self.node(act)

    def asks(self, *questions: str) -> Any:
        return self.node(lambda state: {"log": [interrupt(question) for question in questions]})

    def hangs(self) -> Any:
        async def act(state: State) -> Any:
            get_stream_writer()("begun")
            await asyncio.Event().wait()

        return act


def graph(*edges: tuple[Any, Any], nodes: dict[str, Any], options: Any = None, **compiled: Any) -> Any:
    made: Any = StateGraph(State)
    for name, action in nodes.items():
        made.add_node(name, action, **(options or {}).get(name, {}))
    for source, target in edges:
        made.add_edge(source, target)
    return made.compile(**compiled)


def chain(*names: str) -> list[tuple[str, str]]:
    return list(zip((START, *names), names, strict=False))


def scenarios(*, is_async: bool) -> Iterator[Scenario]:
    make = Nodes(is_async=is_async)
    a, b = make.says("a"), make.says("b")
    yield Scenario("ok", graph(*chain("a", "b"), nodes={"a": a, "b": b}), ["ok"], tasks=["a ok", "b ok"])
    broken = make.fails(KeyError("x"))
    yield Scenario("an error", graph((START, "a"), nodes={"a": broken}), ["error"], tasks=["a error"])
    circle = graph((START, "a"), ("a", "a"), nodes={"a": a})
    yield Scenario("too many steps", circle, ["recursion_limit"], limit=3)
    yield Scenario("left", graph(*chain("a", "b"), nodes={"a": a, "b": b}), ["abandoned"], how="left")
    again = {"a": {"retry_policy": TRIED_AGAIN}}
    flaky = make.fails(ConnectionError("x"), times=2)
    yield Scenario("a retry", graph((START, "a"), nodes={"a": flaky}, options=again), ["ok"], tasks=["a ok"])
    hopeless = graph((START, "a"), nodes={"a": make.fails(ConnectionError("x"))}, options=again)
    yield Scenario("retries in vain", hopeless, ["error"], tasks=["a error"])
    yield from _stops(make)
    yield from _caches(make)
    yield from _subgraphs(make)
    yield from _functions(is_async=is_async)
    if is_async:
        yield from _only_async(make)
    if NodeError is not None:
        yield from _handlers(make)
        if is_async:
            yield from _timeouts(make)


def _stops(make: Nodes) -> Iterator[Scenario]:
    a, b, saver = make.says("a"), make.says("b"), InMemorySaver
    for when in ("interrupt_before", "interrupt_after"):
        node = {"interrupt_before": "b", "interrupt_after": "a"}[when]
        paused = graph(*chain("a", "b"), nodes={"a": a, "b": b}, checkpointer=saver(), **{when: [node]})
        yield Scenario(when, paused, ["interrupted", "ok"], [{"log": []}, None], tasks=["a ok", "b ok"])
    asking = graph(
        (START, "a"), (START, "b"), nodes={"a": make.asks("one", "two"), "b": b}, checkpointer=saver()
    )
    answers = [{"log": []}, Command(resume="1"), Command(resume="2")]
    yield Scenario(
        "questions",
        asking,
        ["interrupted", "interrupted", "ok"],
        answers,
        tasks=["a interrupted", "b ok", "b ok", "a interrupted", "b ok", "a ok"],
    )
    resumed = graph(
        *chain("a", "b"), nodes={"a": a, "b": make.fails(ValueError("x"), 1)}, checkpointer=saver()
    )
    yield Scenario("going on after an error", resumed, ["error", "ok"], [{"log": []}, None])


def _caches(make: Nodes) -> Iterator[Scenario]:
    cached = graph(
        (START, "a"),
        nodes={"a": make.says("a")},
        options={"a": {"cache_policy": CachePolicy()}},
        cache=InMemoryCache(),
    )
    yield Scenario("a cache", cached, ["ok", "ok"], [{"log": []}, {"log": []}], tasks=["a ok", "a ok"])


def _subgraphs(make: Nodes) -> Iterator[Scenario]:
    inner = graph((START, "in"), nodes={"in": make.says("in")})
    around = graph((START, "sub"), nodes={"sub": inner})
    yield Scenario("a subgraph", around, ["ok", "ok"], tasks=["in ok", "sub ok"])
    upwards = make.node(lambda state: Command(graph=Command.PARENT, goto="c", update={"log": ["up"]}))
    told = graph(
        (START, "sub"),
        nodes={"sub": graph((START, "in"), nodes={"in": upwards}), "c": make.says("c")},
        options={"sub": {"destinations": ("c",)}},
    )
    yield Scenario("a command upwards", told, ["ok", "ok"], tasks=["in ok", "sub ok", "c ok"])
    asking = graph(
        (START, "sub"),
        nodes={"sub": graph((START, "in"), nodes={"in": make.asks("one")})},
        checkpointer=InMemorySaver(),
    )
    yield Scenario(
        "a question inside",
        asking,
        ["interrupted", "interrupted", "ok", "ok"],
        [{"log": []}, Command(resume="1")],
    )
    paused = graph(
        (START, "sub"),
        nodes={"sub": graph((START, "in"), nodes={"in": make.says("in")}, interrupt_before=["in"])},
        checkpointer=InMemorySaver(),
    )
    yield Scenario(
        "a breakpoint inside",
        paused,
        ["interrupted", "interrupted", "ok", "ok"],
        [{"log": []}, None],
        tasks=["sub interrupted", "in ok", "sub ok"],
    )
    failing = graph((START, "sub"), nodes={"sub": graph((START, "in"), nodes={"in": make.fails(KeyError())})})
    yield Scenario("an error inside", failing, ["error", "error"], tasks=["in error", "sub error"])
    fan: Any = StateGraph(State).add_node("a", make.says("a")).add_node("w", make.says("w"))
    fan.add_edge(START, "a").add_conditional_edges("a", lambda _: [Send("w", {}) for _ in range(3)], ["w"])
    yield Scenario("packets", fan.compile(), ["ok"], tasks=["a ok", "w ok", "w ok", "w ok"])


def _handlers(make: Nodes) -> Iterator[Scenario]:
    def handle(state: State, error: NodeError) -> Any:
        return {"log": ["handled"]}

    handled = graph(
        (START, "a"), nodes={"a": make.fails(KeyError())}, options={"a": {"error_handler": handle}}
    )
    yield Scenario("an error handler", handled, ["ok"], tasks=["a error", "__error_handler__a ok"])


def _functions(*, is_async: bool) -> Iterator[Scenario]:
    if is_async:

        @task
        async def double_later(x: int) -> int:
            return 2 * x

        @entrypoint()
        async def flow_later(x: int) -> int:
            return await double_later(x) + await double_later(x)

        flow = flow_later
        names = ["double_later ok", "double_later ok", "flow_later ok"]
    else:

        @task
        def double(x: int) -> int:
            return 2 * x

        @entrypoint()
        def flow_now(x: int) -> int:
            return double(x).result() + double(x).result()

        flow, names = flow_now, ["double ok", "double ok", "flow_now ok"]
    yield Scenario("functions", flow, ["ok"], [1], tasks=names)


def _only_async(make: Nodes) -> Iterator[Scenario]:
    stuck = graph((START, "a"), nodes={"a": make.hangs()})
    yield Scenario("cancelled", stuck, ["cancelled"], how="cancelled", tasks=["a cancelled"])
    beside = graph((START, "a"), (START, "b"), nodes={"a": make.fails(KeyError()), "b": make.hangs()})
    yield Scenario("an error beside others", beside, ["error"], tasks=["a error", "b cancelled"])


def _timeouts(make: Nodes) -> Iterator[Scenario]:
    slow = graph((START, "a"), nodes={"a": make.hangs()}, options={"a": {"timeout": 0.01}})
    yield Scenario("a timeout", slow, ["timeout"], tasks=["a timeout"])
    twice = {"a": {"timeout": 0.01, "retry_policy": TRIED_AGAIN}}
    slower = graph((START, "a"), nodes={"a": make.hangs()}, options=twice)
    yield Scenario("timeouts", slower, ["timeout"], tasks=["a timeout"])


def run(scenario: Scenario) -> list[BaseException | None]:
    """Run a scenario without an event loop; return what its caller saw raised, run by run."""
    config = {"configurable": {"thread_id": "1"}, "recursion_limit": scenario.limit}
    raised: list[BaseException | None] = []
    for input in scenario.inputs:
        try:
            if scenario.how == "left":
                parts = scenario.graph.stream(input, config)
                next(parts)
                parts.close()
            else:
                scenario.graph.invoke(input, config)
            raised.append(None)
        except Exception as error:
            raised.append(error)
    return raised


async def run_async(scenario: Scenario) -> list[BaseException | None]:
    """Run a scenario on the event loop; return the same."""
    config = {"configurable": {"thread_id": "1"}, "recursion_limit": scenario.limit}
    raised: list[BaseException | None] = []
    for input in scenario.inputs:
        try:
            await _once(scenario, input, config)
            raised.append(None)
        except (Exception, asyncio.CancelledError) as error:
            raised.append(error)
    return raised


async def _once(scenario: Scenario, input: Any, config: dict[str, Any]) -> None:
    if scenario.how == "left":
        parts = scenario.graph.astream(input, config)
        await anext(parts)
        await parts.aclose()
    elif scenario.how == "cancelled":
        parts = scenario.graph.astream(input, config, stream_mode="custom")
        await anext(parts)
        waiting = asyncio.ensure_future(anext(parts))
        await asyncio.sleep(0)  # it waits now, as does the node
        waiting.cancel()
        await waiting
    else:
        await scenario.graph.ainvoke(input, config)
