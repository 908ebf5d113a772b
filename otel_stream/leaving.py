"""What has to be done before the process ends: runs in progress end first, then their telemetry leaves.

An engine says how its runs are ended (``before_leaving``); whoever is about to end the process, on
SIGTERM or at exit, has it done (``leave``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from otel_stream.trouble import placed

_logger = logging.getLogger("otel_stream")

#: Ends runs in progress and waits for it, for the seconds that it is given at most.
EndRuns = Callable[[float], object]

_calls: list[EndRuns] = []


class ProcessEndsError(RuntimeError):
    """The run was cancelled because its process, or its telemetry, is about to end."""

    def __init__(self) -> None:
        super().__init__(
            "the run was cancelled, since its process is about to end, or its telemetry was shut down"
        )


def before_leaving(call: EndRuns) -> None:
    """Have ``call`` made before telemetry is shut down for good, once; in any thread."""
    _calls.append(call)


def leave(seconds: float) -> None:
    """End the runs in progress. Never raises."""
    for call in tuple(_calls):
        try:
            call(seconds)
        except Exception as error:  # noqa: BLE001 - the process ends, whatever an engine makes of it
            _logger.warning("Runs in progress could not be ended: %s", placed(error))
