"""Dashboard *Pipeline health*: does telemetry get out of the processes, and through the Collector?"""

from __future__ import annotations

from collections.abc import Iterable

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board
from dashboards import collector as c
from dashboards import queries as q
from dashboards.names import label
from dashboards.panels import Panel, lines, metric, number
from dashboards.stores import Stores
from otel_stream import semconv
from otel_stream.semconv import Metric

_SIGNAL = label(semconv.OTEL_STREAM_SIGNAL)
_DECISION = label(semconv.OTEL_STREAM_SAMPLING_DECISION)
_POLICY = label(semconv.OTEL_STREAM_SAMPLING_POLICY)
#: What the parts of a Collector's counters are called.
_SIGNALS = ("spans", "metric points", "log events")


def _rate(of: Metric) -> str:
    return q.rate(q.select(of, q.OF_SERVICE))


def make(stores: Stores) -> Dashboard:
    """Return the dashboard."""
    return board.board(
        stores,
        "pipeline",
        "Telemetry pipeline",
        "What gets out of the processes and through the Collector, what waits there, and what is lost.",
        board.variables(stores, q.V_ENVIRONMENT, q.V_SERVICE),
        {
            "Now": _now(),
            "Out of the process": _export(),
            "Tail sampling in the process": _tail(),
            "Through the Collector": _collector(),
            "The Collector's queues": _queues(),
            "Tail sampling in the gateway": _gateway(),
        },
    )


def _now() -> list[Panel]:
    lost, exported = q.total(_rate(semconv.EXPORT_LOST)), q.total(_rate(semconv.EXPORT_EXPORTED))
    bad = {"red": 0.000001}
    return [
        number(
            "Exported",
            "Spans, log events and metric points per second that left the processes.",
            "cps",
            metric(exported),
        ),
        number(
            "Lost",
            "Spans, log events and metric points per second that did not.",
            "cps",
            metric(lost),
            thresholds=bad,
        ),
        number(
            "Refused",
            "Items per second that the Collector's memory limit refused.",
            "cps",
            metric(q.added_up(c.REFUSED)),
            thresholds=bad,
        ),
        number(
            "Not sent",
            "Items per second that the Collector failed to send.",
            "cps",
            metric(q.added_up(c.SEND_FAILED)),
            thresholds=bad,
        ),
        number(
            "Fullest queue",
            "How full the fullest queue of the Collector is.",
            "percentunit",
            metric(q.total(f"{c.QUEUE_SIZE} / {c.QUEUE_CAPACITY}", how="max")),
            thresholds={"orange": 0.5, "red": 0.8},
        ),
        number("Collectors", "Collectors that report.", "short", metric(q.total(c.UPTIME, how="count"))),
    ]


def _export() -> list[Panel]:
    signal = f"{{{{{_SIGNAL}}}}}"
    exported, lost = (
        q.total(_rate(semconv.EXPORT_EXPORTED), _SIGNAL),
        q.total(_rate(semconv.EXPORT_LOST), _SIGNAL),
    )
    whole = f"(({exported} or 0 * {lost}) + ({lost} or 0 * {exported}))"
    why = q.total(_rate(semconv.EXPORT_LOST), q.L_SERVICE, _SIGNAL, q.L_ERROR)
    return [
        lines("Exported", "Delivered by exporters, per second.", "cps", metric(exported, signal), span=6),
        lines(
            "Lost",
            "Could not be delivered, or found the queue full, per second, and why.",
            "cps",
            metric(why, f"{{{{{q.L_SERVICE}}}}} {signal} {{{{{q.L_ERROR}}}}}"),
            span=6,
            stacked=True,
        ),
        lines(
            "Lost share",
            "Of what should have been exported.",
            "percentunit",
            metric(q.ratio(lost, whole), signal),
            span=6,
            thresholds={"red": 0.001},
            most=1,
        ),
        lines(
            "Queue",
            "Waits for its exporter, in the process whose queue is the longest.",
            "short",
            metric(q.total(q.select(semconv.EXPORT_QUEUE, q.OF_SERVICE), _SIGNAL, how="max"), signal),
            span=6,
        ),
    ]


def _tail() -> list[Panel]:
    decided = q.total(_rate(semconv.TAIL_SAMPLING_TRACES), _DECISION, _POLICY)
    decision = f"{{{{{_DECISION}}}}}"
    waiting = q.select(semconv.TAIL_SAMPLING_WAITING, q.OF_SERVICE)
    items = q.total(_rate(semconv.TAIL_SAMPLING_ITEMS), _SIGNAL, _DECISION)
    late = q.total(_rate(semconv.TAIL_SAMPLING_LATE), _DECISION)
    broken = q.total(q.select(semconv.TAIL_SAMPLING_POLICY_FAILURES, q.OF_SERVICE), _POLICY)
    nothing = f"0 * {q.total(waiting)}"
    return [
        lines(
            "Decisions",
            "Traces per second that were kept or dropped, and by which policy.",
            "cps",
            metric(decided, f"{decision} {{{{{_POLICY}}}}}"),
            span=6,
            stacked=True,
        ),
        lines(
            "Items",
            "Spans and log events per second that were handed on or dropped.",
            "cps",
            metric(items, f"{{{{{_SIGNAL}}}}} {decision}"),
            span=6,
            stacked=True,
        ),
        lines(
            "Waiting",
            "Traces that wait for a decision.",
            "short",
            metric(q.total(waiting, q.L_SERVICE)),
            span=6,
        ),
        lines(
            "Late, and broken policies",
            "Items per second that came after the decision; policies that raised and are not asked again.",
            "short",
            metric(f"{late} or {nothing}", f"late {decision}"),
            metric(f"{broken} or {nothing}", f"broken {{{{{_POLICY}}}}}"),
            span=6,
        ),
    ]


def _by_signal(names: Iterable[str], by: str) -> list[object]:
    return [
        metric(q.total(q.rate(name), by), f"{{{{{by}}}}} {signal}")
        for name, signal in zip(names, _SIGNALS, strict=True)
    ]


def _collector() -> list[Panel]:
    full = [
        metric(
            f"{q.total(q.rate(queue), c.EXPORTER)} or 0 * {q.total(q.rate(sent), c.EXPORTER)}",
            f"{{{{{c.EXPORTER}}}}} {signal}",
        )
        for queue, sent, signal in zip(c.ENQUEUE_FAILED, c.SENT, _SIGNALS, strict=True)
    ]
    return [
        lines(
            "Accepted",
            "Items per second that came in, by receiver.",
            "cps",
            *_by_signal(c.ACCEPTED, c.RECEIVER),
        ),
        lines(
            "Refused",
            "Items per second that were sent back because memory was short; senders try again.",
            "cps",
            *_by_signal(c.REFUSED, c.RECEIVER),
            thresholds={"red": 0.000001},
        ),
        lines("Sent", "Items per second that went out, by exporter.", "cps", *_by_signal(c.SENT, c.EXPORTER)),
        lines(
            "Failed",
            "Items per second that could not be sent after all attempts: lost.",
            "cps",
            *_by_signal(c.SEND_FAILED, c.EXPORTER),
            thresholds={"red": 0.000001},
        ),
        lines(
            "Queue full",
            "Items per second that found an exporter's queue full: lost, unless the sender tries again.",
            "cps",
            *full,
            thresholds={"red": 0.000001},
        ),
        lines(
            "Log events left out",
            "Log events per second that the share of the gateway left out, on purpose.",
            "cps",
            metric(q.total(q.rate(c.FILTERED), c.FILTER), f"{{{{{c.FILTER}}}}}"),
        ),
    ]


def _queues() -> list[Panel]:
    exporter = f"{{{{{c.EXPORTER}}}}} {{{{{c.DATA_TYPE}}}}}"
    return [
        lines(
            "How full",
            "Of what each exporter's queue can take. At 100 % items are lost.",
            "percentunit",
            metric(
                q.total(f"{c.QUEUE_SIZE} / {c.QUEUE_CAPACITY}", c.EXPORTER, c.DATA_TYPE, how="max"), exporter
            ),
            thresholds={"orange": 0.5, "red": 0.8},
            most=1,
        ),
        lines(
            "Length",
            "Batches that wait, by exporter.",
            "short",
            metric(q.total(c.QUEUE_SIZE, c.EXPORTER, c.DATA_TYPE), exporter),
        ),
        lines(
            "Memory",
            "What each Collector occupies; its memory limit refuses data before this gets dangerous.",
            "bytes",
            metric(q.total(c.MEMORY, c.INSTANCE), f"{{{{{c.INSTANCE}}}}}"),
        ),
    ]


def _gateway() -> list[Panel]:
    return [
        lines(
            "Decisions",
            "Traces per second that were sampled, or not.",
            "cps",
            metric(q.total(q.rate(c.TAIL_DECIDED), c.DECISION), f"{{{{{c.DECISION}}}}}"),
            span=6,
            stacked=True,
        ),
        lines(
            "By policy",
            "Traces per second that each policy would have sampled.",
            "cps",
            metric(
                q.total(q.rate(q.select(c.TAIL_BY_POLICY, (f'{c.SAMPLED}="true"',))), c.POLICY),
                f"{{{{{c.POLICY}}}}}",
            ),
            span=6,
        ),
        lines(
            "Traces held",
            "Traces in memory; the gateway forgets the oldest when there are too many.",
            "short",
            metric(q.total(c.TAIL_HELD, c.INSTANCE), f"{{{{{c.INSTANCE}}}}}"),
            span=6,
        ),
        lines(
            "Forgotten",
            "Traces that were never decided about since the gateway started, because it held too many: lost.",
            "short",
            metric(
                f"{q.total(c.TAIL_RECEIVED, c.INSTANCE)} - {q.total(c.TAIL_DECIDED, c.INSTANCE)}"
                f" - {q.total(c.TAIL_HELD, c.INSTANCE)}",
                f"{{{{{c.INSTANCE}}}}}",
            ),
            span=6,
            thresholds={"red": 1},
        ),
    ]
