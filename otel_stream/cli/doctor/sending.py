"""The doctor's own run: through our engine, ``configure()`` and its exporters, as a program's would be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from otel_stream.cli.doctor.asking import within
from otel_stream.cli.doctor.findings import Verdict
from otel_stream.cli.doctor.surroundings import our_engine
from otel_stream.cli.notices import Notices
from otel_stream.config import StreamConfig

if TYPE_CHECKING:
    from otel_stream.sdk import Counts, Handle

#: What the graph and, unless the environment names it, the service are called.
NAME = "otel-stream-doctor"

#: Signal -> what ``Handle.counts`` calls it, and what people do.
WORDS = {
    "traces": ("spans", "spans"),
    "logs": ("logs", "log events"),
    "metrics": ("metrics", "metric points"),
}


class Sent(msgspec.Struct):
    """What became of the run: ``counts`` by signal, or in ``reason`` why nothing was set up."""

    run_id: str = ""
    trace_id: str = ""
    counts: dict[str, Counts] = {}
    reason: str = ""
    #: What was said about losses, without the endpoint.
    complaint: str = ""


@contextmanager
def variables(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables of the environment, or unset those that are None, for a while."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def send(endpoint: str | None, seconds: float) -> Sent:
    """Run a graph of two nodes and export it, for about ``seconds`` at most.

    Raises:
        ValueError: a variable of the environment that can't be meant.
        Exception: whatever keeps the SDK or its exporters from being made.
    """
    from otel_stream.sdk import configure

    with Notices() as notices:
        handle = configure(NAME, endpoint=endpoint)
        if handle.reason:
            handle.shutdown(seconds)
            return Sent(reason=handle.reason)
        try:
            run_id, trace_id = within(seconds, lambda: asyncio.run(_run()))
        finally:
            handle.shutdown(seconds)
    names = {signal: words[0] for signal, words in WORDS.items()}
    counts = handle.counts()
    return Sent(
        run_id,
        trace_id,
        {signal: counts[name] for signal, name in names.items() if name in counts},
        complaint=_complaint(notices.texts, handle),
    )


def _complaint(texts: Sequence[str], handle: Handle) -> str:
    # An endpoint may have a password in it.
    said = [text.partition(handle.destination)[2] for text in texts if handle.destination in text]
    return said[-1].lstrip(":; ").strip() if said else ""


class _State(TypedDict):
    steps: int


async def _run() -> tuple[str, str]:
    engine: Any = our_engine()
    graph = engine.StateGraph(_State)
    graph.add_node("first", lambda state: {"steps": state["steps"] + 1})
    graph.add_node("second", lambda state: {"steps": state["steps"] + 1})
    for edge in ((engine.START, "first"), ("first", "second"), ("second", engine.END)):
        graph.add_edge(*edge)
    compiled = graph.compile(name=NAME)
    run_id = trace_id = ""
    async with compiled.open_stream({"steps": 0}, StreamConfig(modes=("updates",))) as stream:
        (receiver,) = stream.receivers
        async for part in receiver:
            run_id, trace_id = part.run_id or run_id, part.trace_id or trace_id
    return run_id, trace_id


def verdict(signal: str, sent: Sent) -> Verdict:
    """Say what became of the run's telemetry of one signal."""
    counts = sent.counts[signal]
    words = WORDS[signal][1]
    tried = f"export the run's {words}"
    if not counts.emitted:
        sampler = os.environ.get("OTEL_TRACES_SAMPLER", "")
        return Verdict(
            "stop",
            tried,
            "nothing to export",
            f"The run was sampled away: its {words} never reached the exporter.",
            f"Change the sampler{f' ({sampler})' if sampler else ''}, or unset OTEL_TRACES_SAMPLER.",
        )
    lost = counts.lost + counts.waiting
    if lost:
        return Verdict(
            "stop",
            tried,
            f"{lost} of {counts.emitted} lost. {sent.complaint}".strip(),
            f"The endpoint answers, but does not take the run's {words}.",
            "Look at what it answers, and into its log.",
        )
    return Verdict("ok", tried, f"{counts.exported} exported")


def not_ours(reason: str) -> Verdict:
    """Say who else has set up OpenTelemetry in this process."""
    from opentelemetry import trace

    provider = type(trace.get_tracer_provider())
    return Verdict(
        "stop",
        "set up OpenTelemetry",
        f"{provider.__module__}.{provider.__qualname__}. {reason}",
        "Something else has set up OpenTelemetry before configure(), so otel-stream exports through that.",
        "Start without opentelemetry-instrument, or look for the exporter where that provider is made.",
    )


def broken(error: Exception) -> Verdict:
    """Say that OpenTelemetry can't be imported, or its exporters not be made."""
    seen = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
    if isinstance(error, ImportError):
        return Verdict(
            "stop",
            "import OpenTelemetry and engine",
            seen,
            "A package can't be imported, so nothing is exported.",
            "Install all of them anew, in one version: pip install --upgrade --force-reinstall otel-stream.",
        )
    return Verdict(
        "stop",
        "send a run",
        seen,
        "The exporters can't be made with these variables, or the run failed.",
        "Correct the OTEL_* variable that it names.",
    )
