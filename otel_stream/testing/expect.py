"""The words of an expectation: single parts, and how they follow each other.

Everything that data is compared with may be a plain value, a function of the value that tells whether it will
do, or a matcher (``anything``, ``subset``, ``regex``, ``instance``, ``where``), also deep inside plain data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_stream.testing.matching import Matcher, anything, as_expected, instance, regex, short, subset, where
from otel_stream.testing.patterns import (
    FIELDS,
    AnyOrder,
    Interleaved,
    Joined,
    One,
    Pattern,
    Repeated,
    at_node,
    field_of,
    one,
    sequence,
    text_of,
)

INTERRUPT: Final = "__interrupt__"

# -- one part ----------------------------------------------------------------------------------------


def part(type: str | None = None, **fields: Any) -> One:
    """Expect one part. ``fields``: ``data``, ``node``, ``ns``, ``step``, ``attempt``, ``task_id``, ...

    Raises:
        TypeError: a part has no such field.
    """
    return _one("", type, **fields)


def updates(node: Any = anything, update: Any = anything, *, cached: bool = False, **fields: Any) -> One:
    """Expect the *updates* part of ``node``, whose update is ``update``; ``cached``: it was not called."""
    more = {"__metadata__": {"cached": True}} if cached else {}
    wanted = as_expected(update)
    if isinstance(node, str):
        fields["data"] = {node: wanted, **more}
    elif update is not anything:
        fields["data"] = where(
            lambda data: [*data.values()] == [wanted, *more.values()], f"{{any node: {short(wanted)}}}"
        )
    return _one(_titled("updates", node, update), "updates", node=node, **fields)


def interrupt(value: Any = anything, **fields: Any) -> One:
    """Expect the *updates* part of a task that waits for an answer to ``value``."""
    wanted = as_expected(value)
    data = where(
        lambda data: any(wanted == waiting.value for waiting in data[INTERRUPT]), f"interrupt {short(wanted)}"
    )
    return _one(_titled("interrupt", anything, value), "updates", data=data, **fields)


def values(state: Any = anything, **fields: Any) -> One:
    """Expect the complete state."""
    return _one(_titled("values", anything, state), "values", data=state, **fields)


def custom(data: Any = anything, node: Any = anything, **fields: Any) -> One:
    """Expect what a node wrote through its ``StreamWriter``."""
    return _one(_titled("custom", node, data), "custom", data=data, node=node, **fields)


def message(
    text: Any = anything, node: Any = anything, *, id: Any = anything, metadata: Any = anything, **fields: Any
) -> One:
    """Expect one chunk of a message, or a whole one."""
    wanted = {"text": as_expected(text), "id": as_expected(id), "metadata": as_expected(metadata)}

    def accepts(data: Any) -> bool:
        chunk, about = data
        found = {"text": text_of(chunk), "id": field_of(chunk, "id"), "metadata": about}
        return all(wanted[name] == found[name] for name in wanted)

    told = ", ".join(f"{name}={short(value)}" for name, value in wanted.items() if value is not anything)
    data = anything if not told else where(accepts, f"a message with {told}")
    return _one(
        f"message{_at(node)}{': ' + told if told else ''}", "messages", data=data, node=node, **fields
    )


def joined_message(text: str, node: Any = anything, *, id: Any = anything) -> Joined:
    """Expect a whole message in however many chunks: all of one id, ``text`` when joined."""
    return Joined(text, as_expected(node), as_expected(id))


def task(node: Any = anything, *, input: Any = anything, **fields: Any) -> One:
    """Expect the *tasks* part at the start of a task."""
    data = {"name": node, "input": as_expected(input), "triggers": anything}
    return _one(_titled("task", node, input), "tasks", data=subset(data), node=node, **fields)


def task_result(
    node: Any = anything,
    *,
    result: Any = anything,
    error: Any = None,
    interrupts: Any = anything,
    **fields: Any,
) -> One:
    """Expect the *tasks* part at the end of a task; ``error`` may be a type of exception."""
    data = {"name": node, "result": as_expected(result), "error": _error(error)}
    data["interrupts"] = as_expected(interrupts)
    wanted = result if error is None else error
    return _one(_titled("task_result", node, wanted), "tasks", data=subset(data), node=node, **fields)


def checkpoint(
    values: Any = anything, *, next: Iterable[str] | None = None, metadata: Any = anything, **fields: Any
) -> One:
    """Expect that a checkpoint is saved; ``next`` are the nodes that come then."""
    data: dict[str, Any] = {"values": as_expected(values), "metadata": as_expected(metadata)}
    if next is not None:
        data["next"] = [*next]
    return _one(_titled("checkpoint", anything, values), "checkpoints", data=subset(data), **fields)


def gap(dropped: Any = anything, **fields: Any) -> One:
    """Expect the marker of lost parts; ``dropped`` is their number."""
    data = subset({"dropped": as_expected(dropped)})
    return _one(_titled("gap", anything, dropped), "gap", data=data, **fields)


def end(how: Any = anything, *, error: Any = anything, interrupts: Any = anything) -> One:
    """Expect the end of the run: ``"ok"``, ``"error"``, ``"interrupted"``, ... as in ``events.End``."""
    data = {"end": as_expected(how), "error": _error(error), "interrupts": as_expected(interrupts)}
    told = "" if error is anything else f" with {getattr(error, '__name__', short(error))}"
    return _one(f"end{'' if how is anything else f' {how!r}'}{told}", "end", data=data)


# -- how parts follow each other ---------------------------------------------------------------------


def in_order(*patterns: Pattern) -> Pattern:
    """Expect these, one after the other."""
    return sequence(patterns)


def any_order(*patterns: Pattern) -> Pattern:
    """Expect all of these, in any order; what is in order within one of them is not torn apart."""
    return AnyOrder(patterns)


def interleaved(*patterns: Pattern) -> Pattern:
    """Expect all of these side by side: each in its own order, mixed in any way."""
    return Interleaved(patterns)


def per_node(nodes: Mapping[str, Iterable[Pattern]] | None = None, /, **named: Iterable[Pattern]) -> Pattern:
    """Expect of every node its parts in their order, however those of several nodes are mixed."""
    by_node = {**(nodes or {}), **named}
    return Interleaved(tuple(at_node(sequence(items), node) for node, items in by_node.items()))


def times(count: int, pattern: Pattern) -> Pattern:
    """Expect this so many times, one after the other."""
    return Repeated(pattern, count, count)


def at_least(count: int, pattern: Pattern) -> Pattern:
    """Expect this so many times or more, one after the other."""
    return Repeated(pattern, count, None)


def maybe(pattern: Pattern) -> Pattern:
    """Expect this, or not."""
    return Repeated(pattern, 0, 1)


def whatever(pattern: Pattern | None = None) -> Pattern:
    """Expect any number of parts, of that kind or of any; none will do."""
    return Repeated(one("any part") if pattern is None else pattern, 0, None)


# ----------------------------------------------------------------------------------------------------


def _one(title: str, type: str | None, **fields: Any) -> One:
    unknown = fields.keys() - set(FIELDS)
    if unknown:
        raise TypeError(f"a part has no field {min(unknown)!r}; it has {', '.join(FIELDS)}")
    wanted = {name: as_expected(value) for name, value in fields.items() if value is not anything}
    told = ", ".join(f"{name}={short(wanted[name])}" for name in wanted if name not in {"node", "data"})
    if title and told:
        title = f"{title} ({told})"
    return one(title, **({} if type is None else {"type": type}), **wanted)


def _titled(word: str, node: Any, data: Any) -> str:
    told = "" if data is anything else f": {short(as_expected(data))}"
    return f"{word}{_at(node)}{told}"


def _at(node: Any) -> str:
    return "" if node is anything else f" of {node!r}"


def _error(error: Any) -> Any:
    """Read a type of exception as every exception of that type."""
    return instance(error) if isinstance(error, type) else as_expected(error)


__all__ = [
    "Matcher",
    "Pattern",
    "any_order",
    "anything",
    "at_least",
    "checkpoint",
    "custom",
    "end",
    "gap",
    "in_order",
    "instance",
    "interleaved",
    "interrupt",
    "joined_message",
    "maybe",
    "message",
    "part",
    "per_node",
    "regex",
    "subset",
    "task",
    "task_result",
    "times",
    "updates",
    "values",
    "whatever",
    "where",
]
