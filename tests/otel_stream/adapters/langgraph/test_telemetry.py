"""Spans, links, log events and metrics of LangGraph's runs, and what is current where."""

import asyncio
import operator
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_stream import semconv
from otel_stream.testing import telemetry
from otel_stream.testing.memory import RunTelemetry

pytestmark = pytest.mark.usefixtures("instrumented")


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def current() -> str:
    return str(getattr(trace.get_current_span(), "name", ""))


def speaking(name: str, seen: RunTelemetry, *, is_async: bool) -> Any:
    """Return a node that opens a span and says what is current, after it has waited if it can."""
    tracer = seen.tracer_provider.get_tracer("the program's own")

    def act(state: State) -> dict[str, Any]:
        with tracer.start_as_current_span(f"inside {name}"):
            return {"log": [name]}

    async def act_later(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        with tracer.start_as_current_span(f"inside {name}"):
            await asyncio.sleep(0)
            return {"log": [name]}

    return act_later if is_async else act


def diamond(seen: RunTelemetry, *, is_async: bool) -> Any:
    inner: Any = StateGraph(State).add_node("in", speaking("in", seen, is_async=is_async))
    sub = inner.add_edge(START, "in").compile(name="sub")
    made: Any = StateGraph(State).add_node("sub", sub)
    for name in ("x", "y", "z"):
        made.add_node(name, speaking(name, seen, is_async=is_async))
    made.add_edge(START, "x").add_edge("x", "y").add_edge("x", "z").add_edge(["y", "z"], "sub")
    return made.compile(name="diamond")


OUTLINE = [
    "caller",
    "  invoke_workflow diamond",
    "    superstep",
    "      invoke_node x",
    "        inside x",
    "    superstep",
    "      invoke_node y",
    "        inside y",
    "      invoke_node z",
    "        inside z",
    "    superstep",
    "      invoke_node sub",
    "        invoke_workflow sub",
    "          superstep",
    "            invoke_node in",
    "              inside in",
]


def consume(graph: Any, seen: RunTelemetry) -> set[str]:
    """Stream a graph, and return what is current where its parts are consumed."""
    with seen.tracer_provider.get_tracer("caller").start_as_current_span("caller"):
        return {current() for _ in graph.stream({"log": []})}


async def consume_later(graph: Any, seen: RunTelemetry) -> set[str]:
    with seen.tracer_provider.get_tracer("caller").start_as_current_span("caller"):
        return {current() async for _ in graph.astream({"log": []})}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_nodes_span_is_current_in_its_code_and_nowhere_else(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with telemetry() as seen:
        graph = diamond(seen, is_async=is_async)
        outside = asyncio.run(consume_later(graph, seen)) if is_async else consume(graph, seen)
    assert outside == {"caller"}
    assert sorted(seen.outline()) == sorted(OUTLINE)
    assert len({span.context.trace_id for span in seen.spans}) == 1
    assert caplog.records == []


def test_astream_events_drives_nodes_from_elsewhere_and_they_still_have_their_span(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(graph: Any) -> None:
        with seen.tracer_provider.get_tracer("caller").start_as_current_span("caller"):
            async for _ in graph.astream_events({"log": []}, version="v2"):
                assert current() == "caller"

    with telemetry() as seen:
        asyncio.run(main(diamond(seen, is_async=True)))
    assert sorted(seen.outline()) == sorted(OUTLINE)
    assert caplog.records == []


def links_of(seen: RunTelemetry) -> set[tuple[str, str]]:
    names = {span.context.span_id: span.name for span in seen.spans}
    return {(names[link.context.span_id], span.name) for span in seen.spans for link in span.links}


def test_links_are_the_edges_that_were_taken() -> None:
    with telemetry() as seen:
        diamond(seen, is_async=False).invoke({"log": []})
    assert links_of(seen) == {
        ("invoke_node x", "invoke_node y"),
        ("invoke_node x", "invoke_node z"),
        ("invoke_node y", "invoke_node sub"),
        ("invoke_node z", "invoke_node sub"),
    }


def test_a_join_over_several_supersteps_links_to_all_who_came() -> None:
    made: Any = StateGraph(State)
    for name in ("short", "long", "longer", "end"):
        made.add_node(name, lambda state: {"log": []})
    made.add_edge(START, "short").add_edge(START, "long").add_edge("long", "longer")
    graph = made.add_edge(["short", "longer"], "end").compile()
    with telemetry() as seen:
        graph.invoke({"log": []})
    assert {one for one in links_of(seen) if one[1] == "invoke_node end"} == {
        ("invoke_node short", "invoke_node end"),
        ("invoke_node longer", "invoke_node end"),
    }


def test_each_packet_links_to_who_sent_it() -> None:
    def send(state: State) -> Command[Any]:
        return Command(goto=[Send("w", {}), Send("w", {})])

    made: Any = StateGraph(State).add_node("one", send).add_node("two", send)
    made.add_node("w", lambda state: {"log": []})
    graph = made.add_edge(START, "one").add_edge(START, "two").compile()
    with telemetry() as seen:
        graph.invoke({"log": []})
    names = {span.context.span_id: span.name for span in seen.spans}
    senders = [names[span.links[0].context.span_id] for span in seen.spans if span.name == "invoke_node w"]
    assert sorted(senders) == ["invoke_node one"] * 2 + ["invoke_node two"] * 2


@pytest.mark.parametrize("turns", range(24))
def test_a_run_that_is_cancelled_while_it_fails_is_the_one_that_the_next_goes_on_from(turns: int) -> None:
    """At whichever turn of the event loop: LangGraph may not have begun to leave its stack."""
    failing: list[asyncio.Task[Any]] = []

    def later(left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(later, left - 1)
        else:
            failing[0].cancel()

    async def fail_once(state: State) -> State:
        if state["log"] == ["in"] and not failed:
            failed.append(True)
            later(turns)
            raise KeyError("no")
        return {"log": ["done"]}

    async def run_twice() -> None:
        builder: Any = StateGraph(State).add_node("a", fail_once).add_edge(START, "a")
        graph = builder.compile(checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "1"}}
        failing.append(asyncio.ensure_future(graph.ainvoke({"log": ["in"]}, config)))
        await asyncio.wait(failing)
        assert failing[0].cancelled() or isinstance(failing[0].exception(), KeyError)
        assert await graph.ainvoke(None, config) == {"log": ["in", "done"]}

    failed: list[bool] = []
    with telemetry() as seen:
        asyncio.run(run_twice())
    first, second = sorted(
        (span for span in seen.spans if span.parent is None), key=lambda span: span.start_time or 0
    )
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


def test_a_resumed_run_links_to_the_one_that_asked() -> None:
    saver = InMemorySaver()

    def built() -> Any:  # anew for each run, as in another process
        made: Any = StateGraph(State).add_node("ask", lambda state: {"log": [interrupt("?")]})
        return made.add_edge(START, "ask").compile(checkpointer=saver)

    config: Any = {"configurable": {"thread_id": "1"}}
    with telemetry() as seen:
        built().invoke({"log": []}, config)
        asked = built().get_state(config)
        built().invoke(Command(resume="yes"), config)
    before, after = (span for span in seen.spans if span.name == "invoke_workflow LangGraph")
    (link,) = after.links
    assert link.context.span_id == before.context.span_id
    assert before.context.trace_id != after.context.trace_id
    assert link.attributes[semconv.GRAPH_LINK_KIND] == "resume"
    assert after.attributes[semconv.GRAPH_RUN_RESUMED] is True
    assert after.attributes[semconv.GRAPH_RESUME_INTERRUPT_IDS] == tuple(one.id for one in asked.interrupts)


def test_what_links_runs_is_seen_by_nobody_who_reads_the_state() -> None:
    saver, alone = InMemorySaver(), InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}

    def snapshots(of: Any) -> list[Any]:
        made: Any = StateGraph(State).add_node("ask", lambda state: {"log": [interrupt("?")]})
        graph = made.add_edge(START, "ask").compile(checkpointer=of)
        graph.invoke({"log": []}, config)
        history = [*graph.get_state_history(config)]
        parts = [*graph.stream(Command(resume="yes"), config, stream_mode="debug")]
        return [(one.values, one.metadata, one.next, len(one.tasks)) for one in history] + [
            sorted(part["payload"]) for part in parts
        ]

    with telemetry():
        traced = snapshots(saver)
    assert traced == snapshots(alone)


def test_attempts_are_spans_of_their_own() -> None:
    calls = iter([True, False])

    def flaky(state: State) -> dict[str, Any]:
        if next(calls):
            raise ConnectionError("not yet")
        return {"log": ["at last"]}

    policy = RetryPolicy(initial_interval=0.001, jitter=False)
    made: Any = StateGraph(State).add_node("flaky", flaky, retry_policy=policy)
    graph = made.add_edge(START, "flaky").compile()
    with telemetry() as seen:
        graph.invoke({"log": []})
    first, second = (span for span in seen.spans if span.name == semconv.SPAN_ATTEMPT)
    assert first.attributes[semconv.ERROR_TYPE] == "ConnectionError"
    assert first.attributes[semconv.GRAPH_TASK_RETRY_DELAY] > 0
    assert second.status.is_ok
    assert seen.span("invoke_node flaky").attributes[semconv.GRAPH_TASK_ATTEMPTS] == 2


def test_log_events_and_metrics_are_those_of_our_own_engine() -> None:
    def write(state: State) -> dict[str, Any]:
        from langgraph.config import get_stream_writer

        get_stream_writer()({"half": "way"})
        return {"log": ["done"]}

    made: Any = StateGraph(State).add_node("a", write)
    graph = made.add_edge(START, "a").compile(name="g")
    with telemetry() as seen:
        graph.invoke({"log": []})
    assert {"graph.values", "graph.updates", "graph.custom"} <= set(seen.events)
    span_ids = {span.context.span_id: span.name for span in seen.spans}
    custom = next(one.log_record for one in seen.logs if one.log_record.event_name == "graph.custom")
    assert span_ids[custom.span_id] == "invoke_node a"
    measured = seen.metrics()
    assert [p.measurements for p in measured[semconv.NODE_DURATION.name]] == [1]


def test_threads_of_a_node_have_its_context() -> None:
    tracer_names: list[str] = []

    def fan_out(state: State) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_context().run, lambda: tracer_names.append(current())).result()
        return {"log": []}

    made: Any = StateGraph(State).add_node("a", fan_out)
    with telemetry():
        made.add_edge(START, "a").compile().invoke({"log": []})
    assert tracer_names == ["invoke_node a"]


def test_baggage_and_other_values_of_the_caller_are_there_in_nodes() -> None:
    found: list[Any] = []

    def look(state: State) -> dict[str, Any]:
        found.append((baggage.get_baggage("tenant"), context.get_value("theirs")))
        return {"log": []}

    made: Any = StateGraph(State).add_node("a", look)
    graph = made.add_edge(START, "a").compile()
    token = context.attach(context.set_value("theirs", 7, baggage.set_baggage("tenant", "acme")))
    try:
        with telemetry():
            graph.invoke({"log": []})
    finally:
        context.detach(token)
    assert found == [("acme", 7)]


def test_what_a_node_opens_in_a_run_that_is_left_out_is_left_out() -> None:
    with telemetry(sampler=ALWAYS_OFF) as seen:
        diamond(seen, is_async=False).invoke({"log": []})
        measured = seen.metrics()
    assert seen.spans == ()
    assert seen.logs == ()
    assert sum(p.measurements or 0 for p in measured[semconv.NODE_DURATION.name]) == 5


def test_runs_side_by_side_each_have_their_own_trace() -> None:
    with telemetry() as seen:
        graph = diamond(seen, is_async=False)
        threads = [threading.Thread(target=graph.invoke, args=({"log": []},)) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        graph.batch([{"log": []}] * 3)
    runs = [span for span in seen.spans if span.name == "invoke_workflow diamond"]
    assert len({span.context.trace_id for span in runs}) == 7
    assert all(span.parent is None for span in runs)
