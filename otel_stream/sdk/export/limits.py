"""How much waits for an exporter, from the variables that the OpenTelemetry specification names.

Source: *OpenTelemetry Environment Variable Specification*, "Batch Span Processor" and "Batch
LogRecord Processor", with the defaults given there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class BatchLimits(NamedTuple):
    """Items that may wait, items of one export, and seconds until an incomplete batch is exported."""

    queue: int = 2048
    batch: int = 512
    delay: float = 5.0


def batch_limits(prefix: str, environ: Mapping[str, str], delay_millis: int) -> BatchLimits:
    """Read ``OTEL_BSP_*`` or ``OTEL_BLRP_*``.

    Raises:
        ValueError: a variable is no whole number of 1 or more.
    """
    queue = _number(environ, f"{prefix}_MAX_QUEUE_SIZE", 2048)
    batch = _number(environ, f"{prefix}_MAX_EXPORT_BATCH_SIZE", 512)
    delay = _number(environ, f"{prefix}_SCHEDULE_DELAY", delay_millis)
    # A batch that the queue can't hold would never be complete.
    return BatchLimits(queue, min(batch, queue), delay / 1000)


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    given = environ.get(name, "").strip()
    if not given:
        return default
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"{name}={given!r} is no number to work with: give a whole number, 1 or more.")
    return int(given)
