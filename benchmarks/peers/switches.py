"""How each peer is switched on, the way its own documentation does; nothing leaves the machine.

Runs in the environment of the peer, of which the others are not installed: imports are late.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.exports import Exports


@dataclass(slots=True)
class Switched:
    """What a peer asks of its users: a config for every run, and something to call before the end."""

    config: dict[str, Any] = field(default_factory=dict)
    flush: Callable[[], object] = lambda: None


def bare(_: Exports) -> Switched:
    """Nothing is switched on."""
    return Switched()


def openinference(exports: Exports) -> Switched:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=exports.tracers)
    return Switched()


def traceloop(exports: Exports) -> Switched:
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    LangchainInstrumentor().instrument(
        tracer_provider=exports.tracers, meter_provider=exports.meters, logger_provider=exports.loggers
    )
    return Switched()


def genai(exports: Exports) -> Switched:
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(
        tracer_provider=exports.tracers, meter_provider=exports.meters, logger_provider=exports.loggers
    )
    return Switched()


def langfuse(exports: Exports) -> Switched:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler

    client = Langfuse(
        public_key="pk-none",
        secret_key="sk-none",
        base_url="http://127.0.0.1:9",
        tracer_provider=exports.tracers,
        span_exporter=exports.spans,
        mask=(lambda **_: None) if "PEERS_MASK" in os.environ else None,
        # All spans, as the others export them.
        should_export_span=lambda _: True,
    )
    return Switched({"callbacks": [CallbackHandler()]}, client.flush)


def langsmith(exports: Exports) -> Switched:
    from langchain_core.tracers.langchain import LangChainTracer
    from langsmith import Client

    client = Client(
        api_url="http://127.0.0.1:9",
        api_key="none",
        tracing_mode="otel",
        otel_tracer_provider=exports.tracers,
        auto_batch_tracing=True,
    )
    return Switched({"callbacks": [LangChainTracer(client=client)]}, client.flush)


def agento11y(exports: Exports) -> Switched:
    from agento11y import Client, ClientConfig, GenerationExportConfig
    from agento11y_langgraph import create_agento11y_langgraph_handler

    config = ClientConfig(
        generation_export=GenerationExportConfig(protocol="none"),
        tracer_provider=exports.tracers,
        meter_provider=exports.meters,
    )
    client = Client(config)
    handler = create_agento11y_langgraph_handler(client=client, async_handler=True)
    return Switched({"callbacks": [handler]}, client.flush)


def mlflow(exports: Exports) -> Switched:
    import mlflow
    from mlflow.tracing import provider

    # Its batch processor joins the provider that is there, with an exporter that it makes itself.
    provider.get_otlp_exporter = lambda: exports.spans
    if "PEERS_MASK" in os.environ:
        mlflow.tracing.configure(span_processors=[_without_content])
    mlflow.langchain.autolog()
    return Switched()


def _without_content(span: Any) -> None:
    span.set_inputs(None)
    span.set_outputs(None)


SWITCHES: dict[str, Callable[[Exports], Switched]] = {
    "langgraph": bare,
    "openinference": openinference,
    "traceloop": traceloop,
    "genai": genai,
    "langfuse": langfuse,
    "langsmith": langsmith,
    "agento11y": agento11y,
    "mlflow": mlflow,
}

#: Peers that put a batch processor of their own before ``exports.spans``.
OWN_SPANS = frozenset({"langfuse", "mlflow"})
