"""Foresight: who gets what of which event is decided when somebody comes or leaves, not when it happens.

Rules of this file
------------------
1. What several consumers want is made once: a *route* makes data and gives it to all who want it.
2. Where nobody but receivers with filters is on a route, it is asked first whether any of them can want the
   data, going by where the event comes from: then it is counted, and never built.
3. What nodes write themselves is handed on as it is: no data to make, nothing that can fail, one short way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from otel_stream.config import Custom
from otel_stream.events import EVENTS, Event, RunEnded, SuperstepEnded, TaskEnded, origin
from otel_stream.stream.admission import Admission
from otel_stream.stream.modes import (
    COMES,
    END_TABLE,
    HANDED_ON,
    RETURNED_TABLE,
    SKIP,
    TABLES,
    Make,
    Recipe,
    StreamPart,
    Wrap,
    table_of,
)
from otel_stream.stream.receiver import StreamReceiver

#: A mode, and the admission of each of its receivers.
Audience: TypeAlias = tuple[str, Sequence[Admission | None]]
# Plain tuples, and not named ones: they are taken apart for every event, at a third of the time.

#: What offers a part to one receiver; called by whoever has the stream's order.
Offer: TypeAlias = Callable[[StreamPart, Event | None], None]
#: One mode's way to its consumers: its name, what to do with the data, how to offer the part to all of
#: them, who they are, and whether it is exported.
Output: TypeAlias = tuple[str, Wrap | None, Offer, tuple[StreamReceiver, ...], bool]
#: Lanes that share what ``make`` returns, and whether any of them is exported.
Route: TypeAlias = tuple[Make, tuple[Output, ...], bool]
#: All there is to do about what a node writes: the mode, how to make the data, how to offer the part, and
#: whether it is the same for subgraphs.
HandedOn: TypeAlias = tuple[str, Make, Offer, bool]
#: Whether telemetry is told first, or last, whether it is about a task, and the routes of events from the
#: root and of those from subgraphs.
Routes: TypeAlias = tuple[bool, bool, bool, tuple[Route, ...], tuple[Route, ...]]
#: What to do about one kind of event: the short way, if there is one, and the long way.
Plan: TypeAlias = tuple[HandedOn | None, Routes]
#: What to do with parts, one per output, that would be made for nobody.
Refuse: TypeAlias = Callable[[tuple[Output, ...], list[StreamPart]], None]


_OF_TASKS = frozenset(kind for kind in EVENTS if "task" in kind.__struct_fields__)
_ENDS = frozenset({RunEnded, TaskEnded})


def plans(
    receivers: tuple[StreamReceiver, ...],
    offers: Mapping[StreamReceiver, Offer],
    told: int,
    exports: frozenset[str],
    refuse: Refuse,
) -> dict[type[Event], Plan]:
    """Return what to do about every kind of event that somebody wants.

    ``told`` are the bits of the events that telemetry is told of, ``exports`` the modes it exports;
    ``offers`` says how each receiver is offered a part, and ``refuse`` is called instead of making parts for
    nobody.
    """
    # The end of the run always counts: who comes later must learn of it.
    ways: dict[type[Event], dict[Make, list[Output]]] = {RunEnded: {}}
    if told:
        ways.update((kind, {}) for kind in EVENTS if kind.bit & told)
    for mode, table, wanting, exported in _wanted(receivers, exports):
        for kind, recipe in table.items():
            output = mode, recipe.wrap, _put_to(wanting, offers), wanting, exported
            ways.setdefault(kind, {}).setdefault(recipe.make, []).append(output)
    return {
        kind: _plan(kind, by_make, offers, bool(kind.bit & told), refuse) for kind, by_make in ways.items()
    }


def _plan(
    kind: type[Event],
    by_make: Mapping[Make, list[Output]],
    offers: Mapping[StreamReceiver, Offer],
    told: bool,
    refuse: Refuse,
) -> Plan:
    root = tuple(_route(make, tuple(outputs), refuse) for make, outputs in by_make.items())
    deep = _deep(by_make, offers, refuse)
    about = told and kind not in _ENDS, told and kind in _ENDS, kind in _OF_TASKS
    return None if told else _handed_on(root, deep), (*about, root, deep)


def _handed_on(root: tuple[Route, ...], deep: tuple[Route, ...]) -> HandedOn | None:
    if len(root) == 1 and root[0][0] in HANDED_ON and len(root[0][1]) == 1 and not root[0][2]:
        make, ((mode, _, put, receivers, _),), _ = root[0]
        everywhere = len(deep) == 1 and deep[0][1][0][3] == receivers
        return mode, make, put, everywhere
    return None


def _wanted(
    receivers: tuple[StreamReceiver, ...], exports: frozenset[str]
) -> Iterator[tuple[str, Mapping[type[Event], Recipe], tuple[StreamReceiver, ...], bool]]:
    """Yield every mode that somebody wants, with its table and who that is, in the order of parts."""
    wanting = tuple(one for one in receivers if one.config.aggregate is not None)
    if wanting:
        yield "", _passing(wanting), wanting, False
    for mode, table in TABLES.items():
        wanting = tuple(one for one in receivers if mode in one.config.modes)
        if wanting or mode in exports:
            yield mode, table, wanting, mode in exports
        if mode == "messages" and (outside := tuple(one for one in wanting if not one.config.subgraphs)):
            yield mode, RETURNED_TABLE, outside, False
    customs = dict.fromkeys(
        mode for one in receivers for mode in one.config.modes if isinstance(mode, Custom)
    )
    for custom in customs:
        wanting = tuple(one for one in receivers if custom in one.config.modes)
        yield custom.name, table_of(custom), wanting, custom.name in exports
    wanting = tuple(one for one in receivers if one.config.include_end)
    if wanting:
        yield "end", END_TABLE, wanting, False


def _put_to(receivers: tuple[StreamReceiver, ...], offers: Mapping[StreamReceiver, Offer]) -> Offer:
    every = tuple(offers[one] for one in receivers)
    if len(every) == 1:
        return every[0]

    def put_to_each(part: StreamPart, event: Event | None) -> None:
        for put in every:
            put(part, event)

    return put_to_each


def _route(make: Make, outputs: tuple[Output, ...], refuse: Refuse) -> Route:
    exported = any(exported for *_, exported in outputs)
    if not exported:
        audience = [(mode, [one.admission for one in receivers]) for mode, _, _, receivers, _ in outputs]
        make = foreseeing(make, audience, partial(refuse, outputs))
    return make, outputs, exported


def _passing(receivers: tuple[StreamReceiver, ...]) -> Mapping[type[Event], Recipe]:
    """Return a mode without parts: it tells ``receivers`` when their windows end."""

    def tell(event: Any) -> Any:
        for receiver in receivers:
            if receiver.admission is not None:
                receiver.admission.passed(event)
        return SKIP

    return dict.fromkeys((SuperstepEnded, RunEnded), Recipe(tell))


def _deep(
    by_make: Mapping[Make, list[Output]], offers: Mapping[StreamReceiver, Offer], refuse: Refuse
) -> tuple[Route, ...]:
    """Leave out the receivers that don't want subgraphs; what is exported is exported from them too."""
    routes: list[Route] = []
    for make, outputs in by_make.items():
        kept: list[Output] = []
        for mode, wrap, _, receivers, exported in outputs:
            inner = tuple(one for one in receivers if one.config.subgraphs)
            if inner or exported:
                kept.append((mode, wrap, _put_to(inner, offers), inner, exported))
        if kept:
            routes.append(_route(make, tuple(kept), refuse))
    return tuple(routes)


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
