"""Live streams and OpenTelemetry for graph runs, from one source.

This package is light: importing it loads neither OpenTelemetry's SDK nor an exporter; ``configure`` does,
when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stream.aggregate import Aggregate
from otel_stream.config import MODES, ConfigError, Custom, OverflowPolicy, StreamConfig, StreamMode
from otel_stream.filters import StreamFilter
from otel_stream.parts import AggregateOf, StreamPart
from otel_stream.stream.receiver import ReceiverOverflowError, StreamDeadlockError, StreamReceiver
from otel_stream.stream.statistics import ReceiverStatistics

if TYPE_CHECKING:
    from otel_stream.sdk import configure

__all__ = [
    "MODES",
    "Aggregate",
    "AggregateOf",
    "ConfigError",
    "Custom",
    "OverflowPolicy",
    "ReceiverOverflowError",
    "ReceiverStatistics",
    "StreamConfig",
    "StreamDeadlockError",
    "StreamFilter",
    "StreamMode",
    "StreamPart",
    "StreamReceiver",
    "configure",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "configure":
        from otel_stream.sdk import configure

        return configure
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
