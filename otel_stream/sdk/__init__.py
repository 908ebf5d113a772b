"""What stands on OpenTelemetry's SDK: ``configure()``, exporters, processors. Nothing else imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stream.sdk.extras import needing

with needing("otlp", "otel_stream.sdk"):
    import opentelemetry.sdk.trace  # noqa: F401

from otel_stream.sdk.configure.handle import Handle
from otel_stream.sdk.configure.setup import configure
from otel_stream.sdk.conversations import ConversationLogProcessor, ConversationProcessor
from otel_stream.sdk.export.accounting import Counts
from otel_stream.sdk.logs.bridge import EventToSpanEventBridge
from otel_stream.sdk.logs.log_receiver import OTHER_LOGS, StreamLogProcessor
from otel_stream.sdk.logs.span_starts import SpanStartProcessor
from otel_stream.sdk.sampling.sampled_filter import SampledLogFilter
from otel_stream.sdk.sampling.samplers import (
    ForcedSampler,
    RateLimitingSampler,
    RecordOnlySampler,
    TraceStateSampler,
)
from otel_stream.sdk.sampling.tail import TailSamplingProcessor
from otel_stream.sdk.sampling.tail_policies import (
    KeepErrors,
    KeepInterrupted,
    KeepMatching,
    KeepRate,
    KeepRatio,
    KeepSlow,
    TailPolicy,
    TailTrace,
)
from otel_stream.sdk.sampling.tail_statistics import TailStatistics
from otel_stream.sdk.views import Product, ProductView

if TYPE_CHECKING:
    from otel_stream.sdk.export.exporters import (
        OtlpJsonFile,
        OtlpJsonLogExporter,
        OtlpJsonMetricExporter,
        OtlpJsonSpanExporter,
    )

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
    "SpanStartProcessor",
    "ConversationProcessor",
    "ConversationLogProcessor",
    "ProductView",
    "Product",
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


def __getattr__(name: str) -> Any:
    # They stand on OTLP's encoders, which not everybody with an SDK has.
    if name.startswith("OtlpJson") and name in __all__:
        with needing("otlp", f"otel_stream.sdk.{name}"):
            from otel_stream.sdk.export import exporters
        return getattr(exporters, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
