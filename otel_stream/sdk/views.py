"""What Langfuse, Phoenix, MLflow, Datadog and LangSmith read, derived from attributes of ours as spans leave.

They read OpenTelemetry's GenAI conventions, each a part of them: what a span says stays as it is, and what a
product looks for under a name of its own is added. Only exported copies say it; other exporters see nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_stream import semconv
from otel_stream.sdk.mishaps import Mishaps

#: Products that a view is for.
Product = Literal["langfuse", "phoenix", "mlflow", "datadog", "langsmith"]

Attributes: TypeAlias = Mapping[str, Any]
#: Returns what is added for one product.
Derive: TypeAlias = Callable[[Attributes], dict[str, Any]]

_OPERATION: Final = semconv.GEN_AI_OPERATION_NAME
_MODELS: Final = frozenset({"chat", "text_completion"})
#: Kinds of OpenInference's spans, by operation; whatever else a run is made of is a step of a chain.
_KINDS: Final = {
    "chat": "LLM",
    "text_completion": "LLM",
    "embeddings": "EMBEDDING",
    "execute_tool": "TOOL",
    "retrieval": "RETRIEVER",
    "invoke_agent": "AGENT",
}
_WHOLE: Final = (semconv.SPAN_RUN, semconv.SPAN_AGENT)


class ProductView(SpanExporter):
    """Hands spans of graph runs to ``exporter`` with what ``product`` reads added; others as they are.

        tracers.add_span_processor(BatchSpanProcessor(ProductView("langfuse", OTLPSpanExporter(...))))

    Nothing is changed and nothing overwritten: an attribute that a span has stays. What cannot be derived is
    reported once, counted in ``failures``, and the span goes as it is.

    Raises:
        ValueError: there is no view for ``product``.
    """

    def __init__(self, product: Product, exporter: SpanExporter) -> None:
        if product not in get_args(Product):
            raise ValueError(f"product={product!r} has no view: use one of {', '.join(get_args(Product))}.")
        self._derive = _DERIVED[product]
        self._exporter = exporter
        self._mishap = Mishaps(f"Deriving what {product} reads of a span")

    @property
    def failures(self) -> int:
        """How many spans went as they are because something failed."""
        return self._mishap.count

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export ``spans`` with what is added."""
        return self._exporter.export([self._viewed(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)

    def _viewed(self, span: ReadableSpan) -> ReadableSpan:
        scope = span.instrumentation_scope
        if scope is None or scope.name != semconv.SCOPE:
            return span
        try:
            own = dict(span.attributes or {})
            added = self._derive(own)
            return _copied(span, {**added, **own}) if added else span
        except Exception as error:  # noqa: BLE001 - the span leaves in any case
            self._mishap(error)
            return span


def _copied(span: ReadableSpan, attributes: Attributes) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


# -- what each of them reads --------------------------------------------------------------------------------


def _langfuse(own: Attributes) -> dict[str, Any]:
    """Sessions, costs, the time of the first token; and no step of a graph is left out of the tree."""
    added = _given(
        own, {"langfuse.session.id": semconv.GEN_AI_CONVERSATION_ID, "langfuse.user.id": semconv.USER_ID}
    )
    added |= _given(own, {"gen_ai.usage.cost": semconv.GRAPH_CALL_COST})
    wrote = own.get(semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS)
    if wrote is not None:  # under another name it is counted twice
        added[semconv.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS] = wrote
    kind = own.get(_OPERATION)
    if kind in (semconv.SPAN_RUN, semconv.SPAN_NODE):
        added["langfuse.observation.type"] = "chain"
    elif kind is None:
        added[_OPERATION] = _step(own)  # its exporter leaves out what has no attribute of GenAI
        added["langfuse.observation.type"] = "span"
    return added


def _phoenix(own: Attributes) -> dict[str, Any]:
    """Kinds of spans, so that the tree is one of agents, chains, models and tools; sessions, the graph."""
    kind = own.get(_OPERATION)
    added: dict[str, Any] = {"openinference.span.kind": _KINDS.get(str(kind), "CHAIN")}
    added |= _given(own, {"session.id": semconv.GEN_AI_CONVERSATION_ID})
    node = own.get(semconv.GEN_AI_NODE_NAME)
    if node is not None:
        added |= {"graph.node.id": node, "graph.node.name": node}
    wrote = own.get(semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS)
    if wrote is not None:
        added[semconv.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS] = wrote
    if kind in _MODELS:
        added |= _of_openinference(own)
    return added


def _of_openinference(own: Attributes) -> dict[str, Any]:
    names = {
        "llm.provider": semconv.GEN_AI_PROVIDER_NAME,
        "llm.token_count.prompt": semconv.GEN_AI_USAGE_INPUT_TOKENS,
        "llm.token_count.completion": semconv.GEN_AI_USAGE_OUTPUT_TOKENS,
        "llm.token_count.prompt_details.cache_read": semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        "llm.token_count.completion_details.reasoning": semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
        "llm.cost.total": semconv.GRAPH_CALL_COST,
    }
    added = _given(own, names)
    model = own.get(semconv.GEN_AI_RESPONSE_MODEL, own.get(semconv.GEN_AI_REQUEST_MODEL))
    if model is not None:
        added["llm.model_name"] = model
    read, written = own.get(semconv.GEN_AI_USAGE_INPUT_TOKENS), own.get(semconv.GEN_AI_USAGE_OUTPUT_TOKENS)
    if read is not None and written is not None:
        added["llm.token_count.total"] = read + written
    return added


def _mlflow(own: Attributes) -> dict[str, Any]:
    """Sessions, which it knows under that name alone, and the types of what the convention has none for."""
    added = _given(own, {"session.id": semconv.GEN_AI_CONVERSATION_ID})
    kind = own.get(_OPERATION)
    if kind == "retrieval":
        added["mlflow.spanType"] = '"RETRIEVER"'
    elif kind not in _KINDS:
        added["mlflow.spanType"] = '"CHAIN"'
    return added


def _datadog(own: Attributes) -> dict[str, Any]:
    """Marks that it keeps spans by: without any attribute of GenAI it drops them, and the tree breaks."""
    added: dict[str, Any] = {"dd_llmobs_enabled": True}
    kind = own.get(_OPERATION)
    if kind is None:
        added[_OPERATION] = _step(own)
    read, written = own.get(semconv.GEN_AI_USAGE_INPUT_TOKENS), own.get(semconv.GEN_AI_USAGE_OUTPUT_TOKENS)
    if kind in _MODELS and read is not None and written is not None:
        added["gen_ai.usage.total_tokens"] = read + written
    return added


def _langsmith(own: Attributes) -> dict[str, Any]:
    """Kinds, the thread, and who provides a model, by the name that the convention had before."""
    kind = own.get(_OPERATION)
    kinds = {"embeddings": "embedding", "execute_tool": "tool", "retrieval": "retriever"}
    added = {"langsmith.span.kind": "llm" if kind in _MODELS else kinds.get(str(kind), "chain")}
    added |= _given(own, {"langsmith.trace.session_id": semconv.GEN_AI_CONVERSATION_ID})
    if kind in _MODELS:
        added |= _given(own, {"gen_ai.system": semconv.GEN_AI_PROVIDER_NAME})
    if kind in _WHOLE:
        names = {"langsmith.trace.name": semconv.GEN_AI_WORKFLOW_NAME}
        added |= _given(own, names) or _given(own, {"langsmith.trace.name": semconv.GEN_AI_AGENT_NAME})
    return added


def _step(own: Attributes) -> str:
    """Return what a span is that the convention has no operation for."""
    return semconv.SPAN_ATTEMPT if semconv.GRAPH_TASK_ATTEMPT in own else semconv.SPAN_SUPERSTEP


def _given(own: Attributes, names: Mapping[str, str]) -> dict[str, Any]:
    return {theirs: own[ours] for theirs, ours in names.items() if ours in own}


_DERIVED: Final[dict[str, Derive]] = {
    "langfuse": _langfuse,
    "phoenix": _phoenix,
    "mlflow": _mlflow,
    "datadog": _datadog,
    "langsmith": _langsmith,
}
