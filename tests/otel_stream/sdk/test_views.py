"""What products read of a run, and that everything else about its spans stays as it is."""

import json
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_stream.sdk import Product, ProductView
from otel_stream.telemetry import resolve, set_options
from tests.otel_stream.calls.conftest import LATEST
from tests.otel_stream.sdk.products import run_an_agent

PRODUCTS: tuple[Any, ...] = get_args(Product)


def exported(product: Any, **environ: str) -> tuple[list[Any], list[Any]]:
    """Run an agent that calls a model and a tool in a retried node; return its spans plain, and as viewed."""
    plain, viewed = InMemorySpanExporter(), InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(plain))
    provider.add_span_processor(SimpleSpanProcessor(ProductView(product, viewed)))
    trace.set_tracer_provider(provider)
    set_options(
        resolve(environ={"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY", **environ})
    )
    run_an_agent("thread-7")
    provider.get_tracer("the program").start_span("walk").end()
    set_options(None)
    return list(plain.get_finished_spans()), list(viewed.get_finished_spans())


@pytest.fixture(params=["before", "since"])
def latest(request: pytest.FixtureRequest) -> dict[str, str]:
    return LATEST if request.param == "since" else {}


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_a_span_says_stays_and_only_runs_get_more(
    otel_globals: None, product: Any, latest: dict[str, str]
) -> None:
    plain, viewed = exported(product, **latest)
    assert [span.name for span in viewed] == [span.name for span in plain]
    for one, other in zip(plain, viewed, strict=True):
        assert one.attributes.items() <= other.attributes.items()
        same = (
            "context",
            "parent",
            "kind",
            "status",
            "start_time",
            "end_time",
            "events",
            "links",
            "resource",
        )
        assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert (one.name == "walk") <= (one is other)
    assert len(encode_spans(viewed).resource_spans) == 1


def of(spans: Sequence[Any], word: str) -> dict[str, Any]:
    (found,) = [span for span in spans if span.name.partition(" ")[0] == word][:1]
    return dict(found.attributes)


def test_langfuse_finds_sessions_users_costs_and_every_step(otel_globals: None, latest: Any) -> None:
    _, spans = exported("langfuse", **latest, OTEL_STREAM_RUN_ATTRIBUTES="user.id")
    chat = of(spans, "chat")
    assert chat["langfuse.session.id"] == "thread-7"
    assert chat["gen_ai.usage.cost"] == chat["graph.call.cost"] > 0
    assert chat["gen_ai.usage.cache_creation.input_tokens"] == 10
    assert of(spans, "invoke_workflow")["langfuse.user.id"] == "ada"
    kinds = {span.name.partition(" ")[0]: span.attributes["gen_ai.operation.name"] for span in spans[:-1]}
    assert {word: kind for word, kind in kinds.items() if word != kind} == {}
    assert kinds.keys() >= {"superstep", "attempt", "chat", "execute_tool"}


def test_phoenix_finds_kinds_and_names_that_openinference_has(otel_globals: None, latest: Any) -> None:
    _, spans = exported("phoenix", **latest)
    words = {span.name.partition(" ")[0]: dict(span.attributes) for span in spans[:-1]}
    kinds = {word: own[SpanAttributes.OPENINFERENCE_SPAN_KIND] for word, own in words.items()}
    assert kinds == {
        "invoke_workflow": "CHAIN",
        "superstep": "CHAIN",
        "invoke_node": "CHAIN",
        "attempt": "CHAIN",
        "chat": "LLM",
        "execute_tool": "TOOL",
    }
    assert set(kinds.values()) <= {kind.value for kind in OpenInferenceSpanKindValues}
    known = {getattr(SpanAttributes, name) for name in dir(SpanAttributes) if name.isupper()}
    plain, _ = exported("phoenix", **latest)
    added = {name for span in spans for name in span.attributes} - {
        name for span in plain for name in span.attributes
    }
    known_here = {
        name for name in added if name.startswith(("llm.", "session.", "openinference.", "graph.node."))
    }
    assert known_here <= known
    chat = words["chat"]
    assert (chat["llm.token_count.prompt"], chat["llm.token_count.completion"]) == (100, 20)
    assert chat[SpanAttributes.SESSION_ID] == "thread-7"
    assert json.loads(chat["gen_ai.output.messages"])[0]["finish_reason"] == "stop"


def test_mlflow_finds_sessions_and_types(otel_globals: None, latest: Any) -> None:
    _, spans = exported("mlflow", **latest)
    assert of(spans, "chat")["session.id"] == "thread-7"
    assert "mlflow.spanType" not in of(spans, "chat")
    types = {word: of(spans, word)["mlflow.spanType"] for word in ("invoke_workflow", "superstep", "attempt")}
    assert types == dict.fromkeys(types, '"CHAIN"')


def test_datadog_finds_an_attribute_of_genai_on_every_span(otel_globals: None, latest: Any) -> None:
    _, spans = exported("datadog", **latest)
    assert all("gen_ai.operation.name" in span.attributes for span in spans[:-1])
    assert of(spans, "chat")["gen_ai.usage.total_tokens"] == 120


def test_langsmith_finds_kinds_threads_and_providers(otel_globals: None, latest: Any) -> None:
    _, spans = exported("langsmith", **latest)
    kinds = {span.name.partition(" ")[0]: span.attributes["langsmith.span.kind"] for span in spans[:-1]}
    assert (kinds["chat"], kinds["execute_tool"], kinds["superstep"]) == ("llm", "tool", "chain")
    assert of(spans, "chat")["gen_ai.system"] == "openai"
    assert of(spans, "invoke_workflow")["langsmith.trace.name"] == "triage"


def test_what_fails_costs_no_span(caplog: pytest.LogCaptureFixture) -> None:
    kept = InMemorySpanExporter()
    view = ProductView("datadog", kept)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(view))
    tracer = provider.get_tracer("otel_stream")
    odd = {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": "many",
        "gen_ai.usage.output_tokens": 3,
    }
    for _ in range(2):
        tracer.start_span("chat x", attributes=odd).end()
    assert [span.attributes for span in kept.get_finished_spans()] == [odd, odd]
    assert view.failures == 2
    assert len([one for one in caplog.records if "Deriving what datadog reads" in one.getMessage()]) == 1


class Told(SpanExporter):
    def __init__(self) -> None:
        self.told: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.told.append("export")
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.told.append("shutdown")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.told.append("flush")
        return False


def test_what_the_exporter_answers_is_what_is_answered() -> None:
    inner = Told()
    view = ProductView("langfuse", inner)
    assert (view.export([]), view.force_flush()) == (SpanExportResult.FAILURE, False)
    view.shutdown()
    assert inner.told == ["export", "flush", "shutdown"]


def test_a_product_that_has_no_view_is_an_error_that_names_those_that_have() -> None:
    wrong: Any = "grafana"
    with pytest.raises(ValueError, match="'grafana' has no view: use one of langfuse, phoenix, mlflow"):
        ProductView(wrong, InMemorySpanExporter())
