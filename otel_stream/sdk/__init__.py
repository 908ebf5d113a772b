"""What stands on OpenTelemetry's SDK: ``configure()``, exporters, processors. Nothing else imports it."""

from __future__ import annotations

from otel_stream.sdk.accounting import Counts
from otel_stream.sdk.bridge import EventToSpanEventBridge
from otel_stream.sdk.exporters import (
    OtlpJsonFile,
    OtlpJsonLogExporter,
    OtlpJsonMetricExporter,
    OtlpJsonSpanExporter,
)
from otel_stream.sdk.gate import SampledLogFilter
from otel_stream.sdk.handle import Handle
from otel_stream.sdk.receive import OTHER_LOGS, StreamLogProcessor
from otel_stream.sdk.samplers import (
    ForcedSampler,
    RateLimitingSampler,
    RecordOnlySampler,
    TraceStateSampler,
)
from otel_stream.sdk.setup import configure
from otel_stream.sdk.tail import TailSamplingProcessor
from otel_stream.sdk.tail_policies import (
    KeepErrors,
    KeepInterrupted,
    KeepMatching,
    KeepRate,
    KeepRatio,
    KeepSlow,
    TailPolicy,
    TailTrace,
)
from otel_stream.sdk.tail_statistics import TailStatistics

__all__ = [
    "configure",
    "Handle",
    "Counts",
    "OtlpJsonFile",
    "OtlpJsonSpanExporter",
    "OtlpJsonLogExporter",
    "OtlpJsonMetricExporter",
    "EventToSpanEventBridge",
    "SampledLogFilter",
    "StreamLogProcessor",
    "ForcedSampler",
    "RateLimitingSampler",
    "RecordOnlySampler",
    "TraceStateSampler",
    "OTHER_LOGS",
    "TailSamplingProcessor",
    "TailPolicy",
    "TailStatistics",
    "TailTrace",
    "KeepErrors",
    "KeepInterrupted",
    "KeepMatching",
    "KeepRate",
    "KeepRatio",
    "KeepSlow",
]
