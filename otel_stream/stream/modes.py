"""Stream modes: what each of them makes of an event.

A mode is a table ``{type of event: function(event) -> data}``; nothing else knows about modes. The
data, and the order of the modes within one event, are LangGraph's, so a client written for
LangGraph reads them unchanged. State is copied on its way into a part (``snapshot``); what a node
wrote itself, custom data and messages, is passed on by reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from otel_stream import events
from otel_stream.config import MODES, Custom, StreamMode
from otel_stream.events import End, Event

# Parts are a matter of their own; whoever asks for modes asks for them, too.
from otel_stream.parts import INTERRUPT as INTERRUPT
from otel_stream.parts import SKIP as SKIP
from otel_stream.parts import AggregateOf as AggregateOf
from otel_stream.parts import StreamPart as StreamPart
from otel_stream.parts import message_id as message_id
from otel_stream.parts import v1_payload as v1_payload
from otel_stream.parts import v2_payload as v2_payload
from otel_stream.stream.copying import snapshot

_Copied: TypeAlias = Callable[[Any], Any]

# --- The functions: one per mode and kind of event -------------------------------------------------


def _values(event: events.ValuesChanged, copied: _Copied = snapshot) -> Any:
    return copied(event.values)


def _waiting_values(event: events.TaskEnded, copied: _Copied = snapshot) -> Any:
    # The state is shown again beside what the task waits for.
    return copied(event.values) if event.interrupts else SKIP


def _waits(event: events.TaskEnded) -> bool:
    return bool(event.interrupts)


def _has_update(event: events.TaskEnded) -> bool:
    if event.end is End.INTERRUPTED:
        return bool(event.interrupts)
    # Who has answered, and failed on an edge, has written.
    return not event.hands_off if event.end is End.OK else event.end.failed and event.update is not None


def _update(event: events.TaskEnded, copied: _Copied = snapshot) -> Any:
    if not _has_update(event):
        return SKIP
    if event.end is End.INTERRUPTED:
        return {INTERRUPT: copied(tuple(event.interrupts))}
    update = {event.task.node: copied(event.update)}
    if event.cached:
        update["__metadata__"] = {"cached": True}
    return update


def _breakpoint(event: events.RunInterrupted) -> Any:
    # Interrupts were reported by their task; a subgraph's breakpoint is reported by the root.
    return SKIP if event.interrupts or event.run.parent is not None else {INTERRUPT: ()}


#: What nodes write themselves is taken off events without a function of Python's: they write a lot.
_message: Final = attrgetter("chunk", "metadata")
_custom: Final = attrgetter("data")


def _tool(event: events.ToolReported, copied: _Copied = snapshot) -> Any:
    return copied(event.data)


def _task(event: events.TaskStarted, copied: _Copied = snapshot) -> Any:
    task = event.task
    data = {"id": task.id, "name": task.node, "input": copied(task.input), "triggers": task.triggers}
    if task.metadata:
        data["metadata"] = dict(task.metadata)
    return data


def _task_result(event: events.TaskEnded, copied: _Copied = snapshot) -> Any:
    return {
        "id": event.task.id,
        "name": event.task.node,
        "error": event.error,
        "result": copied(event.result),
        "interrupts": [copied(_fields_of(interrupt)) for interrupt in event.interrupts],
    }


def _checkpoint(event: events.CheckpointSaved, copied: _Copied = snapshot) -> Any:
    return {
        "config": event.config,
        "parent_config": event.parent_config,
        "values": copied(event.values),
        "metadata": copied(event.metadata),
        "next": list(event.next),
        "tasks": list(event.tasks),
    }


def _end(event: events.RunEnded) -> Any:
    if event.run.parent is not None:
        return SKIP
    return {"end": event.end.value, "error": event.error, "interrupts": event.interrupts}


def _debug(kind: str) -> Callable[[Any, Any], Any]:
    """Wrap the data of another mode the way *debug* does."""

    def wrap(event: Any, payload: Any) -> Any:
        step = event.step if kind == "checkpoint" else event.task.step
        return {"step": step, "timestamp": _iso(event.time), "type": kind, "payload": payload}

    return wrap


def _iso(time: int) -> str:
    """Return nanoseconds since the epoch as ISO 8601 in UTC, with microseconds."""
    seconds, nanos = divmod(time, 1_000_000_000)
    return f"{_second(seconds)}.{nanos // 1000:06d}+00:00"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    # Events come many to a second; the calendar is the expensive part.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _fields_of(interrupt: Any) -> dict[str, Any]:
    if is_dataclass(interrupt):
        return {field.name: getattr(interrupt, field.name) for field in fields(interrupt)}
    names = ("value", "id", "response_schema")
    return {name: getattr(interrupt, name, None) for name in names}


# --- The tables --------------------------------------------------------------------------------------

Make: TypeAlias = Callable[[Any], Any]
Wrap: TypeAlias = Callable[[Any, Any], Any]


class Recipe(NamedTuple):
    """How a mode makes the data of its part: ``make(event)``, then ``wrap(event, data)`` if there is one.

    Modes that show the same thing share ``make``, which is then called once for all of them.
    """

    make: Make
    wrap: Wrap | None = None


#: In the order in which the parts of one event follow each other.
TABLES: Final[Mapping[StreamMode, Mapping[type[Event], Recipe]]] = {
    "updates": {events.TaskEnded: Recipe(_update), events.RunInterrupted: Recipe(_breakpoint)},
    "values": {events.ValuesChanged: Recipe(_values), events.TaskEnded: Recipe(_waiting_values)},
    "checkpoints": {events.CheckpointSaved: Recipe(_checkpoint)},
    "tasks": {events.TaskStarted: Recipe(_task), events.TaskEnded: Recipe(_task_result)},
    "debug": {
        events.CheckpointSaved: Recipe(_checkpoint, _debug("checkpoint")),
        events.TaskStarted: Recipe(_task, _debug("task")),
        events.TaskEnded: Recipe(_task_result, _debug("task_result")),
    },
    "messages": {events.MessageWritten: Recipe(_message)},
    "custom": {events.CustomWritten: Recipe(_custom)},
    "tools": {events.ToolReported: Recipe(_tool)},
}
assert set(TABLES) == set(MODES)

#: Of functions that make data: whether they make some of an event, known before it is made. Of those that
#: are not here it is not known, or making is as cheap as asking.
COMES: Final[Mapping[Make, Callable[[Any], bool]]] = {
    _update: _has_update,
    _values: lambda _: True,
    _waiting_values: _waits,
    _checkpoint: lambda _: True,
    _task: lambda _: True,
    _task_result: lambda _: True,
    _tool: lambda _: True,
}


def _outer(value: Any) -> Any:
    return value.copy() if type(value) is dict else value


#: What makes the same data for who looks at it at once, and not into what it holds: nothing is copied there.
OUTLINES: Final[Mapping[Make, Make]] = {
    make: partial(make, copied=_outer)
    for make in (_update, _values, _waiting_values, _checkpoint, _task, _task_result, _tool)
}

#: What *messages* shows besides to who sees no subgraphs.
RETURNED_TABLE: Final[Mapping[type[Event], Recipe]] = {events.MessageReturned: Recipe(_message)}

#: Functions that make nothing, and can't fail: they hand on what a node wrote.
HANDED_ON: Final[frozenset[Callable[[Any], Any]]] = frozenset((_custom, _message))

#: Not a mode: the part that ``StreamConfig(include_end=True)`` adds.
END_TABLE: Final[Mapping[type[Event], Recipe]] = {events.RunEnded: Recipe(_end)}


def table_of(mode: StreamMode | Custom) -> Mapping[type[Event], Recipe]:
    """Return what ``mode`` makes of which events."""
    if not isinstance(mode, Custom):
        return TABLES[mode]
    fn = mode.fn

    def make(event: Event) -> Any:
        data = fn(event)
        return SKIP if data is None else data

    recipe = Recipe(make)
    return dict.fromkeys(mode.events or events.EVENTS, recipe)
