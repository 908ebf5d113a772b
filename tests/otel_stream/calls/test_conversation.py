"""Which conversation it is, who uses it, in which session: on everything that a run emits."""

import logging
from typing import Any

import pytest
from langchain_core.tools import tool
from opentelemetry import _logs, baggage, trace

from otel_stream.sdk import ConversationLogProcessor, ConversationProcessor
from otel_stream.sdk.logs.python_logging import LogHandler
from otel_stream.telemetry import Redaction, resolve, set_options
from tests.otel_stream.calls.conftest import Model, one_node

NAME = "gen_ai.conversation.id"


@tool
def fetch(query: str) -> Any:
    """Open a span of a client, and log."""
    with trace.get_tracer("a client").start_as_current_span("GET"):
        logging.getLogger("the program").warning("fetched")
    return query


def carried(state: Any) -> Any:
    Model().invoke("?")
    fetch.invoke({"query": "rain"})
    return {"said": baggage.get_baggage(NAME)}


def processed() -> LogHandler:
    """Let the processors stand before the exporters that are there; return a handler of Python's logging."""
    tracers: Any = trace.get_tracer_provider()
    loggers: Any = _logs.get_logger_provider()
    for provider, one in ((tracers, ConversationProcessor()), (loggers, ConversationLogProcessor())):
        inner = getattr(provider, "_active_span_processor", None) or provider._multi_log_record_processor
        for name in ("_span_processors", "_log_record_processors"):
            if hasattr(inner, name):
                setattr(inner, name, (one, *getattr(inner, name)))
    return LogHandler(loggers)


@pytest.fixture
def logged() -> Any:
    root, handlers = logging.getLogger("the program"), []

    def begin() -> None:
        handlers.append(processed())
        root.addHandler(handlers[0])

    yield begin
    for one in handlers:
        root.removeHandler(one)


@pytest.mark.parametrize("thread", ["thread-7", None])
def test_every_span_and_log_event_of_a_run_says_which_conversation_it_is(
    watch: Any, graphs: Any, logged: Any, thread: str | None
) -> None:
    seen = watch()
    logged()
    config: Any = {"configurable": {"thread_id": thread}} if thread else {}
    inner = one_node(graphs, carried)

    def outer(state: Any) -> Any:
        return inner.invoke(state)

    assert one_node(graphs, outer, "outer").invoke({}, config)["said"] is None
    told = seen()
    names = {span.name.partition(" ")[0] for span in told.spans}
    assert names == {"invoke_workflow", "superstep", "invoke_node", "chat", "execute_tool", "GET"}
    assert {span.attributes.get(NAME) for span in told.spans} == {thread}
    untold = [one.event_name for one in told.logs if (one.attributes or {}).get(NAME) != thread]
    assert untold == []
    assert any(one.event_name is None and one.body == "fetched" for one in told.logs)
    assert not any(NAME in point.attributes for point in told.points("gen_ai.client.operation.duration"))
    assert told.violations() == []


def test_nothing_outside_of_a_run_belongs_to_its_conversation(watch: Any, graphs: Any, logged: Any) -> None:
    seen = watch()
    logged()
    one_node(graphs, carried).invoke({}, {"configurable": {"thread_id": "thread-7"}})
    fetch.invoke({"query": "later"})
    found = [span.attributes.get(NAME) for span in seen().spans if span.name == "GET"]
    assert found == ["thread-7", None]


def test_the_conversation_goes_on_in_baggage_where_that_is_asked_for(watch: Any, graphs: Any) -> None:
    watch(OTEL_STREAM_CONVERSATION_BAGGAGE="true")
    config: Any = {"configurable": {"thread_id": "thread-7"}}
    assert one_node(graphs, carried).invoke({}, config)["said"] == "thread-7"
    assert baggage.get_baggage(NAME) is None


def test_a_conversation_that_names_somebody_is_a_hash_everywhere(
    watch: Any, graphs: Any, logged: Any
) -> None:
    seen = watch()
    logged()
    one_node(graphs, carried).invoke({}, {"configurable": {"thread_id": "ada@example.com"}})
    told = seen()
    assert "ada@" not in told.text()
    (hashed,) = {span.attributes.get(NAME) for span in told.spans}
    assert hashed.startswith("hash:")


METADATA: Any = {"metadata": {"user_id": "u-7", "session.id": "s-7", "tenant": "acme", "secret": "canary"}}


def test_metadata_is_shown_by_allow_list(watch: Any, graphs: Any) -> None:
    seen = watch(OTEL_STREAM_RUN_ATTRIBUTES="user.id, session.id,tenant")
    one_node(graphs, carried).invoke({}, METADATA)
    told = seen()
    shown = {"user.id": "u-7", "session.id": "s-7", "graph.run.metadata.tenant": "acme"}
    for span in told.spans:
        wanted = shown if span.name.startswith(("invoke_workflow", "chat", "execute_tool")) else {}
        assert {name: value for name, value in span.attributes.items() if name in shown} == wanted
    assert "canary" not in told.text()
    assert told.violations() == []


def test_metadata_that_is_shown_is_redacted(watch: Any, graphs: Any) -> None:
    seen = watch()
    rules = Redaction(hashed=["user.id"], key="k")
    set_options(resolve(redaction=rules, run_attributes=["user.id"], environ={}))
    one_node(graphs, carried).invoke({}, METADATA)
    (run,) = seen().of("invoke_workflow")
    assert run.attributes["user.id"].startswith("hash:")
