"""What stands on OpenTelemetry's SDK: ``configure()`` and exporters. Nothing else here imports it."""

from __future__ import annotations

from otel_stream.sdk.accounting import Counts
from otel_stream.sdk.exporters import (
    OtlpJsonFile,
    OtlpJsonLogExporter,
    OtlpJsonMetricExporter,
    OtlpJsonSpanExporter,
)
from otel_stream.sdk.handle import Handle
from otel_stream.sdk.setup import configure

__all__ = [
    "configure",
    "Handle",
    "Counts",
    "OtlpJsonFile",
    "OtlpJsonSpanExporter",
    "OtlpJsonLogExporter",
    "OtlpJsonMetricExporter",
]
