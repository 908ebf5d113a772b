"""Which conversation a run belongs to, and which agent it is or is inside of."""

from __future__ import annotations

from otel_stream import semconv
from otel_stream.encoding import clean
from otel_stream.events import Run
from otel_stream.telemetry.identity import shown_id
from otel_stream.telemetry.metrics.names import short
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.scope import OpenRun, Tally

#: Under which the metadata of a run says that its graph is an agent, and what it is called: the convention's
#: own name, and that of LangChain's ``create_agent``.
_SAID_BY = (semconv.GEN_AI_AGENT_NAME, "lc_agent_name")


def identify(run: Run, scope: OpenRun, options: TelemetryOptions) -> None:
    """Write the conversation and the agent of a run that begins into its scope."""
    task = run.parent
    around: OpenRun | None = None if task is None else task.run.telemetry
    if around is not None:
        scope.conversation, scope.agent = around.conversation, around.agent
    elif run.thread_id is not None:
        scope.conversation = shown_id(run.thread_id, "thread_id", options, content=options.span_content)
    own = _agent(run)
    # Metadata is handed down: what the run around says of itself, this one does not say of itself.
    if own is not None and (task is None or own != _agent(task.run)):
        scope.agent, scope.tally = own, Tally()


def _agent(run: Run) -> str | None:
    name = next((run.metadata[key] for key in _SAID_BY if run.metadata.get(key)), None)
    return short(clean(name)) if isinstance(name, str) else None
