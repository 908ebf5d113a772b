"""Recording and alert rules for Prometheus; ``docs/runbooks.md`` has a section for each alert."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from dashboards import collector as c
from dashboards import queries as q
from dashboards.names import FAILED, series
from otel_stream import semconv
from otel_stream.semconv import Metric

#: Over what rules take their rates.
WINDOW: Final = "5m"
#: Where the runbooks are; override ``annotations.runbook_url`` if you vendor the rules.
RUNBOOKS: Final = "docs/runbooks.md"

_BY_SERVICE: Final = (q.L_ENVIRONMENT, q.L_SERVICE)
_BY_GRAPH: Final = (*_BY_SERVICE, q.L_GRAPH)
_BY_NODE: Final = (*_BY_GRAPH, q.L_NODE)


class Recording(NamedTuple):
    """A series that Prometheus computes in advance: ``level:what:how``, as is its custom."""

    record: str
    expr: str


class Alert(NamedTuple):
    """An alert: ``expr`` is measured, and compared with ``limit``."""

    name: str
    expr: str
    #: Operator and threshold; empty if the expression itself says it.
    limit: str
    #: How long it must be so.
    patience: str
    severity: str
    summary: str
    description: str

    @property
    def condition(self) -> str:
        """What Prometheus evaluates."""
        return f"{self.expr} {self.limit}".strip()


def _rate(of: Metric, suffix: str = "") -> str:
    return q.rate(q.select(of, (), suffix), WINDOW)


def _share(part: str, whole: str) -> str:
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


_RUNS: Final = q.total(q.rate(q.runs("_count"), WINDOW), *_BY_GRAPH)
_FAILED_RUNS: Final = q.total(q.rate(q.runs("_count", (f'{q.L_END}=~"{FAILED}"',)), WINDOW), *_BY_GRAPH)
#: Of runs, how many may fail: one in a hundred. What is left of that is their error budget.
BUDGET: Final = 0.01


def _failed_over(window: str) -> Recording:
    """Return the share of runs that failed over ``window``, which objectives are measured by."""
    every = q.total(q.rate(q.runs("_count"), window), *_BY_GRAPH)
    bad = q.total(q.rate(q.runs("_count", (f'{q.L_END}=~"{FAILED}"',)), window), *_BY_GRAPH)
    return Recording(f"graph:runs_failed:ratio{window}", _share(bad, every))


def _burns(factor: float, long: str, short: str) -> str:
    """Tell that the budget is used up ``factor`` times as fast as it may be, for long and still now."""
    over, limit = "graph:runs_failed:ratio", f"{factor * BUDGET:g}"
    return f"{over}{long} > {limit} and {over}{short} > {limit}"


_BY_MODEL: Final = (*_BY_SERVICE, q.L_PROVIDER, q.L_MODEL)
_CALLS: Final = q.total(q.rate(q.either(lambda names: names.call_duration, "_count"), WINDOW), *_BY_MODEL)
_FAILED_CALLS: Final = q.total(
    q.rate(q.either(lambda names: names.call_duration, "_count", (f'{q.L_ERROR}!=""',)), WINDOW), *_BY_MODEL
)


def _tokens(window: str, *by: str) -> str:
    kinds = (
        q.either(lambda names: names.token_usage, "_sum"),
        q.either(lambda names: names.input_tokens),
        q.either(lambda names: names.output_tokens),
    )
    return q.added_up(kinds, *by, window=window)


CALLS_FAILED: Final = Recording("model:calls_failed:ratio5m", _share(_FAILED_CALLS, _CALLS))
FIRST_CHUNK_P95: Final = Recording(
    "model:time_to_first_chunk_seconds:p95_5m",
    q.quantile(0.95, q.either(lambda names: names.time_to_first_chunk, "_bucket"), *_BY_MODEL, window=WINDOW),
)
TOKENS_NOW: Final = Recording("graph:tokens:rate15m", _tokens("15m", *_BY_GRAPH))
COST: Final = Recording(
    "graph:cost_usd_per_hour:rate1h",
    f"3600 * {q.total(q.rate(q.select(semconv.CALL_COST), '1h'), *_BY_GRAPH)}",
)
OBJECTIVES: Final = tuple(_failed_over(window) for window in ("30m", "1h", "6h"))

_TASKS: Final = q.total(_rate(semconv.NODE_DURATION, "_count"), *_BY_NODE)
_OFFERED: Final = q.total(_rate(semconv.STREAM_OFFERED), *_BY_GRAPH)

RUNS_RATE: Final = Recording("graph:runs:rate5m", _RUNS)
RUNS_FAILED: Final = Recording("graph:runs_failed:ratio5m", _share(_FAILED_RUNS, _RUNS))
RUNS_P95: Final = Recording(
    "graph:run_duration_seconds:p95_5m", q.quantile(0.95, q.runs("_bucket"), *_BY_GRAPH, window=WINDOW)
)
NODES_FAILED: Final = Recording(
    "node:tasks_failed:ratio5m", _share(q.total(_rate(semconv.NODE_ERRORS), *_BY_NODE), _TASKS)
)
NODES_RETRIED: Final = Recording(
    "node:retries:ratio5m", _share(q.total(_rate(semconv.NODE_RETRIES), *_BY_NODE), _TASKS)
)
NODES_P95: Final = Recording(
    "node:duration_seconds:p95_5m",
    q.quantile(0.95, q.select(semconv.NODE_DURATION, (), "_bucket"), *_BY_NODE, window=WINDOW),
)
PARTS_DROPPED: Final = Recording(
    "graph:stream_dropped:ratio5m", _share(q.total(_rate(semconv.STREAM_DROPPED), *_BY_GRAPH), _OFFERED)
)
QUEUES: Final = Recording(
    "exporter:otelcol_queue:ratio",
    q.total(f"{c.QUEUE_SIZE} / {c.QUEUE_CAPACITY}", c.INSTANCE, c.EXPORTER, c.DATA_TYPE, how="max"),
)

RECORDINGS: Final = (
    RUNS_RATE,
    RUNS_FAILED,
    RUNS_P95,
    NODES_FAILED,
    NODES_RETRIED,
    NODES_P95,
    PARTS_DROPPED,
    QUEUES,
    *OBJECTIVES,
    CALLS_FAILED,
    FIRST_CHUNK_P95,
    TOKENS_NOW,
    COST,
)


def _label(name: str) -> str:
    return f"{{{{ $labels.{name} }}}}"


_MODEL: Final = f"{_label(q.L_MODEL)} of {_label(q.L_PROVIDER)}, called by {_label(q.L_SERVICE)},"
_GRAPH: Final = f"graph {_label(q.L_GRAPH)} of {_label(q.L_SERVICE)}"
_NODE: Final = f"node {_label(q.L_NODE)} of {_GRAPH}"
_PERCENT: Final = "{{ $value | humanizePercentage }}"
_SECONDS: Final = "{{ $value | humanizeDuration }}"
_NUMBER: Final = "{{ $value | humanize }}"


_LOST: Final = q.total(f"increase({series(semconv.EXPORT_LOST)}[{WINDOW}])", *_BY_SERVICE)
_ACTIVE: Final = series(semconv.RUN_ACTIVE)
_GONE: Final = (
    f"{q.total(f'max_over_time({_ACTIVE}[1h])', *_BY_SERVICE, how='count')} "
    f"unless {q.total(_ACTIVE, *_BY_SERVICE, how='count')}"
)

ALERTS: Final = (
    Alert(
        "OtelStreamRunsFail",
        RUNS_FAILED.record,
        "> 0.05",
        "10m",
        "critical",
        f"Runs of {_GRAPH} fail",
        f"{_PERCENT} of the runs failed.",
    ),
    Alert(
        "OtelStreamRunsBurnBudget",
        _burns(14.4, "1h", "5m"),
        "",
        "2m",
        "critical",
        f"Runs of {_GRAPH} use up their error budget",
        f"{_PERCENT} failed within an hour: at this rate a month's budget lasts two days.",
    ),
    Alert(
        "OtelStreamRunsEatBudget",
        _burns(6, "6h", "30m"),
        "",
        "15m",
        "warning",
        f"Runs of {_GRAPH} eat their error budget",
        f"{_PERCENT} failed within six hours: at this rate a month's budget lasts five days.",
    ),
    Alert(
        "OtelStreamCostHigh",
        COST.record,
        "> 50",
        "15m",
        "warning",
        f"Calls of models by {_GRAPH} cost more than planned",
        "{{ $value | humanize }} US dollars per hour.",
    ),
    Alert(
        "OtelStreamTokensSpike",
        # The average of what was recorded: a service that is young has no six hours.
        f"{TOKENS_NOW.record} / (avg_over_time({TOKENS_NOW.record}[6h]) > 10)",
        "> 5",
        "10m",
        "warning",
        f"{_GRAPH} spends many more tokens than usual",
        f"{_NUMBER} times as many as in the last six hours.",
    ),
    Alert(
        "OtelStreamProviderFails",
        CALLS_FAILED.record,
        "> 0.1",
        "10m",
        "critical",
        f"Calls of {_MODEL} fail",
        f"{_PERCENT} of the calls failed, after the client's own retries.",
    ),
    Alert(
        "OtelStreamFirstChunkLate",
        FIRST_CHUNK_P95.record,
        "> 10",
        "15m",
        "warning",
        f"Answers of {_MODEL} begin late",
        f"5 of 100 streams begin after more than {_SECONDS}.",
    ),
    Alert(
        "OtelStreamRunsSlow",
        RUNS_P95.record,
        "> 60",
        "15m",
        "warning",
        f"Runs of {_GRAPH} are slow",
        f"5 of 100 runs take longer than {_SECONDS}.",
    ),
    Alert(
        "OtelStreamNodeFails",
        NODES_FAILED.record,
        "> 0.1",
        "10m",
        "warning",
        f"Tasks of {_NODE} fail",
        f"{_PERCENT} of its tasks failed, after all attempts.",
    ),
    Alert(
        "OtelStreamRetryStorm",
        NODES_RETRIED.record,
        "> 0.5",
        "10m",
        "warning",
        f"The {_NODE} is tried again and again",
        f"{_NUMBER} retries for each task.",
    ),
    Alert(
        "OtelStreamInterruptsStuck",
        q.total(series(semconv.INTERRUPT_AGE), *_BY_GRAPH, how="max"),
        "> 14400",
        "5m",
        "warning",
        f"Nobody answers an interrupt of {_GRAPH}",
        f"The oldest has waited for {_SECONDS}.",
    ),
    Alert(
        "OtelStreamPartsDropped",
        PARTS_DROPPED.record,
        "> 0.01",
        "5m",
        "warning",
        f"Receivers of {_GRAPH} drop stream parts",
        f"{_PERCENT} of the parts offered were dropped.",
    ),
    Alert(
        "OtelStreamReceiverLags",
        q.total(series(semconv.STREAM_LAG), *_BY_GRAPH, how="max"),
        "> 30",
        "5m",
        "warning",
        f"A receiver of {_GRAPH} lags",
        f"A stream part has waited for {_SECONDS}.",
    ),
    Alert(
        "OtelStreamExportLoses",
        _LOST,
        "> 0",
        "5m",
        "critical",
        f"Telemetry of {_label(q.L_SERVICE)} is lost before it leaves the process",
        f"{_NUMBER} spans, log events or metric points in {WINDOW}.",
    ),
    Alert(
        "OtelStreamNoData",
        _GONE,
        "",
        "5m",
        "warning",
        f"The service {_label(q.L_SERVICE)} reports nothing any more",
        "It did within the last hour.",
    ),
    Alert(
        "OtelStreamCollectorQueueFills",
        QUEUES.record,
        "> 0.8",
        "5m",
        "warning",
        f"The queue of {_label(c.EXPORTER)} ({_label(c.DATA_TYPE)}) is nearly full",
        f"It holds {_PERCENT} of what it can.",
    ),
    Alert(
        "OtelStreamCollectorRefuses",
        q.added_up(c.REFUSED, c.INSTANCE, window=WINDOW),
        "> 0",
        "5m",
        "critical",
        f"The Collector {_label(c.INSTANCE)} refuses data",
        f"{_NUMBER} items per second, because its memory is short.",
    ),
    Alert(
        "OtelStreamCollectorCannotSend",
        q.added_up((*c.SEND_FAILED, *c.ENQUEUE_FAILED), c.INSTANCE, c.EXPORTER, window=WINDOW),
        "> 0",
        "5m",
        "critical",
        f"The Collector {_label(c.INSTANCE)} loses data on the way to {_label(c.EXPORTER)}",
        f"{_NUMBER} items per second, after all attempts or because its queue is full.",
    ),
    Alert(
        "OtelStreamTracesForgotten",
        f"1 - {q.total(q.rate(c.TAIL_DECIDED, '15m'), c.INSTANCE)} "
        f"/ {q.total(q.rate(c.TAIL_RECEIVED, '15m'), c.INSTANCE)}",
        "> 0.05",
        "15m",
        "warning",
        f"The gateway {_label(c.INSTANCE)} forgets traces before it decides about them",
        f"{_PERCENT} of the traces that came in were never decided about.",
    ),
    Alert(
        "OtelStreamCollectorGone",
        f"absent({c.UPTIME})",
        "",
        "5m",
        "critical",
        "No Collector reports anything",
        "Its own metrics do not arrive, so nothing else may, either.",
    ),
)


def recording_rules() -> dict[str, Any]:
    """Return the file of recording rules."""
    rules = [{"record": rule.record, "expr": rule.expr} for rule in RECORDINGS]
    return {"groups": [{"name": "otel-stream", "rules": rules}]}


def alert_rules() -> dict[str, Any]:
    """Return the file of alert rules."""
    return {"groups": [{"name": "otel-stream-alerts", "rules": [_rule(alert) for alert in ALERTS]}]}


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.condition,
        "for": alert.patience,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{RUNBOOKS}#{alert.name.lower()}",
        },
    }
