"""A graph that runs elsewhere is a client span, whose context goes along."""

import asyncio
import operator
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from opentelemetry.trace import SpanKind

from otel_stream.adapters.langgraph import LangGraphInstrumentor
from otel_stream.adapters.langgraph import remote as adapter
from otel_stream.testing import telemetry


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


class Server:
    """Stands for LangGraph's server: notes the headers of a request, and answers with ``parts``."""

    def __init__(self, *parts: tuple[str, Any]) -> None:
        self.parts = [SimpleNamespace(event=event, data=data) for event, data in parts]
        self.headers: list[dict[str, str]] = []
        self.runs = self

    def stream(self, *, headers: dict[str, str], **_: Any) -> Iterator[Any]:
        self.headers.append(headers)
        return iter(self.parts)


class AsyncServer(Server):
    async def stream(self, *, headers: dict[str, str], **_: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        self.headers.append(headers)
        for part in self.parts:
            yield part


def in_a_node(graph: RemoteGraph, *, is_async: bool = False) -> Any:
    async def call_later(state: State) -> Any:
        return await graph.ainvoke({"log": []})

    def call(state: State) -> Any:
        return graph.invoke({"log": []})

    made: Any = StateGraph(State).add_node("call", call_later if is_async else call)
    return made.add_edge(START, "call").compile(name="here")


@pytest.fixture
def tracing(instrumented: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with telemetry() as seen:
        monkeypatch.setattr(adapter.trace, "get_tracer", seen.tracer_provider.get_tracer)
        yield seen


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_run_elsewhere_is_a_client_span_below_the_node(is_async: bool, tracing: Any) -> None:
    server = AsyncServer if is_async else Server
    there = server(("values", {"log": ["there"]}))
    graph = RemoteGraph("there", client=there, sync_client=there)  # type: ignore[arg-type]
    app = in_a_node(graph, is_async=is_async)
    result = asyncio.run(app.ainvoke({"log": []})) if is_async else app.invoke({"log": []})
    assert result == {"log": ["there"]}
    span = tracing.span("invoke_workflow there")
    assert span.kind is SpanKind.CLIENT
    assert span.parent.span_id == tracing.span("invoke_node call").context.span_id
    (headers,) = there.headers
    assert headers["traceparent"].split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]


def test_a_run_that_fails_elsewhere_is_an_error_and_one_that_is_left_is_none(tracing: Any) -> None:
    broken = RemoteGraph("there", sync_client=Server(("error", {"message": "x"})))  # type: ignore[arg-type]
    with pytest.raises(RemoteException):
        broken.invoke({"log": []})
    left = RemoteGraph("left", sync_client=Server(("values", 1), ("values", 2)))  # type: ignore[arg-type]
    parts = left.stream({"log": []}, stream_mode="values")
    next(iter(parts))
    parts.close()  # type: ignore[attr-defined]
    assert not tracing.span("invoke_workflow there").status.is_unset
    assert tracing.span("invoke_workflow left").status.is_unset


def test_uninstrumenting_lets_it_be() -> None:
    before = RemoteGraph.stream
    LangGraphInstrumentor().instrument()
    assert RemoteGraph.stream is not before
    LangGraphInstrumentor().uninstrument()
    assert RemoteGraph.stream is before


@pytest.mark.parametrize(("thread", "is_shown"), [("thread-7", True), ("alice@example.com", False)])
def test_a_thread_elsewhere_that_names_somebody_is_a_hash(thread: str, is_shown: bool, tracing: Any) -> None:
    there = Server(("values", {"log": []}))
    graph = RemoteGraph("there", client=there, sync_client=there)  # type: ignore[arg-type]
    graph.invoke({"log": []}, {"configurable": {"thread_id": thread}})
    shown = tracing.span("invoke_workflow there").attributes["gen_ai.conversation.id"]
    assert (shown == thread, thread in shown) == (is_shown, is_shown)
