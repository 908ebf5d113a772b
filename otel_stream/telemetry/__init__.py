"""Telemetry of graph runs: spans, log events and metrics, through the OpenTelemetry API alone.

What receives them, if anything, is the business of whoever configures OpenTelemetry's SDK;
``otel_stream.configure()`` is one way to do it.
"""

from __future__ import annotations

from otel_stream.telemetry.options import TelemetryOptions, get_options, resolve, set_options
from otel_stream.telemetry.redaction import Redaction
from otel_stream.telemetry.run import RunTelemetry, consumer_for_run

__all__ = [
    "RunTelemetry",
    "Redaction",
    "TelemetryOptions",
    "consumer_for_run",
    "get_options",
    "resolve",
    "set_options",
]
