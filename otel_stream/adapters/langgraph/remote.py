"""Graphs that run elsewhere: a client span around each run, and its context on the way there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from langgraph.errors import GraphBubbleUp
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from otel_stream import semconv
from otel_stream.telemetry import get_options
from otel_stream.telemetry.identity import shown_id
from otel_stream.telemetry.run import version


def streaming(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Return ``RemoteGraph.stream`` with a span; ``invoke`` goes through it."""

    def stream(graph: Any, input: Any, config: Any = None, **options: Any) -> Iterator[Any]:
        span, options["headers"] = _begin(graph, config, options.get("headers"))
        try:
            yield from original(graph, input, config, **options)
        except BaseException as error:
            _note(span, error)
            raise
        finally:
            span.end()

    return stream


def streaming_later(original: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """Return ``RemoteGraph.astream`` with a span; ``ainvoke`` goes through it."""

    async def astream(graph: Any, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        span, options["headers"] = _begin(graph, config, options.get("headers"))
        parts: Any = original(graph, input, config, **options)
        try:
            async for part in parts:
                yield part
        except BaseException as error:
            _note(span, error)
            raise
        finally:
            span.end()
            await parts.aclose()

    return astream


def _begin(graph: Any, config: Any, headers: Mapping[str, str] | None) -> tuple[Span, dict[str, str]]:
    """Start the span of a run elsewhere, and return it with the headers that take it along."""
    name = str(getattr(graph, "name", None) or getattr(graph, "assistant_id", ""))
    options = get_options()
    attributes = {semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_RUN, options.names.graph_attribute: name}
    thread = ((config or {}).get("configurable") or {}).get("thread_id")
    if thread is not None:
        attributes[semconv.GEN_AI_CONVERSATION_ID] = shown_id(
            str(thread), "thread_id", options, content=options.span_content
        )
    tracer = trace.get_tracer(semconv.SCOPE, version(), schema_url=semconv.SCHEMA_URL)
    span = tracer.start_span(f"{semconv.SPAN_RUN} {name}", kind=SpanKind.CLIENT, attributes=attributes)
    carried = dict(headers or {})
    propagate.inject(carried, set_span_in_context(span))
    return span, carried


def _note(span: Span, error: BaseException) -> None:
    """Say that a run has failed, unless it waits, or was left or stopped."""
    if isinstance(error, Exception) and not isinstance(error, GraphBubbleUp):
        span.set_attribute(semconv.ERROR_TYPE, type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR))
