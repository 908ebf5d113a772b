"""Metrics that the Collector has: about itself, and those it makes of spans under ``gateway.yaml``.

Names as the Collector gives them (0.145), with unit and instrument; Prometheus' are derived in ``names``.
"""

from __future__ import annotations

from typing import Final

from dashboards.names import prometheus

_SIGNALS: Final = ("spans", "metric_points", "log_records")


def _by_signal(name: str) -> tuple[str, ...]:
    return tuple(prometheus(f"otelcol_{name}_{signal}", "", "counter") for signal in _SIGNALS)


# Of receivers: one series per receiver and transport.
ACCEPTED: Final = _by_signal("receiver_accepted")
REFUSED: Final = _by_signal("receiver_refused")
# Of exporters: one series per exporter. What found the queue full is there from its first time on.
SENT: Final = _by_signal("exporter_sent")
SEND_FAILED: Final = _by_signal("exporter_send_failed")
ENQUEUE_FAILED: Final = _by_signal("exporter_enqueue_failed")
QUEUE_SIZE: Final = prometheus("otelcol_exporter_queue_size", "{batches}", "gauge")
QUEUE_CAPACITY: Final = prometheus("otelcol_exporter_queue_capacity", "{batches}", "gauge")
# Of processors.
FILTERED: Final = prometheus("otelcol_processor_filter_logs.filtered", "{log}", "counter")
_TAIL: Final = "otelcol_processor_tail_sampling"
TAIL_BY_POLICY: Final = prometheus(f"{_TAIL}_count_traces_sampled", "{traces}", "counter")
TAIL_DECIDED: Final = prometheus(f"{_TAIL}_global_count_traces_sampled", "{traces}", "counter")
TAIL_HELD: Final = prometheus(f"{_TAIL}_sampling_traces_on_memory", "{traces}", "gauge")
# There is also ``..._sampling_trace_dropped_too_early``. In 0.145 it counts most of the traces that are
# decided on early because their root has come, so it says nothing: compare what came in with decisions.
TAIL_RECEIVED: Final = prometheus(f"{_TAIL}_new_trace_id_received", "{traces}", "counter")
# Of the process.
MEMORY: Final = prometheus("otelcol_process_memory_rss", "By", "gauge")
UPTIME: Final = prometheus("otelcol_process_uptime", "s", "counter")
# Of the connector that measures spans, before any of them is sampled away.
SPAN_CALLS: Final = prometheus("traces.span.metrics.calls", "", "counter")
SPAN_DURATION: Final = prometheus("traces.span.metrics.duration", "s", "histogram")

#: Every series above, for the tests: what a query names is ours, or it is one of these.
SERIES: Final = frozenset(
    (
        *ACCEPTED,
        *REFUSED,
        *SENT,
        *SEND_FAILED,
        *ENQUEUE_FAILED,
        QUEUE_SIZE,
        QUEUE_CAPACITY,
        FILTERED,
        TAIL_BY_POLICY,
        TAIL_DECIDED,
        TAIL_HELD,
        TAIL_RECEIVED,
        MEMORY,
        UPTIME,
        SPAN_CALLS,
        *(f"{SPAN_DURATION}_{suffix}" for suffix in ("bucket", "count", "sum")),
    )
)

#: Labels of those series.
RECEIVER: Final = "receiver"
EXPORTER: Final = "exporter"
DATA_TYPE: Final = "data_type"
POLICY: Final = "policy"
DECISION: Final = "decision"
SAMPLED: Final = "sampled"
SPAN_NAME: Final = "span_name"
STATUS_CODE: Final = "status_code"
FILTER: Final = "filter"
INSTANCE: Final = "service_instance_id"
LABELS: Final = frozenset(
    (RECEIVER, EXPORTER, DATA_TYPE, POLICY, DECISION, SAMPLED, SPAN_NAME, STATUS_CODE, FILTER, INSTANCE)
)
