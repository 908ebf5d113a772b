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
    #: Rows that follow each other with the same share a process, since it takes long to set up.
    group: str = ""
    #: Its function makes several rows, and is told which.
    is_told: bool = False
    #: It takes so long that a quick run is without it.
    is_long: bool = False

    def make(self) -> Case:
        """Import the case and build it; call it in the row's own process only."""
        make = getattr(importlib.import_module(f"benchmarks.cases.{self.module}"), self.function)
        case: Case = make(self.name) if self.is_told else make()
        return case


#: The sizes of the graphs' inputs, as LangGraph names them.
_WIDE = ("25x300", "15x600", "9x1200")
_FAMILIES = {
    "fanout_to_subgraph": ("10x", "100x"),
    "react_agent": ("10x", "100x"),
    "wide_state": _WIDE,
    "wide_dict": _WIDE,
    "pydantic_state": _WIDE,
}
#: The 28 graphs: each with and without checkpoints, but for the last two.
NAMES = (
    *(
        f"{family}_{size}{kept}"
        for family, sizes in _FAMILIES.items()
        for size in sizes
        for kept in ("", "_checkpoint")
    ),
    *("sequential_10", "sequential_1000"),
)
#: What begins the names of rows of LangGraph's own graphs: async, sync, and async with all telemetry.
ASYNC, SYNC, TRACED = "graph-", "graph-sync-", "graph-traced-"
CHAT = "chat-"


def _of_langgraph(prefix: str, function: str, telemetry: Telemetry = Telemetry.OFF) -> tuple[Row, ...]:
    return tuple(
        Row(
            prefix + name,
            "graphs",
            function,
            telemetry,
            group=prefix,
            is_told=True,
            is_long=name != "sequential_10",
        )
        for name in NAMES
    )


ROWS: tuple[Row, ...] = (
    Row("async-superstep", "superstep", "asynchronous"),
    Row("threaded-superstep", "superstep", "threaded"),
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
    Row("model-traced", "models", "told", Telemetry.SAMPLED),
    Row("model-exported", "models", "joined", Telemetry.SAMPLED),
    Row("model-messages", "models", "shown"),
    Row("client-traced", "models", "of_client", Telemetry.SAMPLED),
    Row("client-messages", "models", "of_client_shown"),
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
    Row("compile", "compiling", "chain"),
    *(Row(f"{CHAT}{n}", "chat", "chat", group=CHAT, is_told=True) for n in (20, 100, 500, 2_000, 10_000)),
    *_of_langgraph(ASYNC, "asynchronous"),
    *_of_langgraph(SYNC, "synchronous"),
    *_of_langgraph(TRACED, "traced", Telemetry.SAMPLED),
)
