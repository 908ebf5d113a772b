"""Graphs of both engines under real providers in memory, and models that behave like real ones."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from opentelemetry import _logs, metrics, trace
from pydantic import Field

from otel_stream.telemetry import resolve, set_options
from semconv.live_check import LiveCheck
from semconv.resolve import Registry
from tests.emitted import Emitted
from tests.otel_stream.adapters.conftest import FakeService

REGISTRY = Registry()
LATEST = {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

USAGE = {
    "input_tokens": 100,
    "output_tokens": 20,
    "total_tokens": 120,
    "input_token_details": {"cache_read": 40, "cache_creation": 10},
    "output_token_details": {"reasoning": 5},
}


class State(TypedDict, total=False):
    said: Any


class RateLimitError(Exception):
    """What a provider answers who has had enough."""


class Model(BaseChatModel):
    """Says ``words``, whole or word by word, as a service does: with counts, ids and reasons."""

    words: list[str] = Field(default=["It ", "rains ", "in Paris."])
    calls: list[dict[str, Any]] = Field(default=[])
    error: Exception | None = None
    after: int = 0

    @property
    def _llm_type(self) -> str:
        return "fake"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": "gpt-fake", "top_p": 0.9, "seed": 7, "n": 1, "max_tokens": 64, "top_k": 3}

    def _get_ls_params(self, stop: Any = None, **_: Any) -> Any:
        return {
            "ls_provider": "mistral",
            "ls_model_name": "gpt-fake",
            "ls_temperature": 0.2,
            "ls_model_type": "chat",
        }

    def _message(self, kind: Any, content: str, **more: Any) -> Any:
        told = {"finish_reason": "tool_calls" if self.calls else "stop", "model_name": "gpt-fake-2026"}
        return kind(content=content, id="answer-1", usage_metadata=USAGE, response_metadata=told, **more)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> ChatResult:
        if self.error is not None:
            raise self.error
        message = self._message(AIMessage, "".join(self.words), tool_calls=self.calls)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> Iterator[ChatGenerationChunk]:
        for place, word in enumerate(self.words):
            if self.error is not None and place == self.after:
                raise self.error
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word, id="answer-1"))
            if run_manager is not None:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
        pieces = [
            {
                "name": call["name"],
                "args": json.dumps(call["args"]),
                "id": call["id"],
                "index": place,
                "type": "tool_call_chunk",
            }
            for place, call in enumerate(self.calls)
        ]
        yield ChatGenerationChunk(message=self._message(AIMessageChunk, "", tool_call_chunks=pieces))


class Seen:
    """What a run has emitted."""

    def __init__(self, emitted: Emitted, *, latest: bool) -> None:
        self.emitted = emitted
        self.latest = latest
        self.spans: tuple[Any, ...] = emitted.spans.get_finished_spans()
        self.logs = [one.log_record for one in emitted.logs.get_finished_logs()]
        self.data = emitted.reader.get_metrics_data()
        self._names = {span.context.span_id: span.name for span in self.spans}

    def of(self, operation: str) -> list[Any]:
        """Return the spans of an operation, as they began."""
        found = [s for s in self.spans if s.attributes.get("gen_ai.operation.name") == operation]
        return sorted(found, key=lambda span: span.start_time)

    def above(self, span: Any) -> str | None:
        """Return the name of the span above."""
        return None if span.parent is None else self._names.get(span.parent.span_id)

    def points(self, metric: str) -> list[Any]:
        """Return the points of a metric."""
        found = [
            point
            for resource in (self.data.resource_metrics if self.data else ())
            for scope in resource.scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
        ]
        return sorted(found, key=lambda point: sorted(map(str, point.attributes.items())))

    def sums(self, metric: str, *by: str) -> dict[tuple[Any, ...], Any]:
        """Return sums of a metric by the values of attributes."""
        found: dict[tuple[Any, ...], Any] = {}
        for point in self.points(metric):
            key = tuple(point.attributes.get(name) for name in by)
            value = point.value if hasattr(point, "value") else point.sum
            found[key] = found.get(key, 0) + value
        return found

    def violations(self) -> list[str]:
        """Return what is not as the registry says."""
        return self.emitted.violations(LiveCheck(REGISTRY, latest=self.latest))

    def text(self) -> str:
        """Return everything that leaves, as text."""
        return "\n".join(
            [*(s.to_json() for s in self.spans), *map(str, map(vars, self.logs)), str(self.data)]
        )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["ours", "langgraph"])
def graphs(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Either engine's module of graphs; LangGraph's under our instrumentor."""
    if request.param == "ours":
        import engine

        yield engine
        return
    import langgraph.graph

    from otel_stream.adapters.langgraph import LangGraphInstrumentor

    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument()
    yield langgraph.graph
    instrumentor.uninstrument()


@pytest.fixture
def watch(otel_globals: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Callable[[], Seen]]]:
    """Set providers and options up, by variables of the environment; return what tells what was seen."""

    def begin(**environ: str) -> Callable[[], Seen]:
        emitted = Emitted()
        trace.set_tracer_provider(emitted.tracers)
        _logs.set_logger_provider(emitted.loggers)
        metrics.set_meter_provider(emitted.meters)
        set_options(resolve(environ=environ))
        return lambda: Seen(emitted, latest="OTEL_SEMCONV_STABILITY_OPT_IN" in environ)

    yield begin
    set_options(None)


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    yield service
    service.close()


def one_node(graphs: Any, node: Callable[..., Any], name: str = "node", **config: Any) -> Any:
    """Return a graph of a single node."""
    made = graphs.StateGraph(State).add_node(name, node)
    return made.add_edge(graphs.START, name).compile(name="triage", **config)
