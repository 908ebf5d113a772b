"""What exporters delivered and lost, as metrics; asked for at collection, so that it costs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_stream import semconv
from otel_stream.sdk.configure.handle import Handle
from otel_stream.sdk.export.accounting import Counts

#: ``Handle.counts()`` calls them by what is exported.
_SIGNALS: Final = {"spans": "traces", "logs": "logs", "metrics": "metrics"}


def show_exports(meter: Meter, handle: Handle) -> None:
    """Make instruments of what ``handle`` knows of its exporters."""

    def observe(read: Callable[[Counts], int]) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def callback(_: CallbackOptions) -> Iterator[Observation]:
            for name, counts in handle.counts().items():
                yield Observation(read(counts), {semconv.OTEL_STREAM_SIGNAL: _SIGNALS[name]})

        return callback

    name, unit, description, _ = semconv.EXPORT_EXPORTED
    meter.create_observable_counter(name, [observe(lambda counts: counts.exported)], unit, description)
    name, unit, description, _ = semconv.EXPORT_LOST
    meter.create_observable_counter(name, [observe(lambda counts: counts.lost)], unit, description)
    name, unit, description, _ = semconv.EXPORT_QUEUE
    meter.create_observable_gauge(name, [observe(lambda counts: counts.waiting)], unit, description)
