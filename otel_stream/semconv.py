"""Every span, log event, attribute and metric name that leaves the process.

A leaf: plain constants, importable by anyone. What OpenTelemetry's GenAI conventions name is
taken from there (``gen_ai.*``); what they do not know, such as supersteps, tasks and stream
parts, is ``graph.*``. The one place where their names moved between versions is
:class:`GenAINames`, chosen by :func:`genai_names`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: Instrumentation scope of everything that is emitted here.
SCOPE: Final = "otel_stream"

# -- spans: the name, or its first word; all of kind INTERNAL ---------------------------------

#: ``invoke_workflow {graph}``: one run of a graph.
SPAN_RUN: Final = "invoke_workflow"
#: All tasks of one superstep.
SPAN_SUPERSTEP: Final = "superstep"
#: ``invoke_node {node}``: one task, with all its attempts.
SPAN_NODE: Final = "invoke_node"
#: One attempt of a node that has a retry policy.
SPAN_ATTEMPT: Final = "attempt"

# -- attributes -------------------------------------------------------------------------------

#: string. ``invoke_workflow`` or ``invoke_node``.
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
#: string. Name of the graph, in GenAI conventions before 0.1.0.
GEN_AI_WORKFLOW_NAME: Final = "gen_ai.workflow.name"
#: string. Name of the graph, in GenAI conventions since 0.1.0.
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
#: string. The thread that a run belongs to.
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
#: string. Name of the node; still a proposal to the GenAI conventions.
GEN_AI_NODE_NAME: Final = "gen_ai.node.name"
#: string. Class of the exception, ``module.QualifiedName``, or how the run ended if there is none.
ERROR_TYPE: Final = "error.type"

#: string. Name of the graph; on metrics and log events.
GRAPH_NAME: Final = "graph.name"
#: string. Identity of the root run; subgraphs bear it, too.
GRAPH_RUN_ID: Final = "graph.run.id"
#: string[]. Tags given to the run.
GRAPH_RUN_TAGS: Final = "graph.run.tags"
#: boolean, present if true. The run goes on from a checkpoint.
GRAPH_RUN_RESUMED: Final = "graph.run.resumed"
#: string. How the run ended: a value of ``otel_stream.events.End``.
GRAPH_RUN_END: Final = "graph.run.end"
#: string. Path of a subgraph, ``node:task id`` joined by ``|``; absent at the root.
GRAPH_NS: Final = "graph.ns"
#: int. Number of the superstep; what comes before the first belongs to the input.
GRAPH_SUPERSTEP: Final = "graph.superstep"
#: int. How many tasks ran side by side.
GRAPH_SUPERSTEP_WIDTH: Final = "graph.superstep.width"
#: string. How the superstep ended; absent if it ended well.
GRAPH_SUPERSTEP_END: Final = "graph.superstep.end"
#: string. Identity of the task; the same when the run is resumed.
GRAPH_TASK_ID: Final = "graph.task.id"
#: string. How the task ended; absent if it ended well.
GRAPH_TASK_END: Final = "graph.task.end"
#: boolean, present if true. The task's writes came from the cache.
GRAPH_TASK_CACHED: Final = "graph.task.cached"
#: int. Number of the attempt, from 1.
GRAPH_TASK_ATTEMPT: Final = "graph.task.attempt"
#: int. Place of the part in its root run, without gaps.
GRAPH_STREAM_SEQ: Final = "graph.stream.seq"
#: string. Stream mode, where the event's name does not say it.
GRAPH_STREAM_MODE: Final = "graph.stream.mode"
#: int, present if the body was cut. Its length before, in bytes of UTF-8.
GRAPH_STREAM_BODY_SIZE: Final = "graph.stream.body.size"

# -- log events -------------------------------------------------------------------------------

#: Log event of every built-in stream mode.
EVENT_BY_MODE: Final[dict[str, str]] = {
    "values": "graph.values",
    "updates": "graph.updates",
    "messages": "graph.messages",
    "custom": "graph.custom",
    "tasks": "graph.tasks",
    "checkpoints": "graph.checkpoints",
    "debug": "graph.debug",
}
#: Log event of all modes that a program defined itself: event names are few and known beforehand,
#: the mode is in ``graph.stream.mode``.
EVENT_CUSTOM_MODE: Final = "graph.custom_mode"

# -- metrics ----------------------------------------------------------------------------------


class Metric(NamedTuple):
    """Name, unit (UCUM), description and, for a histogram, bucket boundaries of an instrument."""

    name: str
    unit: str
    description: str
    boundaries: tuple[float, ...] = ()


#: Whole runs take from milliseconds (a pipeline) to hours (an agent that waits for its tools).
_RUN_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
#: Steps of 2.5 at most from 1 ms (plain Python) to 5 minutes (a slow model).
_STEP_SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    120,
    300,
)

SUPERSTEP_DURATION: Final = Metric(
    "graph.superstep.duration", "s", "Duration of a superstep, from its plan to its writes.", _STEP_SECONDS
)
NODE_DURATION: Final = Metric(
    "graph.node.duration", "s", "Duration of one task of a node, all its attempts included.", _STEP_SECONDS
)
NODE_RETRIES: Final = Metric(
    "graph.node.retries", "{retry}", "Attempts of nodes that failed and were repeated."
)
RUN_ACTIVE: Final = Metric("graph.run.active", "{run}", "Runs in progress.")
STREAM_OFFERED: Final = Metric("graph.stream.parts.offered", "{part}", "Stream parts offered to receivers.")
STREAM_DROPPED: Final = Metric(
    "graph.stream.parts.dropped", "{part}", "Stream parts that a receiver's full buffer did not take."
)
CHECKPOINT_DURATION: Final = Metric(
    "graph.checkpoint.duration", "s", "Time a checkpointer took to store a checkpoint.", _STEP_SECONDS
)


class GenAINames(NamedTuple):
    """Names that differ between versions of the GenAI conventions."""

    #: Attribute that holds the name of the graph.
    graph_attribute: str
    run_duration: Metric


_BEFORE_0_1_0: Final = GenAINames(
    GEN_AI_WORKFLOW_NAME,
    Metric("gen_ai.invoke_workflow.duration", "s", "Duration of a run of a graph.", _RUN_SECONDS),
)
_SINCE_0_1_0: Final = GenAINames(
    GEN_AI_AGENT_NAME,
    Metric("gen_ai.invoke_agent.duration", "s", "Duration of a run of a graph.", _RUN_SECONDS),
)


def genai_names(opt_in: str) -> GenAINames:
    """Choose the names by the value of ``OTEL_SEMCONV_STABILITY_OPT_IN``, a comma-separated list.

    ``gen_ai_latest_experimental`` in it means the newest names known here, 0.1.0.
    """
    chosen = {word.strip() for word in opt_in.split(",")}
    return _SINCE_0_1_0 if "gen_ai_latest_experimental" in chosen else _BEFORE_0_1_0
