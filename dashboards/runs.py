"""Dashboard *Runs*: how many, how they end, how long they take, what waits for an answer."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board, links
from dashboards import queries as q
from dashboards.names import FAILED
from dashboards.panels import (
    HALF,
    Panel,
    buckets,
    heat,
    lines,
    listing,
    metric,
    now,
    number,
)
from dashboards.stores import Find, Stores
from dashboards.variables import text
from otel_stream import semconv
from otel_stream.events import End

_STARTED = q.rate(q.runs("_count", q.OF_GRAPH))
_FAILED = q.rate(q.runs("_count", (*q.OF_GRAPH, f'{q.L_END}=~"{FAILED}"')))
_BUCKETS = q.runs("_bucket", q.OF_GRAPH)
_FAILED_SHARE = {"orange": 0.01, "red": 0.05}
#: What is shown of runs.
_SHOWN = (semconv.GRAPH_RUN_END, semconv.ERROR_TYPE, semconv.GRAPH_RUN_ID)


def make(stores: Stores) -> Dashboard:
    """Return the dashboard."""
    slow = text(q.V_SLOW, "Slow from", "1s", "Runs that take this long are listed as slow.")
    return board.board(
        stores,
        "runs",
        "Graph runs",
        "Rate, errors and duration of the runs of each graph, how they end, and what waits for an answer.",
        [*board.variables(stores, q.V_ENVIRONMENT, q.V_SERVICE, q.V_GRAPH), *stores.variables(), slow],
        {
            "Now": _now(),
            "Rate, errors, duration": _red(),
            "Latency and size": _latency(),
            "Interrupts": _interrupts(),
            "Which runs": _which(stores),
            "Checkpoints": _checkpoints(),
        },
    )


def _now() -> list[Panel]:
    waiting = q.select(semconv.INTERRUPT_WAITING, q.OF_GRAPH)
    return [
        number("Runs", "Runs that end per second, whatever their end.", "reqps", metric(q.total(_STARTED))),
        number(
            "Failed",
            "Share of runs that end in an error, a timeout or at their recursion limit.",
            "percentunit",
            metric(q.ratio(q.total(_FAILED), q.total(_STARTED))),
            thresholds=_FAILED_SHARE,
        ),
        number(
            "95th percentile", "95 of 100 runs take less than this.", "s", metric(q.quantile(0.95, _BUCKETS))
        ),
        number(
            "Active", "Runs in progress.", "short", metric(q.total(q.select(semconv.RUN_ACTIVE, q.OF_GRAPH)))
        ),
        number("Waiting", "Interrupts that nobody has answered yet.", "short", metric(q.total(waiting))),
        number(
            "Oldest wait",
            "How long the oldest interrupt has waited.",
            "s",
            metric(q.total(q.select(semconv.INTERRUPT_AGE, q.OF_GRAPH), how="max")),
            thresholds={"orange": 3600, "red": 14400},
        ),
    ]


def _red() -> list[Panel]:
    started, failed = q.total(_STARTED, q.L_GRAPH), q.total(_FAILED, q.L_GRAPH)
    graph = f"{{{{{q.L_GRAPH}}}}}"
    errors = q.total(q.rate(q.select(semconv.RUN_ERRORS, q.OF_GRAPH)), q.L_GRAPH, q.L_ERROR)
    return [
        lines("Rate", "Runs that end per second, by graph.", "reqps", metric(started, graph)),
        lines(
            "Failed",
            "Share of runs that fail, by graph. Interrupted, cancelled and abandoned runs did not fail.",
            "percentunit",
            metric(q.ratio(failed, started), graph),
            thresholds=_FAILED_SHARE,
        ),
        lines(
            "Duration",
            "Half, 95 and 99 of 100 runs take less than this, by graph.",
            "s",
            *(
                metric(q.quantile(share, _BUCKETS, q.L_GRAPH), f"{graph} {share * 100:g} %", exemplars=True)
                for share in (0.5, 0.95, 0.99)
            ),
        ),
        lines(
            "Ends",
            "How runs end, per second.",
            "reqps",
            metric(q.total(_STARTED, q.L_END), f"{{{{{q.L_END}}}}}"),
            stacked=True,
        ),
        lines(
            "Errors",
            "What runs fail of, per second: the class of the exception, or how they ended.",
            "reqps",
            metric(errors, f"{graph} {{{{{q.L_ERROR}}}}}"),
            stacked=True,
        ),
        lines(
            "Active",
            "Runs in progress, by graph.",
            "short",
            metric(q.total(q.select(semconv.RUN_ACTIVE, q.OF_GRAPH), q.L_GRAPH), graph),
        ),
    ]


def _latency() -> list[Panel]:
    steps = q.select(semconv.RUN_SUPERSTEPS, q.OF_GRAPH, "_bucket")
    step = q.select(semconv.SUPERSTEP_DURATION, q.OF_GRAPH, "_bucket")
    graph = f"{{{{{q.L_GRAPH}}}}}"
    return [
        heat(
            "Durations",
            "How many runs took how long. A point is an exemplar: one run, with a link to its trace.",
            "s",
            buckets(q.total(f"increase({_BUCKETS}[{q.RATE_INTERVAL}])", "le")),
        ),
        lines(
            "Supersteps per run",
            "Half and 95 of 100 runs take at most so many supersteps. Rises before a recursion limit is met.",
            "short",
            *(metric(q.quantile(s, steps, q.L_GRAPH), f"{graph} {s * 100:g} %") for s in (0.5, 0.95)),
            span=HALF // 2,
        ),
        lines(
            "Duration of supersteps",
            "Half and 95 of 100 supersteps take less than this, by graph.",
            "s",
            *(
                metric(q.quantile(s, step, q.L_GRAPH), f"{graph} {s * 100:g} %", exemplars=True)
                for s in (0.5, 0.95)
            ),
            span=HALF // 2,
        ),
    ]


def _interrupts() -> list[Panel]:
    graph = f"{{{{{q.L_GRAPH}}}}}"
    raised = q.rate(q.select(semconv.INTERRUPT_RAISED, q.OF_GRAPH))
    waiting = q.select(semconv.INTERRUPT_WAITING, q.OF_GRAPH)
    age = q.select(semconv.INTERRUPT_AGE, q.OF_GRAPH)
    answered = q.select(semconv.INTERRUPT_DURATION, q.OF_GRAPH, "_bucket")
    return [
        lines("Raised", "Interrupts per second.", "reqps", metric(q.total(raised, q.L_GRAPH), graph), span=6),
        lines(
            "Waiting",
            "Interrupts that nobody has answered yet, as far as the processes know that raised them.",
            "short",
            metric(q.total(waiting, q.L_GRAPH), graph),
            span=6,
        ),
        lines(
            "Oldest wait",
            "How long the oldest of them has waited.",
            "s",
            metric(q.total(age, q.L_GRAPH, how="max"), graph),
            span=6,
            thresholds={"orange": 3600, "red": 14400},
        ),
        lines(
            "Time to answer",
            "Half and 95 of 100 answers came within this.",
            "s",
            *(metric(q.quantile(s, answered, q.L_GRAPH), f"{graph} {s * 100:g} %") for s in (0.5, 0.95)),
            span=6,
        ),
    ]


def _which(stores: Stores) -> list[Panel]:
    interrupted = Find(
        end=End.INTERRUPTED.value, shown=(semconv.GEN_AI_CONVERSATION_ID, semconv.GRAPH_RUN_ID)
    )
    return [
        stores.runs(
            "Failing runs",
            "The newest runs that failed, from their traces. A trace id leads to the run.",
            Find(failed=True, shown=_SHOWN),
        ),
        stores.runs(
            "Slow runs",
            "Of the newest runs that took as long as you say above, the slowest first.",
            Find(slow=True, shown=_SHOWN),
            sorted_by="Duration",
        ),
        stores.runs("Interrupted runs", "The newest runs that stopped to wait for an answer.", interrupted),
        listing(
            "Graphs",
            "Runs per second and share that failed, by graph, at the end of the time range.",
            "short",
            now(q.total(_STARTED, q.L_GRAPH)),
            now(q.ratio(q.total(_FAILED, q.L_GRAPH), q.total(_STARTED, q.L_GRAPH))),
            now(q.quantile(0.95, _BUCKETS, q.L_GRAPH)),
            renamed={q.L_GRAPH: "graph", "Value #A": "runs/s", "Value #B": "failed", "Value #C": "95 % [s]"},
            links={"graph": links.to_graph(stores.name)},
            sorted_by="runs/s",
        ),
    ]


def _checkpoints() -> list[Panel]:
    graph = f"{{{{{q.L_GRAPH}}}}}"
    return [
        lines(
            title,
            description,
            unit,
            *(
                metric(
                    q.quantile(s, q.select(of, q.OF_GRAPH, "_bucket"), q.L_GRAPH), f"{graph} {s * 100:g} %"
                )
                for s in (0.5, 0.95)
            ),
            span=HALF,
        )
        for title, description, unit, of in (
            ("Time to store", "Half and 95 of 100 checkpoints took less.", "s", semconv.CHECKPOINT_DURATION),
            ("Size", "Half and 95 of 100 checkpoints were smaller.", "bytes", semconv.CHECKPOINT_SIZE),
        )
    ]
