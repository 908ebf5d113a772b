"""The rows, in the order of the table. A case is imported only by the process that measures it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.case import Case


class Telemetry(StrEnum):
    """What OpenTelemetry is set up to do in the process of a row; it can be set up once per process."""

    OFF = "off"
    SAMPLED = "sampled"
    UNSAMPLED = "unsampled"


@dataclass(frozen=True, slots=True)
class Row:
    """Where the case of one row is made, and what its process has to be like."""

    name: str
    module: str
    function: str
    telemetry: Telemetry = Telemetry.OFF

    def make(self) -> Case:
        """Import the case and build it; call it in the row's own process only."""
        case: Case = getattr(importlib.import_module(f"benchmarks.cases.{self.module}"), self.function)()
        return case


ROWS: tuple[Row, ...] = (
    Row("async-superstep", "superstep", "asynchronous"),
    Row("sync-superstep", "superstep", "synchronous"),
    Row("run", "per_run", "bare"),
    Row("run-traced", "per_run", "traced", Telemetry.SAMPLED),
    Row("all-modes", "modes", "open_stream"),
    Row("all-modes-astream", "modes", "astream"),
    Row("traced", "traced", "sampled", Telemetry.SAMPLED),
    Row("traced-sdk", "traced", "beside_the_sdk", Telemetry.SAMPLED),
    Row("unsampled", "traced", "unsampled", Telemetry.UNSAMPLED),
    Row("adapter-idle", "adapter", "idle"),
    Row("adapter-traced", "adapter", "traced", Telemetry.SAMPLED),
    Row("adapter-receiver", "adapter", "received", Telemetry.SAMPLED),
    Row("adapter-unsampled", "adapter", "unsampled", Telemetry.UNSAMPLED),
    Row("custom-part", "custom", "custom_part"),
    Row("receivers-1", "receivers", "receivers_1"),
    Row("receivers-4", "receivers", "receivers_4"),
    Row("receivers-16", "receivers", "receivers_16"),
    Row("receivers-64", "receivers", "receivers_64"),
    Row("filtered", "receivers", "filtered"),
    Row("sampled", "receivers", "sampled"),
    Row("aggregated", "receivers", "aggregated"),
    Row("messages", "messages", "chunks"),
    Row("messages-joined", "messages", "joined"),
    Row("volume-block", "volume", "blocking"),
    Row("volume-drop", "volume", "dropping"),
    Row("volume-first", "volume", "first_part"),
    Row("runs-1000", "concurrent", "supersteps"),
    Row("runs-memory", "concurrent", "memory"),
    Row("latency-await", "latency", "awaiting_median"),
    Row("latency-await-p99", "latency", "awaiting_p99"),
    Row("latency-busy", "latency", "busy_median"),
    Row("latency-busy-p99", "latency", "busy_p99"),
    Row("fan-out", "fan_out", "fan_out"),
    Row("checkpointed", "checkpointed", "checkpointed"),
)
