"""The SDK's spans, log records and histograms at a fraction of its cost, for graph runs alone.

The SDK makes every span, record and measurement ready for whatever user code might do to it: locks,
bounded lists, mappings that clean each attribute, copies. A graph's telemetry is made by the thousand,
of a few attributes known to be clean, and hardly any is touched again before it is exported. So the
providers here are the SDK's own, except that the tracer, logger and meter they give to graph runs
(the scope ``otel_stream``) leave that preparation until somebody needs it.

All of it reaches behind the SDK's public surface, which differs from version to version. So it is
rehearsed before it is used: a span, a record, a measurement in both ways. Where a name is missing, or
what comes out differs, the SDK's own classes do the work. ADR 5 has the figures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

if TYPE_CHECKING:
    from otel_stream.sdk.lean.logs import LeanLoggerProvider
    from otel_stream.sdk.lean.metrics import LeanMeterProvider
    from otel_stream.sdk.lean.spans import LeanTracerProvider

__all__ = ["LeanLoggerProvider", "LeanMeterProvider", "LeanTracerProvider", "provider_kind"]

#: By the modules that know better, and what they rehearse.
_OWN: Final[dict[str, type]] = {
    "spans": TracerProvider,
    "logs": LoggerProvider,
    "metrics": MeterProvider,
}


def __getattr__(name: str) -> Any:
    for room, own in _OWN.items():
        if name == f"Lean{own.__name__}":
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def provider_kind(room: str) -> tuple[Any, str]:
    """Return the lean kind of provider of ``spans``, ``logs`` or ``metrics``, and nothing more to say.

    Or the SDK's own kind, and why it has to be that one.
    """
    own = _OWN[room]
    try:
        lean = __getattr__(f"Lean{own.__name__}")
        rehearse = getattr(import_module(f"{__name__}.rehearsal"), room)
        rehearse(own, lean)
    except Exception as error:  # noqa: BLE001 - a private name can be missing, or different, in any way
        return own, f"{type(error).__name__}: {error}"
    return lean, ""
