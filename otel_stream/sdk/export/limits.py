"""How much waits for an exporter, from the variables that the OpenTelemetry specification names.

Source: *OpenTelemetry Environment Variable Specification*, "Batch Span Processor" and "Batch
LogRecord Processor", with the defaults given there, but for the queue's: 2,048 items are less than what
a run whose steps are wide leaves in a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_stream.telemetry.variables import whole_number

#: Longest request unless told otherwise, in bytes before compression. Receivers of gRPC take 4 MiB by
#: default, and many gateways before HTTP no more.
MAX_REQUEST: Final = 3_500 * 1024
#: What a fan-out of 10,000 needs, with its joins.
DEFAULT_QUEUE: Final = 32_768
#: Bytes of long bodies that may wait beside.
DEFAULT_BYTES: Final = 64 * 1024 * 1024


class BatchLimits(NamedTuple):
    """Items that may wait, items of one export, and seconds until an incomplete batch is exported.

    ``bytes``: the sum of the long bodies among what waits; ``seconds``: how long an export may take.
    """

    queue: int = DEFAULT_QUEUE
    batch: int = 512
    delay: float = 5.0
    bytes: int = DEFAULT_BYTES
    seconds: float = 30.0


def batch_limits(prefix: str, environ: Mapping[str, str], delay_millis: int) -> BatchLimits:
    """Read ``OTEL_BSP_*`` or ``OTEL_BLRP_*``; what is no whole number of 1 or more is told and ignored."""
    queue = whole_number(environ, f"{prefix}_MAX_QUEUE_SIZE", DEFAULT_QUEUE)
    batch = whole_number(environ, f"{prefix}_MAX_EXPORT_BATCH_SIZE", 512)
    delay = whole_number(environ, f"{prefix}_SCHEDULE_DELAY", delay_millis, least=0)
    seconds = whole_number(environ, f"{prefix}_EXPORT_TIMEOUT", 30_000)
    # A batch that the queue can't hold would never be complete; a worker that never waits would spin.
    return BatchLimits(queue, min(batch, queue), max(delay, 1) / 1000, seconds=seconds / 1000)
