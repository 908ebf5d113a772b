"""Links: from a task to the tasks that triggered it, and from a resumed run to the one it goes on from."""

from __future__ import annotations

import re
from typing import Final

from opentelemetry.trace import Link, SpanContext, TraceFlags

from otel_stream import semconv
from otel_stream.events import Resumption, Run, Task
from otel_stream.telemetry.scope import Attributes

#: W3C Trace Context, "traceparent Header Field Values"; version 00 has exactly these four.
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def trigger_links(task: Task) -> list[Link]:
    """Return a link to every task whose writes triggered ``task``, one for each channel."""
    return [
        Link(
            source.telemetry.about,
            {
                semconv.GRAPH_LINK_KIND: "trigger",
                semconv.GRAPH_LINK_CHANNEL: channel,
                semconv.GRAPH_TASK_ID: source.id,
            },
        )
        for channel, source in task.sources
        if source.telemetry is not None and source.telemetry.about is not None
    ]


def resumed_links(run: Run) -> list[Link]:
    """Return the link to the run that ``run`` goes on from, if that was traced."""
    resumes = run.resumes
    before = None if resumes is None else parse_traceparent(resumes.traceparent)
    if resumes is None or before is None:
        return []
    attributes: Attributes = {
        semconv.GRAPH_LINK_KIND: "resume",
        semconv.GRAPH_CHECKPOINT_ID: resumes.checkpoint_id,
    }
    if resumes.run_id is not None:
        attributes[semconv.GRAPH_RUN_ID] = resumes.run_id
    return [Link(before, attributes)]


def resumed_attributes(resumes: Resumption) -> Attributes:
    """Return what a resumed run's span says, for backends in which links can't be searched."""
    attributes: Attributes = {semconv.GRAPH_RESUME_CHECKPOINT_ID: resumes.checkpoint_id}
    if resumes.run_id is not None:
        attributes[semconv.GRAPH_RESUME_RUN_ID] = resumes.run_id
    before = parse_traceparent(resumes.traceparent)
    if before is not None:
        attributes[semconv.GRAPH_RESUME_TRACE_ID] = f"{before.trace_id:032x}"
        attributes[semconv.GRAPH_RESUME_SPAN_ID] = f"{before.span_id:016x}"
    if resumes.interrupts:
        attributes[semconv.GRAPH_RESUME_INTERRUPT_IDS] = resumes.interrupts
    return attributes


def parse_traceparent(text: str | None) -> SpanContext | None:
    """Return the span that ``text`` names, None if it names none."""
    found = _TRACEPARENT.fullmatch(text or "")
    if found is None:
        return None
    trace_id, span_id, flags = (int(digits, 16) for digits in found.groups())
    about = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return about if about.is_valid else None
