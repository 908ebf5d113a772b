"""Foresight: an event whose parts every receiver's filter refuses is counted, and never built.

A route of the stream makes data once and gives it to all who want it. Where nobody but receivers with
filters is on it, it is asked first whether any of them can want it, going by where the event comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from otel_stream.admission import Admission
from otel_stream.events import origin
from otel_stream.modes import COMES, SKIP, Make, StreamPart

#: A mode, and the admission of each of its receivers.
Audience: TypeAlias = tuple[str, Sequence[Admission | None]]


def foreseeing(make: Make, audience: Sequence[Audience], refuse: Callable[[list[StreamPart]], None]) -> Make:
    """Return ``make``, or what asks the ``audience`` first.

    ``refuse`` is called instead of making anything, with one part per mode, without its data and ``seq``.
    """
    comes = COMES.get(make)
    choosers = [(mode, [one for one in some if one is not None and one.foresees]) for mode, some in audience]
    if comes is None or not all(
        some and len(some) == len(all) for (_, some), (_, all) in zip(choosers, audience, strict=True)
    ):
        return make

    def make_if_wanted(event: Any) -> Any:
        parts = [(_announced(mode, event), some) for mode, some in choosers]
        if not comes(event) or any(
            one.wants(part, event) is not False for part, some in parts for one in some
        ):
            return make(event)
        refuse([part for part, _ in parts])
        return SKIP

    return make_if_wanted


def _announced(mode: str, event: Any) -> StreamPart:
    about = origin(event)
    task = getattr(event, "task", None)
    run = event.run if task is None else task.run
    step, node, task_id, attempt = getattr(event, "step", None), None, None, None
    if task is not None:
        step, node, task_id, attempt = task.step, task.node, task.id, task.attempt
    return StreamPart(
        mode, run.ns, None, None, event.time, run.root.id, run.graph, step, node,
        task_id, attempt, about.trace_id, about.span_id, run.tags,
    )  # fmt: skip
