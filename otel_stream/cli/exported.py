"""Where a run's telemetry goes, and what became of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_stream.cli.options import UsageError

if TYPE_CHECKING:
    from otel_stream.sdk import Counts, Handle

#: What one calls the things that are exported: (one, several).
_NAMES = {
    "spans": ("span", "spans"),
    "logs": ("log event", "log events"),
    "metrics": ("metric point", "metric points"),
}


def start(name: str, path: str) -> Handle | None:
    """Configure OpenTelemetry by the environment, or with a file of OTLP JSON lines at ``path``.

    Without a path it is None where the environment names no place for telemetry either.

    Raises:
        UsageError: the file cannot be written, or a variable of the environment makes no sense.
    """
    if not path and not any(_names_a_place(variable) for variable in os.environ):
        return None
    try:
        from otel_stream.sdk import configure

        return configure(name, path=path or None)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"--telemetry: {path!r} cannot be written ({reason}); give a file in a folder that can"
        ) from None
    except (ValueError, ModuleNotFoundError) as error:
        raise UsageError(str(error)) from None


def _names_a_place(variable: str) -> bool:
    exporter = variable.startswith("OTEL_") and variable.endswith(("_EXPORTER", "_CONFIG_FILE"))
    return exporter or variable.startswith("OTEL_EXPORTER_OTLP_")


def describe(handle: Handle | None) -> list[str]:
    """Return sentences about what was exported, what was lost, and where it went."""
    if handle is None:
        return []
    if not handle.owned:
        return [f"No telemetry was exported: {handle.reason}"]
    counts = handle.counts()
    lines = [f"Exported {_numbers(counts, 'exported')} to {handle.destination}"]
    if any(count.lost for count in counts.values()):
        lines.append(
            f"LOST {_numbers(counts, 'lost')}: {handle.destination} did not take them. "
            "The run itself is not affected; `otel-stream doctor` looks for the reason."
        )
    return lines


def _numbers(counts: dict[str, Counts], what: str) -> str:
    words: list[str] = []
    for name, count in counts.items():
        number: int = getattr(count, what)
        one, several = _NAMES.get(name, (name, name))
        words.append(f"{number:,} {one if number == 1 else several}")
    return ", ".join(words)
