"""The SDK's spans, log records and histograms at a fraction of its cost, for graph runs alone.

The SDK makes every span, record and measurement ready for whatever user code might do to it: locks,
bounded lists, mappings that clean each attribute, copies. A graph's telemetry is made by the thousand,
of a few attributes known to be clean, and hardly any is touched again before it is exported. So the
providers here are the SDK's own, except that the tracer, logger and meter they give to graph runs
(the scope ``otel_stream``) leave that preparation until somebody needs it.

All of it reaches behind the SDK's public surface, which is why the SDK is pinned to one version, why
whatever is unusual takes the SDK's own way, and why tests compare the two. ADR 5 has the figures.
"""

from __future__ import annotations

from otel_stream.sdk.lean.logs import LeanLoggerProvider
from otel_stream.sdk.lean.metrics import LeanMeterProvider
from otel_stream.sdk.lean.spans import LeanTracerProvider

__all__ = ["LeanLoggerProvider", "LeanMeterProvider", "LeanTracerProvider"]
