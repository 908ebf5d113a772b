"""Every span, log event, attribute and metric name that leaves the process.

Generated from ``semconv/registry`` by ``make semconv``: change it there. A leaf: plain constants,
importable by anyone. What OpenTelemetry's GenAI conventions name is taken from there (``gen_ai.*``);
what they do not know, such as supersteps, tasks and stream parts, is ``graph.*``; what is about the
export itself is ``otel_stream.*``. The one place where their names moved between versions is
:class:`GenAINames`, chosen by :func:`genai_names`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: Instrumentation scope of everything that is emitted here.
SCOPE: Final = "otel_stream"
#: Schema of the names below, as the registry's manifest has it.
SCHEMA_URL: Final = "https://otel-stream.example/schemas/0.1.0"

# -- spans: the name, or its first word -----------------------------------------------------------

#: ``chat {gen_ai.request.model}``: One call of a chat model in a node, until its answer is complete or left;
#: retries of the client included.
SPAN_CHAT: Final = "chat"
#: ``text_completion {gen_ai.request.model}``: The same of a model that completes text.
SPAN_TEXT_COMPLETION: Final = "text_completion"
#: ``embeddings {gen_ai.request.model}``: One call of a model that makes embeddings, by a client that was
#: given to `tell_calls`.
SPAN_EMBEDDINGS: Final = "embeddings"
#: ``execute_tool {gen_ai.tool.name}``: One call of a tool in a node; what the tool does is below it.
SPAN_EXECUTE_TOOL: Final = "execute_tool"
#: ``retrieval {gen_ai.data_source.id}``: One search of a retriever in a node; of kind INTERNAL, and named by
#: its operation alone, since 0.1.0.
SPAN_RETRIEVAL: Final = "retrieval"
#: ``invoke_workflow {graph.name}``: One run of a graph; root, or child of the caller's span. A subgraph's is
#: a child of its node.
SPAN_RUN: Final = "invoke_workflow"
#: ``invoke_agent {gen_ai.agent.name}``: One run of a graph that is an agent, as its metadata says; in every
#: other way that of a run.
SPAN_AGENT: Final = "invoke_agent"
#: ``superstep``: All tasks of one superstep; child of its run.
SPAN_SUPERSTEP: Final = "superstep"
#: ``invoke_node {gen_ai.node.name}``: One task, with all its attempts; child of its superstep. User spans
#: inside it are its children.
SPAN_NODE: Final = "invoke_node"
#: ``attempt``: One attempt of a node that has a retry policy; child of its task.
SPAN_ATTEMPT: Final = "attempt"

# -- attributes -----------------------------------------------------------------------------------

#: string. Class of the exception, qualified unless it is a builtin, or how it ended if there is none.
ERROR_TYPE: Final = "error.type"
#: string. Class of the exception, qualified unless it is a builtin.
EXCEPTION_TYPE: Final = "exception.type"
#: string. Text of the exception. Content, so absent unless content is captured; redacted, and capped.
EXCEPTION_MESSAGE: Final = "exception.message"
#: string. The traceback. It quotes the text of the exception, so it is content, too.
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
#: string. Written by the SDK on exceptions recorded as span events.
EXCEPTION_ESCAPED: Final = "exception.escaped"
#: string. The user, as the metadata of the run names one under `user.id` or `user_id`.
USER_ID: Final = "user.id"
#: string. The session, as the metadata of the run names one under `session.id` or `session_id`.
SESSION_ID: Final = "session.id"
#: template[string]. Values of the run's metadata, by their keys: `graph.run.metadata.tenant`.
GRAPH_RUN_METADATA: Final = "graph.run.metadata"
#: string. What the span or the measurement is about. One of invoke_workflow, invoke_node, invoke_agent, chat,
#: text_completion, embeddings, execute_tool, retrieval.
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
#: string. Name of the graph, in GenAI conventions before 0.1.0.
GEN_AI_WORKFLOW_NAME: Final = "gen_ai.workflow.name"
#: string. Name of the agent; of any graph, in GenAI conventions since 0.1.0.
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
#: string. The thread that the run belongs to, `thread_id` in LangGraph's words.
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
#: string. Name of the node; still a proposal to the GenAI conventions.
GEN_AI_NODE_NAME: Final = "gen_ai.node.name"
#: string. Who provides the model, by the convention's names where it has one.
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
#: string. The model that was asked for.
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
#: double. Temperature that was asked for.
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
#: double. Nucleus sampling that was asked for.
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
#: number. Top-k sampling that was asked for; a double before 0.1.0, an int since.
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
#: int. The most tokens that the model may write.
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
#: double. Frequency penalty that was asked for.
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
#: double. Presence penalty that was asked for.
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
#: string[]. Texts at which the model is to stop.
GEN_AI_REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
#: int. Seed that was asked for.
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
#: int. How many answers were asked for, if not 1.
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
#: boolean. Present if true. The answer came in chunks.
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
#: string. The kind of output that was asked for. One of text, json, image, speech.
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
#: string. How much the model is to think, in the provider's words, in conventions since 0.1.0.
GEN_AI_REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
#: string. The answer that the request goes on from, in conventions since 0.1.0.
GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
#: string[]. The forms in which embeddings were asked for.
GEN_AI_REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
#: int. How many numbers an embedding has.
GEN_AI_EMBEDDINGS_DIMENSION_COUNT: Final = "gen_ai.embeddings.dimension.count"
#: string. Which of OpenAI's interfaces was called. One of chat_completions, responses.
OPENAI_API_TYPE: Final = "openai.api.type"
#: string. The service tier that was asked for, if not `auto`.
OPENAI_REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
#: string. The service tier that answered.
OPENAI_RESPONSE_SERVICE_TIER: Final = "openai.response.service_tier"
#: string. The configuration of the service that answered.
OPENAI_RESPONSE_SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"
#: string. What the service calls the answer.
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
#: string. The model that answered.
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
#: string[]. Why the model stopped, one for each answer, in the provider's words.
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
#: double. Time from the request to the first chunk, in seconds.
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
#: int. Tokens that the model read, cached ones included; as the service counted them.
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
#: int. Tokens that the model wrote, reasoning included; as the service counted them.
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
#: int. Tokens among those read that came from the provider's cache.
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
#: int. Tokens among those read that were put into the provider's cache, in conventions before 0.1.0.
GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
#: int. Tokens among those read that were put into the provider's cache, in conventions since 0.1.0.
GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
#: int. Tokens among those written that are reasoning.
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
#: double. What the call cost in US dollars, by the price table that is installed; absent where that knows no
#: price.
GRAPH_CALL_COST: Final = "graph.call.cost"
#: string. Which tokens are counted, in conventions before 0.1.0. One of input, output.
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a count of words
#: string. What the tokens stand for, in conventions since 0.1.0. One of text, image, audio, unknown.
GEN_AI_TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105 - a count of words
#: string. Name of the tool.
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
#: string. What the model calls this call of the tool.
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
#: string. What the model is told of the tool; capped.
GEN_AI_TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
#: string. Kind of the tool. One of function, extension, datastore.
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
#: string. What the tool was called with, as JSON; content, redacted and capped.
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
#: string. What the tool returned, as JSON; content, redacted and capped.
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
#: any. Tools that the model was offered; content, JSON on spans and structured on log events.
GEN_AI_TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
#: any. Instructions that are given apart from the messages; content, JSON on spans.
GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
#: any. Messages that the model was given; content, JSON on spans and structured on log events.
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
#: any. Messages that the model answered with, one for each answer; content, as the input.
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
#: string. What is searched.
GEN_AI_DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
#: string. What is searched for; content.
GEN_AI_RETRIEVAL_QUERY_TEXT: Final = "gen_ai.retrieval.query.text"
#: any. Ids and scores of the documents that were found; content, JSON.
GEN_AI_RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
#: int. Present if not 0. How many texts of the messages were cut, or left out, for their length.
GRAPH_CONTENT_CUT: Final = "graph.content.cut"
#: string. Host of the service, where the client tells it.
SERVER_ADDRESS: Final = "server.address"
#: int. Port of the service.
SERVER_PORT: Final = "server.port"
#: string. Name of the graph; on metrics and log events.
GRAPH_NAME: Final = "graph.name"
#: string. Path of a subgraph, `node:task id` joined by `|`; absent at the root.
GRAPH_NS: Final = "graph.ns"
#: string. Identity of the root run; subgraphs bear it, too.
GRAPH_RUN_ID: Final = "graph.run.id"
#: int. Present if not 0. Tokens that the models which the root run called have read and written, as they say.
GRAPH_RUN_TOKENS: Final = "graph.run.tokens"
#: double. Present if not 0. What those of the run's calls whose price is known cost in US dollars.
GRAPH_RUN_COST: Final = "graph.run.cost"
#: int. Present if not 0. Stream parts that the receivers of this run alone which were there at its end had
#: lost.
GRAPH_RUN_DROPPED: Final = "graph.run.dropped"
#: string[]. Tags given to the run; redacted like content.
GRAPH_RUN_TAGS: Final = "graph.run.tags"
#: boolean. Present if true. The run goes on from a checkpoint.
GRAPH_RUN_RESUMED: Final = "graph.run.resumed"
#: string. How the run ended: a value of `otel_stream.events.End`. One of ok, interrupted, cancelled,
#: abandoned, drained, error, timeout, recursion_limit.
GRAPH_RUN_END: Final = "graph.run.end"
#: string. How the superstep ended; absent if it ended well. One of ok, interrupted, cancelled, abandoned,
#: drained, error, timeout, recursion_limit.
GRAPH_SUPERSTEP_END: Final = "graph.superstep.end"
#: string. How the task, or the attempt, ended; absent if it ended well. One of ok, interrupted, cancelled,
#: abandoned, drained, error, timeout, recursion_limit.
GRAPH_TASK_END: Final = "graph.task.end"
#: string[]. Ids of the interrupts that the run, or the task, waits for.
GRAPH_INTERRUPT_IDS: Final = "graph.interrupt.ids"
#: string[]. Ids of the interrupts that this run answers.
GRAPH_RESUME_INTERRUPT_IDS: Final = "graph.resume.interrupt.ids"
#: string. Identity of the root run that this run resumes.
GRAPH_RESUME_RUN_ID: Final = "graph.resume.run.id"
#: string. Trace of the run that this run resumes; 32 hexadecimal digits.
GRAPH_RESUME_TRACE_ID: Final = "graph.resume.trace.id"
#: string. Span of the run that this run resumes; 16 hexadecimal digits.
GRAPH_RESUME_SPAN_ID: Final = "graph.resume.span.id"
#: string. The checkpoint that the run went on from.
GRAPH_RESUME_CHECKPOINT_ID: Final = "graph.resume.checkpoint.id"
#: string. Which structure the graph has, in 32 hexadecimal digits; `graph.structure` tells it.
GRAPH_STRUCTURE_DIGEST: Final = "graph.structure.digest"
#: boolean. Present if true. Whoever started the run asked for its trace, whatever the sampler says.
GRAPH_SAMPLING_FORCE: Final = "graph.sampling.force"
#: int. Number of the superstep; what comes before the first belongs to the input.
GRAPH_SUPERSTEP: Final = "graph.superstep"
#: int. How many tasks ran side by side.
GRAPH_SUPERSTEP_WIDTH: Final = "graph.superstep.width"
#: int. Present if not 0. How many of them were so short that they are events of this span, not spans.
GRAPH_SUPERSTEP_FOLDED: Final = "graph.superstep.folded"
#: string. Identity of the task; the same when the run is resumed.
GRAPH_TASK_ID: Final = "graph.task.id"
#: boolean. Present if true. The task's writes came from the cache.
GRAPH_TASK_CACHED: Final = "graph.task.cached"
#: int. Number of the attempt, from 1.
GRAPH_TASK_ATTEMPT: Final = "graph.task.attempt"
#: int. Present if above 1. How many attempts the task took.
GRAPH_TASK_ATTEMPTS: Final = "graph.task.attempts"
#: double. Pause before the next attempt, in seconds; on attempts that are repeated.
GRAPH_TASK_RETRY_DELAY: Final = "graph.task.retry_delay"
#: double. Duration of a task that has no span of its own, in seconds.
GRAPH_TASK_DURATION: Final = "graph.task.duration"
#: string[]. Channels whose update scheduled the task, in the order of `graph.task.triggered_by`.
GRAPH_TASK_TRIGGERS: Final = "graph.task.triggers"
#: string[]. Ids of the tasks whose writes triggered this one; what links say where there is a span.
GRAPH_TASK_TRIGGERED_BY: Final = "graph.task.triggered_by"
#: string. Name of the conditional edge, or of the node whose Command decided.
GRAPH_ROUTE_SOURCE: Final = "graph.route.source"
#: string[]. Nodes that were chosen.
GRAPH_ROUTE_TARGETS: Final = "graph.route.targets"
#: string. Name of the node whose write triggered the other one.
GRAPH_EDGE_FROM: Final = "graph.edge.from"
#: string. Name of the node that was triggered.
GRAPH_EDGE_TO: Final = "graph.edge.to"
#: string. Why one span links to another. One of trigger, resume.
GRAPH_LINK_KIND: Final = "graph.link.kind"
#: string. The channel, or the edge, through which it triggered; one link for each.
GRAPH_LINK_CHANNEL: Final = "graph.link.channel"
#: string. Identity of a checkpoint; on a run's span the last one that it stored.
GRAPH_CHECKPOINT_ID: Final = "graph.checkpoint.id"
#: int. Place of the part in its root run, without gaps; of a joined part the last one in it.
GRAPH_STREAM_SEQ: Final = "graph.stream.seq"
#: string. Stream mode. The name of the event says it, too, but not every backend keeps that.
GRAPH_STREAM_MODE: Final = "graph.stream.mode"
#: int. Present if the body was cut. Its length before, in bytes of UTF-8.
GRAPH_STREAM_BODY_SIZE: Final = "graph.stream.body.size"
#: string. Present if the body was cut. SHA-256 of the whole body, 64 hexadecimal digits.
GRAPH_STREAM_BODY_SHA256: Final = "graph.stream.body.sha256"
#: string. Of a span event, if spans have content. The body that the log event has.
GRAPH_STREAM_PAYLOAD: Final = "graph.stream.payload"
#: string. Absent if the body is the whole payload as JSON. What it is instead. One of summary, cut, error.
GRAPH_STREAM_BODY_FORM: Final = "graph.stream.body.form"
#: int. Present on a joined part. How many parts it stands for.
GRAPH_STREAM_AGGREGATE_PARTS: Final = "graph.stream.aggregate.parts"
#: int. Present on a joined part. Place of the first part in it.
GRAPH_STREAM_AGGREGATE_FIRST_SEQ: Final = "graph.stream.aggregate.first_seq"
#: string. Identity of the message whose chunks were joined.
GRAPH_MESSAGE_ID: Final = "graph.message.id"
#: int. Present if not 0. How many values of the body, or of the span's attributes, were redacted.
GRAPH_REDACTION_COUNT: Final = "graph.redaction.count"
#: string. How the body of a values part is to be read. One of keyframe, delta.
GRAPH_VALUES_ENCODING: Final = "graph.values.encoding"
#: int. Of a delta. `graph.stream.seq` of the values part that it applies to.
GRAPH_VALUES_BASE_SEQ: Final = "graph.values.base_seq"
#: string. Digest of the complete state after this part, in hexadecimal digits.
GRAPH_VALUES_DIGEST: Final = "graph.values.digest"
#: int. Place of the log event among those of its root run, from 0, without gaps; a missing one is lost.
GRAPH_LOG_SEQ: Final = "graph.log.seq"
#: int. Present if the body is spread over several log events. Place of this piece, from 0.
GRAPH_STREAM_BODY_CHUNK: Final = "graph.stream.body.chunk"
#: int. Present if the body is spread over several log events. How many pieces there are.
GRAPH_STREAM_BODY_CHUNKS: Final = "graph.stream.body.chunks"
#: string[]. Of a keyframe. Keys whose value was changed in place since the last keyframe, so that the states
#: between are not to be trusted about them.
GRAPH_VALUES_DRIFT: Final = "graph.values.drift"
#: string. Present if the run waits. The interrupts, as JSON; content.
GRAPH_VALUES_INTERRUPTS: Final = "graph.values.interrupts"
#: int. Present on deltas that were put together on their way out. How many there are; the body is a row for
#: each.
GRAPH_VALUES_ROWS: Final = "graph.values.rows"
#: string. Present on deltas that were put together. CRC-32 of the body, 8 hexadecimal digits.
GRAPH_VALUES_ROWS_DIGEST: Final = "graph.values.rows_digest"
#: string. What the receiver does when its buffer is full. One of block, drop_oldest, drop_newest, coalesce,
#: error.
GRAPH_STREAM_POLICY: Final = "graph.stream.policy"
#: string. Why a part was dropped. One of drop_oldest, drop_newest, error, coalesced, failed, expired, closed.
GRAPH_STREAM_DROP_REASON: Final = "graph.stream.drop_reason"
#: string. What is exported. One of traces, logs, metrics.
OTEL_STREAM_SIGNAL: Final = "otel_stream.signal"
#: string. The instrumentation scope of a span that has begun.
OTEL_STREAM_SCOPE_NAME: Final = "otel_stream.scope.name"
#: string. What was decided about a trace. One of keep, drop.
OTEL_STREAM_SAMPLING_DECISION: Final = "otel_stream.sampling.decision"
#: string. What made the decision; a program's own policies bear names of their own. One of error, slow,
#: interrupted, attribute, ratio, overflow, timeout, rate_limit, flush, none, none_left.
OTEL_STREAM_SAMPLING_POLICY: Final = "otel_stream.sampling.policy"

# -- events ---------------------------------------------------------------------------------------

#: Log event of every built-in stream mode.
EVENT_BY_MODE: Final[dict[str, str]] = {
    "values": "graph.values",
    "updates": "graph.updates",
    "messages": "graph.messages",
    "custom": "graph.custom",
    "tasks": "graph.tasks",
    "checkpoints": "graph.checkpoints",
    "debug": "graph.debug",
    "tools": "graph.tools",
}
#: A call of a model with its content, structured; where content is captured on events.
EVENT_CALL_DETAILS: Final = "gen_ai.client.inference.operation.details"
#: What a call of a model failed of, in GenAI conventions before 0.1.0; where such calls are told as log
#: events.
EVENT_CALL_EXCEPTION_BEFORE: Final = "gen_ai.client.operation.exception"
#: What a call of a model failed of, in GenAI conventions since 0.1.0; where such calls are told as log
#: events.
EVENT_CALL_EXCEPTION_SINCE: Final = "gen_ai.client.inference.exception"
#: A run has begun, of a root or a subgraph; on its span.
EVENT_RUN_START: Final = "graph.run_start"
#: What a graph was declared to be; before the first run of it that a process tells of.
EVENT_STRUCTURE: Final = "graph.structure"
#: The run stops and waits, for answers to its interrupts or at a breakpoint.
EVENT_INTERRUPT: Final = "graph.interrupt"
#: A superstep has begun; on its span, and before those of its tasks.
EVENT_SUPERSTEP_START: Final = "graph.superstep_start"
#: A conditional edge or a Command chose where to go next; if `graph.route` is among the exported modes.
EVENT_ROUTE: Final = "graph.route"
#: A task shorter than the least duration of a span; on the span of its superstep.
EVENT_NODE: Final = "graph.node"
#: A task has begun; on its span, or on that of its superstep where its own may be folded.
EVENT_NODE_START: Final = "graph.node_start"
#: An exception that ended an attempt, or the run; a log event, on the span of what it ended.
EVENT_EXCEPTION: Final = "graph.exception"
#: The same as a span event, as it was before exceptions became log events.
EVENT_SPAN_EXCEPTION: Final = "exception"
#: A part of any mode that a program defined itself; event names are few and known beforehand.
EVENT_CUSTOM_MODE: Final = "graph.custom_mode"
#: The root run has ended; the last log event of it.
EVENT_RUN_END: Final = "graph.run_end"
#: A span that is none of ours has begun; on that span.
EVENT_SPAN_START: Final = "otel_stream.span_start"

# -- metrics --------------------------------------------------------------------------------------


class Metric(NamedTuple):
    """Name, unit (UCUM), description and, for a histogram, bucket boundaries of an instrument."""

    name: str
    unit: str
    description: str
    boundaries: tuple[float, ...] = ()


#: Whole runs take from milliseconds (a pipeline) to hours (an agent that waits for its tools).
_RUN_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
#: The convention's, from 10 ms to 82 s.
# fmt: off
_CALL_SECONDS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)
# fmt: on
#: The convention's, from a word to a library.
# fmt: off
_CALL_TOKENS: Final = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)
# fmt: on
#: The convention's, in powers of two.
_AGENT_CALLS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
#: From a single call to a loop that meets its recursion limit; 25 is LangGraph's old default.
_RUN_SUPERSTEPS: Final = (1, 2, 3, 5, 10, 25, 50, 100, 250, 500, 1000, 10000)
#: Answers come from programs (seconds) and from people (hours, days, after the holidays).
_WAITING_SECONDS: Final = (0.1, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 259200, 604800, 2592000)
#: Steps of 2.5 at most from 1 ms (plain Python) to 5 minutes (a slow model).
# fmt: off
_STEP_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
)
# fmt: on
#: A chain is 1 wide, a map over a collection as wide as it likes.
_POWERS_OF_TWO: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
#: From a counter to a long conversation with documents in it.
_BYTES: Final = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

EXECUTE_TOOL_DURATION: Final = Metric(
    "gen_ai.execute_tool.duration", "s", "Duration of a call of a tool.", _CALL_SECONDS
)
RETRIEVAL_DURATION: Final = Metric(
    "gen_ai.retrieval.duration", "s", "Duration of a search of a retriever.", _CALL_SECONDS
)
CALL_COST: Final = Metric(
    "graph.call.cost",
    "{usd}",
    "What calls of models cost in US dollars, where the price table that is installed knows the price.",
)
CALL_UNPRICED: Final = Metric(
    "graph.call.unpriced",
    "{call}",
    "Calls of models that have counted tokens and no known price, while a price table is installed.",
)
RUN_ACTIVE: Final = Metric("graph.run.active", "{run}", "Runs in progress.")
RUN_SUPERSTEPS: Final = Metric(
    "graph.run.supersteps", "{superstep}", "Supersteps that a run took.", _RUN_SUPERSTEPS
)
RUN_ERRORS: Final = Metric("graph.run.errors", "{error}", "Runs that failed.")
INTERRUPT_RAISED: Final = Metric(
    "graph.interrupt.raised", "{interrupt}", "Interrupts that runs have ended at, breakpoints included."
)
INTERRUPT_WAITING: Final = Metric(
    "graph.interrupt.waiting", "{interrupt}", "Interrupts of this process that nobody has answered yet."
)
INTERRUPT_AGE: Final = Metric(
    "graph.interrupt.age", "s", "How long the oldest of the interrupts that wait has waited."
)
INTERRUPT_DURATION: Final = Metric(
    "graph.interrupt.duration", "s", "Time from an interrupt to its answer.", _WAITING_SECONDS
)
SUPERSTEP_DURATION: Final = Metric(
    "graph.superstep.duration", "s", "Duration of a superstep, from its plan to its writes.", _STEP_SECONDS
)
SUPERSTEP_TASKS: Final = Metric(
    "graph.superstep.tasks",
    "{task}",
    "Tasks that a superstep runs side by side, its fan-out; of supersteps with more than one.",
    _POWERS_OF_TWO,
)
NODE_DURATION: Final = Metric(
    "graph.node.duration", "s", "Duration of one task of a node, all its attempts included.", _STEP_SECONDS
)
ATTEMPT_DURATION: Final = Metric(
    "graph.attempt.duration", "s", "Duration of one attempt of a node that has a retry policy.", _STEP_SECONDS
)
NODE_RETRIES: Final = Metric(
    "graph.node.retries", "{retry}", "Attempts of nodes that failed and were repeated."
)
NODE_ERRORS: Final = Metric("graph.node.errors", "{error}", "Tasks of nodes that failed for good.")
EDGE_COUNT: Final = Metric(
    "graph.edge.count",
    "{edge}",
    "Edges that were taken, one for each task and node whose write triggered it; the input triggers by none.",
)
NODE_ACTIVE: Final = Metric("graph.node.active", "{task}", "Tasks in progress.")
CHECKPOINT_DURATION: Final = Metric(
    "graph.checkpoint.duration", "s", "Time a checkpointer took to store a checkpoint.", _STEP_SECONDS
)
CHECKPOINT_SIZE: Final = Metric(
    "graph.checkpoint.size", "By", "Size of a stored checkpoint, as its checkpointer serialised it.", _BYTES
)
STREAM_OFFERED: Final = Metric("graph.stream.parts.offered", "{part}", "Stream parts offered to receivers.")
STREAM_DELIVERED: Final = Metric(
    "graph.stream.parts.delivered", "{part}", "Stream parts that receivers' consumers took."
)
STREAM_DROPPED: Final = Metric("graph.stream.parts.dropped", "{part}", "Stream parts that a receiver lost.")
STREAM_SAMPLED_OUT: Final = Metric(
    "graph.stream.parts.sampled_out", "{part}", "Stream parts that a receiver's sampler left out."
)
STREAM_FILTERED: Final = Metric(
    "graph.stream.parts.filtered", "{part}", "Stream parts that a receiver's filter left out."
)
STREAM_DEPTH: Final = Metric(
    "graph.stream.buffer.depth", "{part}", "Stream parts that wait in the fullest buffer."
)
STREAM_LAG: Final = Metric("graph.stream.lag", "s", "Age of the oldest stream part that waits in any buffer.")
STREAM_RECEIVERS: Final = Metric("graph.stream.receivers", "{receiver}", "Receivers that are attached.")
EXPORT_EXPORTED: Final = Metric(
    "otel_stream.export.exported", "{item}", "Spans, log events or metric points that an exporter delivered."
)
EXPORT_LOST: Final = Metric(
    "otel_stream.export.lost",
    "{item}",
    "Spans, log events or metric points that could not be delivered, or found the queue full.",
)
EXPORT_QUEUE: Final = Metric(
    "otel_stream.export.queue", "{item}", "Spans, log events or metric points that wait for their exporter."
)
TAIL_SAMPLING_TRACES: Final = Metric(
    "otel_stream.tail_sampling.traces", "{trace}", "Traces that tail sampling decided about."
)
TAIL_SAMPLING_WAITING: Final = Metric(
    "otel_stream.tail_sampling.waiting", "{trace}", "Traces that wait for tail sampling's decision."
)
TAIL_SAMPLING_LATE: Final = Metric(
    "otel_stream.tail_sampling.late",
    "{item}",
    "Spans and log events that came after their trace had been decided about.",
)
TAIL_SAMPLING_ITEMS: Final = Metric(
    "otel_stream.tail_sampling.items",
    "{item}",
    "Spans and log events that tail sampling handed on or dropped, late ones included.",
)
TAIL_SAMPLING_POLICY_FAILURES: Final = Metric(
    "otel_stream.tail_sampling.policy_failures",
    "{failure}",
    "Policies of tail sampling that raised and are not asked again.",
)


class GenAINames(NamedTuple):
    """Names that differ between versions of the GenAI conventions; None where a version has none."""

    #: Whether they are those since 0.1.0.
    latest: bool
    #: Attribute that holds the name of the graph.
    graph_attribute: str
    #: Attribute that counts the tokens put into a cache.
    cache_write: str
    run_duration: Metric
    call_duration: Metric
    embeddings_duration: Metric
    time_to_first_chunk: Metric
    time_per_output_chunk: Metric
    #: Tokens by type, before; by call and in sum, since.
    token_usage: Metric | None
    call_input_tokens: Metric | None
    call_output_tokens: Metric | None
    #: Those that a call read which makes embeddings.
    embeddings_tokens: Metric | None
    input_tokens: Metric | None
    output_tokens: Metric | None
    cache_read_tokens: Metric | None
    cache_write_tokens: Metric | None
    reasoning_tokens: Metric | None
    agent_inferences: Metric | None
    agent_tools: Metric | None


_BEFORE_0_1_0: Final = GenAINames(
    False,
    GEN_AI_WORKFLOW_NAME,
    GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
    Metric("gen_ai.invoke_workflow.duration", "s", "Duration of a run of a graph.", _RUN_SECONDS),
    Metric("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _CALL_SECONDS),
    Metric("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _CALL_SECONDS),
    Metric(
        "gen_ai.client.operation.time_to_first_chunk",
        "s",
        "Time from the request to the first chunk of a streamed answer.",
        _CALL_SECONDS,
    ),
    Metric(
        "gen_ai.client.operation.time_per_output_chunk",
        "s",
        "Time between two chunks of a streamed answer.",
        _CALL_SECONDS,
    ),
    Metric("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _CALL_TOKENS),
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
)
_SINCE_0_1_0: Final = GenAINames(
    True,
    GEN_AI_AGENT_NAME,
    GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    Metric("gen_ai.invoke_agent.duration", "s", "Duration of a run of a graph.", _RUN_SECONDS),
    Metric("gen_ai.client.inference.duration", "s", "Duration of a call of a model.", _CALL_SECONDS),
    Metric(
        "gen_ai.client.embeddings.duration",
        "s",
        "Duration of a call of a model that makes embeddings.",
        _CALL_SECONDS,
    ),
    Metric(
        "gen_ai.client.inference.time_to_first_chunk",
        "s",
        "Time from the request to the first chunk of a streamed answer.",
        _CALL_SECONDS,
    ),
    Metric(
        "gen_ai.client.inference.time_per_output_chunk",
        "s",
        "Time between two chunks of a streamed answer.",
        _CALL_SECONDS,
    ),
    None,
    Metric(
        "gen_ai.client.inference.operation.input_tokens",
        "{token}",
        "Tokens that one call of a model read.",
        _CALL_TOKENS,
    ),
    Metric(
        "gen_ai.client.inference.operation.output_tokens",
        "{token}",
        "Tokens that one call of a model wrote.",
        _CALL_TOKENS,
    ),
    Metric(
        "gen_ai.client.embeddings.operation.input_tokens",
        "{token}",
        "Tokens that one call of a model read which makes embeddings.",
        _CALL_TOKENS,
    ),
    Metric("gen_ai.client.inference.usage.input_tokens", "{token}", "Tokens that models read."),
    Metric("gen_ai.client.inference.usage.output_tokens", "{token}", "Tokens that models wrote."),
    Metric(
        "gen_ai.client.inference.usage.cache_read.input_tokens",
        "{token}",
        "Tokens among those read that came from the provider's cache.",
    ),
    Metric(
        "gen_ai.client.inference.usage.cache_write.input_tokens",
        "{token}",
        "Tokens among those read that were put into the provider's cache.",
    ),
    Metric(
        "gen_ai.client.inference.usage.reasoning.output_tokens",
        "{token}",
        "Tokens among those written that are reasoning.",
    ),
    Metric(
        "gen_ai.invoke_agent.inference_calls",
        "{inference_call}",
        "Calls of models that a run of an agent made itself.",
        _AGENT_CALLS,
    ),
    Metric(
        "gen_ai.invoke_agent.tool_calls",
        "{tool_call}",
        "Calls of tools that a run of an agent made itself.",
        _AGENT_CALLS,
    ),
)


def genai_names(opt_in: str) -> GenAINames:
    """Choose the names by the value of ``OTEL_SEMCONV_STABILITY_OPT_IN``, a comma-separated list.

    ``gen_ai_latest_experimental`` in it means the newest names known here, 0.1.0.
    """
    chosen = {word.strip() for word in opt_in.split(",")}
    return _SINCE_0_1_0 if "gen_ai_latest_experimental" in chosen else _BEFORE_0_1_0
