"""Dashboard *Run explorer*: one run; its trace, its log events and its state side by side."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board
from dashboards import queries as q
from dashboards.names import label
from dashboards.panels import HEIGHT, Panel, found, listing, log_events, logged, node_graph, one_trace
from otel_stream import semconv

V_TRACE = "trace_id"
#: Tempo's search leaves out zeros at the front of a trace id, which other stores want.
_ID = f"0*${V_TRACE}"
_MINE = f'{{{q.L_SERVICE}=~".+"}} | trace_id=~"{_ID}"'


def make() -> Dashboard:
    """Return the dashboard."""
    trace_id = board.text(V_TRACE, "Trace id", "", "The trace of the run; each table of runs leads here.")
    return board.board(
        "explorer",
        "Run explorer",
        "One run, by its trace id: trace, graph, log events and state side by side.",
        [*board.variables(), trace_id],
        {
            "The trace": [
                one_trace(
                    "Trace", "The spans of the run; its log events are linked from them.", f"${V_TRACE}"
                )
            ],
            "What happened": _events(),
            "The graph that was executed": _graph(),
        },
        since="now-6h",
    )


def _events() -> list[Panel]:
    state = q.events(semconv.EVENT_BY_MODE["updates"], semconv.EVENT_BY_MODE["values"])
    step, node = label(semconv.GRAPH_SUPERSTEP), q.L_NODE
    shown = f"step {{{{.{step}}}}} {{{{.{node}}}}} {{{{.{q.L_EVENT}}}}}: {{{{__line__}}}}"
    return [
        log_events(
            "Log events",
            "All of them in order: what was decided, streamed, raised. Empty without a logs pipeline.",
            logged(f"{_MINE} | line_format `{shown}`"),
        ),
        log_events(
            "State",
            "What each task wrote, and the state after each superstep: whole, or what changed.",
            logged(f"{_MINE} {state} | line_format `{shown}`"),
        ),
    ]


def _graph() -> list[Panel]:
    mine = f'trace:id =~ "{_ID}"'
    answered = f'span.{semconv.GRAPH_RESUME_TRACE_ID} =~ "{_ID}"'
    return [
        node_graph(
            "Executed graph",
            "Run, supersteps, tasks and attempts as a graph; its rims show where the time went.",
            found(f"${V_TRACE}", by_span=False),
        ),
        listing(
            "Tasks",
            "Each task with its superstep; a node appears as often as it ran.",
            "ns",
            found(
                q.spans(
                    f"{mine} && span.{semconv.GEN_AI_NODE_NAME} != nil",
                    semconv.GRAPH_SUPERSTEP,
                    semconv.GRAPH_TASK_ATTEMPTS,
                    semconv.GRAPH_TASK_END,
                    semconv.ERROR_TYPE,
                )
            ),
            height=2 * HEIGHT,
        ),
        listing(
            "The run",
            "How it ended, and what it went on from.",
            "ns",
            found(
                q.spans(
                    f"{mine} && span.{semconv.GRAPH_RUN_END} != nil",
                    semconv.GRAPH_RUN_END,
                    semconv.GRAPH_RUN_ID,
                    semconv.GEN_AI_CONVERSATION_ID,
                    semconv.GRAPH_RESUME_TRACE_ID,
                )
            ),
        ),
        listing(
            "Runs that went on from it",
            "Those that answered its interrupts; empty if it was not interrupted, or nobody answered.",
            "ns",
            found(q.spans(answered, semconv.GRAPH_RUN_END, semconv.GRAPH_RESUME_INTERRUPT_IDS)),
            links=board.TO_RUN,
        ),
    ]
