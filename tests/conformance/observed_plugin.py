"""The pytest plugin that has LangGraph observed while its own tests run, by all that there is."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from otel_stream import OverflowPolicy, StreamConfig
    from otel_stream.adapters.langgraph import LangGraphInstrumentor, subscribe
    from otel_stream.config import MODES

    trace.set_tracer_provider(TracerProvider())
    _logs.set_logger_provider(LoggerProvider())
    metrics.set_meter_provider(MeterProvider())
    LangGraphInstrumentor().instrument()
    # Who wants messages makes models stream, as in LangGraph; telemetry hears them without.
    modes = tuple(mode for mode in MODES if mode != "messages")
    config.stash[_RECEIVER] = subscribe(
        StreamConfig(modes=modes, buffer_size=100, overflow=OverflowPolicy.DROP_OLDEST, subgraphs=True)
    )


_RECEIVER = pytest.StashKey[object]()
