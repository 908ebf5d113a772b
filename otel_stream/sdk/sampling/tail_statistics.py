"""The account of a tail sampler, and the metrics that show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_stream import semconv
from otel_stream.telemetry.run import version

#: What metrics call the policy of a trace that no policy kept, by what made its decision due.
_WITHOUT: Final = {"complete": "none", "timeout": "timeout", "full": "overflow", "flush": "flush"}
#: The policy of traces that are kept because every policy is broken.
NONE_LEFT: Final = "none_left"


class TailStatistics(msgspec.Struct, frozen=True):
    """Numbers since the processor was made; in a forked child, since the fork.

    Items are spans and log records together: all that came in are
    ``spans_kept + spans_dropped + logs_kept + logs_dropped + held``.
    """

    #: Decisions to keep a trace, by the name of the policy that came first.
    kept: dict[str, int]
    #: Decisions to drop one.
    dropped: int
    #: All decisions, by what made them due: ``complete`` (the local root ended), ``timeout``, ``full``
    #: or ``flush``.
    causes: dict[str, int]
    spans_kept: int
    spans_dropped: int
    logs_kept: int
    logs_dropped: int
    #: Items among those that came after the decision, and followed it.
    late: int
    #: Items that wait for their decision, and the number of their traces.
    held: int
    traces: int
    #: Policies that raised, by name; they are not asked again.
    broken: dict[str, int]
    #: Times the next processor raised.
    failures: int


class Account:
    """The numbers themselves; whoever changes them holds the buffer's lock."""

    def __init__(self) -> None:
        #: (policy or None, cause) -> decisions.
        self.decisions: Counter[tuple[str | None, str]] = Counter()
        #: (signal, kept) -> items; and the late ones among them.
        self.items: Counter[tuple[str, bool]] = Counter()
        self.late: Counter[tuple[str, bool]] = Counter()
        self.broken: Counter[str] = Counter()

    def passed(self, spans: int, logs: int, *, kept: bool, late: bool = False) -> None:
        """Count items that were handed on, or dropped."""
        for counter in (self.items, self.late) if late else (self.items,):
            counter["traces", kept] += spans
            counter["logs", kept] += logs

    def statistics(self, held: int, traces: int, failures: int) -> TailStatistics:
        """Return the numbers of this moment."""
        kept: Counter[str] = Counter()
        causes: Counter[str] = Counter()
        for (policy, cause), number in self.decisions.items():
            causes[cause] += number
            if policy is not None:
                kept[policy] += number
        return TailStatistics(
            kept=dict(kept),
            dropped=causes.total() - kept.total(),
            causes=dict(causes),
            spans_kept=self.items["traces", True],
            spans_dropped=self.items["traces", False],
            logs_kept=self.items["logs", True],
            logs_dropped=self.items["logs", False],
            late=self.late.total(),
            held=held,
            traces=traces,
            broken=dict(self.broken),
            failures=failures,
        )


Read = Callable[[CallbackOptions], Iterable[Observation]]


def show(account: Callable[[], Account], traces: Callable[[], int], provider: MeterProvider | None) -> None:
    """Make the instruments: they read the account when they are collected, so deciding costs no more."""

    def decisions(_: CallbackOptions) -> Iterable[Observation]:
        for (policy, cause), number in account().decisions.copy().items():
            about = {
                semconv.OTEL_STREAM_SAMPLING_DECISION: _decision(policy is not None),
                semconv.OTEL_STREAM_SAMPLING_POLICY: policy or _WITHOUT[cause],
            }
            yield Observation(number, about)

    def items(_: CallbackOptions) -> Iterable[Observation]:
        return _by_signal(account().items)

    def late(_: CallbackOptions) -> Iterable[Observation]:
        return _by_signal(account().late)

    def broken(_: CallbackOptions) -> Iterable[Observation]:
        for policy, number in account().broken.copy().items():
            yield Observation(number, {semconv.OTEL_STREAM_SAMPLING_POLICY: policy})

    def waiting(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(traces())

    meter = metrics.get_meter(semconv.SCOPE, version(), provider, semconv.SCHEMA_URL)
    counters: tuple[tuple[semconv.Metric, Read], ...] = (
        (semconv.TAIL_SAMPLING_TRACES, decisions),
        (semconv.TAIL_SAMPLING_ITEMS, items),
        (semconv.TAIL_SAMPLING_LATE, late),
        (semconv.TAIL_SAMPLING_POLICY_FAILURES, broken),
    )
    for metric, read in counters:
        meter.create_observable_counter(metric.name, [read], metric.unit, metric.description)
    metric = semconv.TAIL_SAMPLING_WAITING
    meter.create_observable_up_down_counter(metric.name, [waiting], metric.unit, metric.description)


def _by_signal(counter: Counter[tuple[str, bool]]) -> Iterable[Observation]:
    for (signal, kept), number in counter.copy().items():
        about = {
            semconv.OTEL_STREAM_SIGNAL: signal,
            semconv.OTEL_STREAM_SAMPLING_DECISION: _decision(kept),
        }
        yield Observation(number, about)


def _decision(kept: bool) -> str:
    return "keep" if kept else "drop"
