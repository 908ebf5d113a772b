"""Whose a run is: its conversation, its user, and which agent it is or is inside of."""

from __future__ import annotations

from typing import Final

from opentelemetry.baggage import set_baggage
from opentelemetry.context import Context, create_key, set_value

from otel_stream import semconv
from otel_stream.encoding import clean
from otel_stream.events import Run
from otel_stream.telemetry.identity import shown_id
from otel_stream.telemetry.metrics.names import short
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.scope import Attributes, OpenRun, Tally

#: Key of a context for the conversation that what is current in it belongs to.
CONVERSATION: Final = create_key("otel_stream_conversation")

#: Under which the metadata of a run says that its graph is an agent, and what it is called: the convention's
#: own name, and that of LangChain's ``create_agent``.
NAMED_BY: Final = (semconv.GEN_AI_AGENT_NAME, "lc_agent_name")


def identify(run: Run, scope: OpenRun, options: TelemetryOptions) -> None:
    """Write whose a run is, which begins, into its scope, and the conversation into its context."""
    task = run.parent
    around: OpenRun | None = None if task is None else task.run.telemetry
    if around is not None:
        scope.conversation, scope.conversation_told = around.conversation, around.conversation_told
        scope.agent, scope.about = around.agent, around.about
    else:
        _name_conversation(run, scope, options)
        scope.about = _about(run, options)
    if scope.conversation is not None:
        context = _with_conversation(scope.outer, scope.conversation, options)
        scope.outer = scope.context = scope.step_context = context
    own = _agent(run)
    # Metadata is handed down: what the run around says of itself, this one does not say of itself.
    if own is not None and (task is None or own != _agent(task.run)):
        scope.agent, scope.tally = own, Tally()


def _name_conversation(run: Run, scope: OpenRun, options: TelemetryOptions) -> None:
    if run.thread_id is not None:
        scope.conversation = shown_id(run.thread_id, "thread_id", options, content=options.span_content)
        told = scope.conversation
        if options.event_content != options.span_content:
            told = shown_id(run.thread_id, "thread_id", options, content=options.event_content)
        scope.conversation_told = told


def _with_conversation(context: Context, conversation: str, options: TelemetryOptions) -> Context:
    if context.get(CONVERSATION) == conversation:
        return context
    context = set_value(CONVERSATION, conversation, context)
    if options.conversation_baggage:
        context = set_baggage(semconv.GEN_AI_CONVERSATION_ID, conversation, context)
    return context


def _about(run: Run, options: TelemetryOptions) -> Attributes:
    """Return what is to be shown of the metadata of a run, as it may leave the process."""
    found: Attributes = {}
    for key in options.run_attributes:
        value = run.metadata.get(key, run.metadata.get(key.replace(".", "_")))
        if isinstance(value, str | int | float):
            if options.redaction is not None:
                value = options.redaction.text(str(value), "metadata", key)
            elif isinstance(value, str):
                value = clean(value)
            found[key if key in _OWN_NAMES else f"{semconv.GRAPH_RUN_METADATA}.{key}"] = value
    return found


#: What OpenTelemetry has names for; the rest is a run's metadata.
_OWN_NAMES: Final = frozenset({semconv.USER_ID, semconv.SESSION_ID})


def _agent(run: Run) -> str | None:
    name = next((run.metadata[key] for key in NAMED_BY if run.metadata.get(key)), None)
    return short(clean(name)) if isinstance(name, str) else None
