"""Dashboard *Run explorer*: one run; its trace, its log events and its state side by side."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board
from dashboards import queries as q
from dashboards.panels import HEIGHT, Panel
from dashboards.stores import Find, Stores
from dashboards.variables import text
from otel_stream import semconv


def make(stores: Stores) -> Dashboard:
    """Return the dashboard."""
    conversation = text(q.V_CONVERSATION, "Conversation", "", "Whose runs are listed: a thread's id.")
    trace_id = text(q.V_TRACE, "Trace id", "", "The trace of the run; each table of runs leads here.")
    return board.board(
        stores,
        "explorer",
        "Run explorer",
        "One run, by its trace id: trace, graph, log events and state side by side, and its conversation.",
        [*board.variables(stores), *stores.variables(), conversation, trace_id],
        {
            "The conversation": _conversation(stores),
            "The trace": [
                stores.trace("Trace", "The spans of the run; its log events are linked from them.")
            ],
            "What happened": _events(stores),
            "The graph that was executed": _graph(stores),
        },
        since="now-6h",
    )


def _conversation(stores: Stores) -> list[Panel]:
    shown = (semconv.GRAPH_RUN_END, semconv.GRAPH_RUN_TOKENS, semconv.GRAPH_RUN_COST)
    return [
        stores.runs(
            "Runs of the conversation",
            "Each leads to its trace below; empty until a conversation is typed in above.",
            Find(of_conversation=True, shown=shown),
        )
    ]


def _events(stores: Stores) -> list[Panel]:
    return [
        stores.events(
            "Log events",
            "All of them in order: what was decided, streamed, raised. Empty without a logs pipeline.",
        ),
        stores.events(
            "State",
            "What each task wrote, and the state after each superstep: whole, or what changed.",
            semconv.EVENT_BY_MODE["updates"],
            semconv.EVENT_BY_MODE["values"],
        ),
    ]


def _graph(stores: Stores) -> list[Panel]:
    resumed = Find(resumed=True, shown=(semconv.GRAPH_RUN_END, semconv.GRAPH_RESUME_INTERRUPT_IDS))
    return [
        stores.graph(
            "Executed graph",
            "Run, supersteps, tasks and attempts as a graph; its rims show where the time went.",
        ),
        stores.spans(
            "Tasks",
            "Each task with its superstep; a node appears as often as it ran.",
            "task",
            semconv.GRAPH_SUPERSTEP,
            semconv.GRAPH_TASK_ATTEMPTS,
            semconv.GRAPH_TASK_END,
            semconv.ERROR_TYPE,
            height=2 * HEIGHT,
        ),
        stores.spans(
            "The run",
            "How it ended, and what it went on from.",
            "run",
            semconv.GRAPH_RUN_END,
            semconv.GRAPH_RUN_ID,
            semconv.GEN_AI_CONVERSATION_ID,
            semconv.GRAPH_RESUME_TRACE_ID,
        ),
        stores.runs(
            "Runs that went on from it",
            "Those that answered its interrupts; empty if it was not interrupted, or nobody answered.",
            resumed,
        ),
    ]
