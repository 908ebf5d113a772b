"""What the telemetry of others gets wrong with LangGraph (docs/peers.md, and their issues), done right."""

import asyncio
import contextlib
import operator
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_stream import semconv
from otel_stream.testing import telemetry
from otel_stream.testing.memory import RunTelemetry

pytestmark = pytest.mark.usefixtures("instrumented")
SECRET = "canary-of-the-user"


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    big: str


class Refused(Exception):
    """What a node raises."""


async def says(state: State) -> Any:
    await asyncio.sleep(0)
    return {"log": ["said"]}


async def hangs(state: State) -> Any:
    get_stream_writer()("begun")
    await asyncio.Event().wait()


async def refuses(state: State) -> Any:
    raise Refused(SECRET)


async def asks(state: State) -> Any:
    return {"log": [interrupt("which?")]}


def graph(*edges: tuple[str, str], saver: Any = None, name: str = "g", **nodes: Any) -> Any:
    made: Any = StateGraph(State)
    for node, action in nodes.items():
        made.add_node(node, action)
    for source, target in edges or [(START, next(iter(nodes)))]:
        made.add_edge(source, target)
    return made.compile(checkpointer=saver, name=name)


async def left(one: Any) -> None:
    async for _ in one.astream({"log": []}):
        break


async def closed_elsewhere(one: Any) -> None:
    """Take a part in one task, and close the stream in another, as web servers do."""
    parts = one.astream({"log": []})
    await asyncio.create_task(anext(parts))
    await asyncio.create_task(parts.aclose())


async def cancelled(one: Any) -> None:
    parts = one.astream({"log": []}, stream_mode="custom")
    await anext(parts)
    waiting = asyncio.ensure_future(anext(parts))
    await asyncio.sleep(0)  # it waits now, as does the node
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting


async def failed(one: Any) -> None:
    with pytest.raises(Refused):
        await one.ainvoke({"log": []})


async def resumed(one: Any) -> None:
    config: Any = {"configurable": {"thread_id": "1"}}
    await one.ainvoke({"log": []}, config)
    await one.ainvoke(Command(resume="this"), config)


WAYS: dict[str, tuple[Callable[[Any], Awaitable[None]], dict[str, Any], list[str]]] = {
    "left": (left, {"a": says, "b": says}, ["abandoned"]),
    "closed in another task": (closed_elsewhere, {"a": says, "b": says}, ["abandoned"]),
    "cancelled": (cancelled, {"a": hangs}, ["cancelled"]),
    "failed": (failed, {"a": refuses}, ["error"]),
    "interrupted and resumed": (resumed, {"a": asks}, ["interrupted", "ok"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_however_a_run_ends_it_is_told_so_nothing_is_logged_and_the_callers_span_is_current(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Peers: an error for a stream that is left, errors of detaching, an ended span that stays current."""
    run, nodes, ends = WAYS[way]
    edges = [(START, "a"), ("a", "b")] if "b" in nodes else [(START, "a")]

    async def main(seen: RunTelemetry) -> None:
        with seen.tracer_provider.get_tracer("user").start_as_current_span("request") as request:
            await run(graph(*edges, saver=InMemorySaver() if nodes["a"] is asks else None, **nodes))
            assert trace.get_current_span() is request

    with telemetry() as seen:
        asyncio.run(main(seen))
    runs = [span for span in seen.spans if span.name == "invoke_workflow g"]
    assert [span.attributes[semconv.GRAPH_RUN_END] for span in runs] == ends
    failures = [span for span in seen.spans if not (span.status.is_ok or span.status.is_unset)]
    assert bool(failures) is (way == "failed")
    assert len({span.context.trace_id for span in seen.spans}) == 1
    assert caplog.records == []


def test_routers_are_no_spans_and_subgraphs_have_one_each() -> None:
    inner = graph(within=says, name="inner")

    async def calls(state: State) -> Any:
        return await inner.ainvoke({"log": []})

    made: Any = StateGraph(State).add_node("as_node", inner).add_node("calling", calls)
    made.add_edge(START, "as_node").add_conditional_edges("as_node", lambda state: "calling", ["calling"])
    with telemetry() as seen:
        asyncio.run(made.compile(name="outer").ainvoke({"log": []}))
    assert [line.strip() for line in seen.outline() if line.strip() != "superstep"] == [
        "invoke_workflow outer",
        "invoke_node as_node",
        "invoke_workflow inner",
        "invoke_node within",
        "invoke_node calling",
        "invoke_workflow inner",
        "invoke_node within",
    ]


def test_runs_side_by_side_each_lie_below_their_own_caller() -> None:
    one = graph((START, "a"), ("a", "b"), a=says, b=says)

    async def request(seen: RunTelemetry, number: int) -> None:
        with seen.tracer_provider.get_tracer("user").start_as_current_span(f"request {number}"):
            await one.ainvoke({"log": []})

    async def main(seen: RunTelemetry) -> None:
        await asyncio.gather(*(request(seen, number) for number in range(20)))

    with telemetry() as seen:
        asyncio.run(main(seen))
    traces: dict[int, list[str]] = {}
    for span in seen.spans:
        traces.setdefault(span.context.trace_id, []).append(span.name)
    outline = ["invoke_node a", "invoke_node b", "invoke_workflow g", "superstep", "superstep"]
    assert sorted(sorted(names) for names in traces.values()) == sorted(
        [*outline[:3], f"request {number}", *outline[3:]] for number in range(20)
    )


def test_a_decorated_async_node_and_whatever_it_awaits_lie_below_the_node() -> None:
    with telemetry() as seen:
        tracer = seen.tracer_provider.get_tracer("user")

        @tracer.start_as_current_span("client call")
        async def call() -> None:
            await asyncio.sleep(0)

        @tracer.start_as_current_span("decorated")
        async def node(state: State) -> Any:
            await asyncio.gather(call(), asyncio.create_task(call()))
            return {"log": []}

        async def main() -> None:
            async for _ in graph(a=node).astream_events({"log": []}, version="v2"):
                pass

        asyncio.run(main())
    assert seen.outline()[2:] == [
        "    invoke_node a",
        "      decorated",
        "        client call",
        "        client call",
    ]


def test_an_interrupt_in_a_tool_is_no_error_of_anything(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    def look_up(what: str) -> str:
        """Look something up."""
        return str(interrupt(what))

    call = AIMessage("", tool_calls=[{"name": "look_up", "args": {"what": "it"}, "id": "1"}])
    made: Any = StateGraph(dict).add_node("tools", ToolNode([look_up])).add_edge(START, "tools")
    one = made.compile(checkpointer=InMemorySaver())
    with telemetry() as seen:
        answer = one.invoke({"messages": [call]}, {"configurable": {"thread_id": "1"}})
    assert [asked.value for asked in answer["__interrupt__"]] == ["it"]
    assert all(span.status.is_unset or span.status.is_ok for span in seen.spans)
    assert caplog.records == []


def test_an_exception_is_told_by_its_class_once_and_its_text_only_where_content_is_wanted() -> None:
    """Peers: its text everywhere, tracebacks as status, at three levels; or another class than it has."""
    for wanted in (False, True):
        with telemetry(capture_content=wanted) as seen:
            asyncio.run(failed(graph(a=refuses)))
        node = seen.span("invoke_node a")
        assert node.attributes[semconv.ERROR_TYPE].endswith("Refused")
        everything = [*map(repr, (span.to_json() for span in seen.spans))]
        everything += [repr((one.log_record.body, one.log_record.attributes)) for one in seen.logs]
        assert any(SECRET in text for text in everything) is wanted
        assert all("Traceback" not in (span.status.description or "") for span in seen.spans)
        assert sum(event.name == "exception" for span in seen.spans for event in span.events) == 1


def test_a_big_state_is_not_exported_with_every_node() -> None:
    big = SECRET * 5_000
    names = [f"n{number}" for number in range(10)]
    edges = [(START, "n0"), *pairwise(names)]
    one = graph(*edges, **dict.fromkeys(names, says))
    for wanted in (False, True):
        with telemetry(capture_content=wanted) as seen:
            asyncio.run(one.ainvoke({"log": [], "big": big}))
        spans = sum(len(span.to_json()) for span in seen.spans)
        logs = sum(len(str(one.log_record.body)) for one in seen.logs)
        assert spans < len(big)
        assert logs < (2 * len(big) if wanted else len(big) // 2)


def test_attempts_have_numbers_and_only_those_that_failed_are_errors() -> None:
    calls = iter(range(3))

    async def flaky(state: State) -> Any:
        if next(calls) < 2:
            raise ConnectionError("not yet")
        return {"log": ["at last"]}

    policy = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=3)
    made: Any = StateGraph(State).add_node("flaky", flaky, retry_policy=policy).add_edge(START, "flaky")
    with telemetry() as seen:
        asyncio.run(made.compile(name="g").ainvoke({"log": []}))
    attempts = [span for span in seen.spans if span.name == semconv.SPAN_ATTEMPT]
    assert [span.attributes[semconv.GRAPH_TASK_ATTEMPT] for span in attempts] == [1, 2, 3]
    assert [span.status.is_ok or span.status.is_unset for span in attempts] == [False, False, True]
    assert len([span for span in seen.spans if span.name == "invoke_node flaky"]) == 1


def test_what_models_stream_reaches_who_listens_to_events_as_it_did() -> None:
    async def spoken() -> list[str]:
        model = GenericFakeChatModel(messages=iter([AIMessage("a word or two")]))

        async def speak(state: State) -> Any:
            return {"log": [(await model.ainvoke("?")).content]}

        events = graph(a=speak).astream_events({"log": []}, version="v2")
        return [
            one["data"]["chunk"].content async for one in events if one["event"] == "on_chat_model_stream"
        ]

    with telemetry(capture_content=True):
        watched = asyncio.run(spoken())
    assert watched == asyncio.run(spoken()) != []


def test_of_a_run_that_is_not_sampled_the_metrics_are_the_same() -> None:
    made: Any = StateGraph(State).add_node("a", says).add_edge(START, "a")
    made.add_conditional_edges("a", lambda state: END if len(state["log"]) > 4 else "a", ["a", END])
    counted = []
    for options in ({}, {"sampler": ALWAYS_OFF}):
        with telemetry(**options) as seen:
            asyncio.run(made.compile(name="g").ainvoke({"log": []}))
            measured = seen.metrics()
        counted.append(
            {name: [(p.measurements, p.attributes) for p in found] for name, found in measured.items()}
        )
    assert counted[0] == counted[1]
    assert counted[0][semconv.NODE_DURATION.name][0][0] == 5
