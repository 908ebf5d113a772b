"""What was exported, told again: stream parts and states from log events.

from otel_stream.replay import replay

for run in replay("telemetry.otlp.jsonl").runs:
    for part in run.parts: ...
    print(run.problems())
"""

from __future__ import annotations

from otel_stream.replay.read import ReplayError, Source, read
from otel_stream.replay.rebuild import Hole, Replay, ReplayedRun, rebuild
from otel_stream.replay.states import State

__all__ = ["Hole", "Replay", "ReplayError", "ReplayedRun", "Source", "State", "replay"]


def replay(source: Source) -> Replay:
    """Rebuild the stream parts and the states of every run that ``source`` has log events of.

    Args:
        source: the path of a file of OTLP JSON lines, by our exporter or a Collector's, or of Loki's
            answer to a ``query_range``; or such a document, or lines of it, in any order.

    Raises:
        ReplayError: there is nothing in it to replay; says what was found instead.
        OSError: the file cannot be read.
    """
    found = read(source)
    return rebuild(found.records, found.damaged)
