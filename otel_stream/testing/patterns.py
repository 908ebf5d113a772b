"""Patterns of stream parts: what may come next, and whether the stream may end here.

Rules of this file
------------------
1. A pattern never changes: ``after(part)`` returns the patterns that may follow ``part``, none if it must
   not come. So a stream is read once, part by part, and the first part that nothing allows is known.
2. Equal patterns are one state. What was read is not remembered in them, so the states stay few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from otel_stream.stream.modes import StreamPart
from otel_stream.testing.matching import anything, differences, short

#: Fields of a part that an expectation may speak of, in the order in which a message shows them.
FIELDS = (*(name for name in StreamPart.__struct_fields__ if name != "data"), "data")


class Pattern(Protocol):
    """One or more parts of a stream, as somebody expects them."""

    #: Whether nothing more need come.
    @property
    def may_end(self) -> bool: ...

    #: What may come after ``part``; nothing if ``part`` is not expected here.
    def after(self, part: StreamPart) -> Iterable[Pattern]: ...

    #: What may come next.
    def next(self) -> Iterator[Leaf]: ...

    #: Every single expectation in it.
    def leaves(self) -> Iterator[Leaf]: ...


class Leaf(Protocol):
    """An expectation of one part."""

    #: What is wrong with ``part``; [] if it is the one.
    def why_not(self, part: StreamPart) -> list[str]: ...

    #: The type of the part, or a matcher of it.
    @property
    def mode(self) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)  # its data may hold matchers, which equal too much
class One:
    """Exactly one part."""

    fields: dict[str, Any]
    #: What a message calls it.
    title: str

    @property
    def mode(self) -> Any:
        return self.fields.get("type", anything)

    @property
    def may_end(self) -> bool:
        return False

    def why_not(self, part: StreamPart) -> list[str]:
        lines: list[str] = []
        for name, expected in self.fields.items():
            found = differences(expected, getattr(part, name))
            lines += [f"{name}{'' if line[0] == '[' else ': '}{line}" for line in found]
            if found and name == "type":
                break  # the data of another mode differs in everything
        return lines

    def after(self, part: StreamPart) -> Iterable[Pattern]:
        return () if self.why_not(part) else (NOTHING,)

    def next(self) -> Iterator[Leaf]:
        yield self

    def leaves(self) -> Iterator[Leaf]:
        yield self

    def at_node(self, node: str) -> One:
        """Return the same expectation of that node's part, unless it already names one."""
        return self if "node" in self.fields else one(**{**self.fields, "node": node})

    def __repr__(self) -> str:
        return self.title


def one(title: str = "", **fields: Any) -> One:
    """Make the expectation of one part with these ``fields``."""
    named = {name: fields[name] for name in FIELDS if name in fields}
    head = f"{named['type']!s} part" if "type" in named else "a part"
    rest = ", ".join(f"{name}={short(value)}" for name, value in named.items() if name != "type")
    return One(named, title or (f"{head} with {rest}" if rest else head))


@dataclass(frozen=True, slots=True)
class Sequence:
    """One pattern after the other."""

    items: tuple[Pattern, ...]

    @property
    def may_end(self) -> bool:
        return all(item.may_end for item in self.items)

    def after(self, part: StreamPart) -> Iterator[Pattern]:
        for index, item in enumerate(self.items):
            for rest in item.after(part):
                yield sequence((rest, *self.items[index + 1 :]))
            if not item.may_end:
                return

    def next(self) -> Iterator[Leaf]:
        for item in self.items:
            yield from item.next()
            if not item.may_end:
                return

    def leaves(self) -> Iterator[Leaf]:
        for item in self.items:
            yield from item.leaves()


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Several patterns side by side: each in its own order, their parts mixed in any way."""

    items: tuple[Pattern, ...]

    @property
    def may_end(self) -> bool:
        return all(item.may_end for item in self.items)

    def after(self, part: StreamPart) -> Iterator[Pattern]:
        for index, item in enumerate(self.items):
            for rest in item.after(part):
                yield interleaved((*self.items[:index], rest, *self.items[index + 1 :]))

    def next(self) -> Iterator[Leaf]:
        for item in self.items:
            yield from item.next()

    def leaves(self) -> Iterator[Leaf]:
        for item in self.items:
            yield from item.leaves()


@dataclass(frozen=True, slots=True)
class AnyOrder:
    """Several patterns, each as a whole, in any order."""

    items: tuple[Pattern, ...]

    @property
    def may_end(self) -> bool:
        return all(item.may_end for item in self.items)

    def after(self, part: StreamPart) -> Iterator[Pattern]:
        for index, item in enumerate(self.items):
            others = (*self.items[:index], *self.items[index + 1 :])
            for rest in item.after(part):
                yield sequence((rest, AnyOrder(others))) if others else rest

    def next(self) -> Iterator[Leaf]:
        for item in self.items:
            yield from item.next()

    def leaves(self) -> Iterator[Leaf]:
        for item in self.items:
            yield from item.leaves()


@dataclass(frozen=True, slots=True)
class Repeated:
    """One pattern ``low`` to ``high`` times; ``high`` None: any number of times."""

    item: Pattern
    low: int
    high: int | None

    @property
    def may_end(self) -> bool:
        return self.low <= 0 or self.item.may_end

    def after(self, part: StreamPart) -> Iterator[Pattern]:
        if self.high == 0:
            return
        again = replace(self, low=max(self.low - 1, 0), high=None if self.high is None else self.high - 1)
        for rest in self.item.after(part):
            yield sequence((rest, again))

    def next(self) -> Iterator[Leaf]:
        if self.high != 0:
            yield from self.item.next()

    def leaves(self) -> Iterator[Leaf]:
        yield from self.item.leaves()


@dataclass(frozen=True, slots=True)
class Joined:
    """Chunks of one message, of any number and size, that make up ``text`` together.

    ``text`` is what is still to come; ``id`` the message's, once a chunk has come.
    """

    text: str
    node: Any = anything
    id: Any = anything
    whole: str | None = None

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def mode(self) -> Any:
        return "messages"

    @property
    def may_end(self) -> bool:
        return not self.text and self.whole is not None

    def why_not(self, part: StreamPart) -> list[str]:
        if part.type != "messages":
            return [f"type: expected 'messages', got {part.type!r}"]
        chunk = part.data[0]
        lines = [f"node: {line}" for line in differences(self.node, part.node)]
        lines += [f"id: {line}" for line in differences(self.id, field_of(chunk, "id"))]
        text = text_of(chunk)
        if not self.text.startswith(text):
            lines.append(f"text: expected the rest of the message to be {self.text!r}, got {text!r}")
        return lines

    def after(self, part: StreamPart) -> Iterable[Pattern]:
        if self.why_not(part):
            return
        chunk = part.data[0]
        rest = self.text[len(text_of(chunk)) :]
        whole = self.text if self.whole is None else self.whole
        yield Joined(rest, self.node, field_of(chunk, "id"), whole)

    def next(self) -> Iterator[Leaf]:
        yield self

    def leaves(self) -> Iterator[Leaf]:
        yield self

    def __repr__(self) -> str:
        if self.whole is None:
            return f"chunks of the message {self.text!r}"
        return f"more of the message {self.whole!r}: {self.text!r}"


#: The pattern that is satisfied.
NOTHING = Sequence(())


def sequence(items: Iterable[Pattern]) -> Pattern:
    """Return the patterns one after the other, in the one way there is to write it."""
    flat: list[Pattern] = []
    for item in items:
        flat += item.items if isinstance(item, Sequence) else (item,)
    return flat[0] if len(flat) == 1 else Sequence(tuple(flat))


def interleaved(items: Iterable[Pattern]) -> Pattern:
    """Return the patterns side by side, without those that are satisfied."""
    left = tuple(item for item in items if item != NOTHING)
    return sequence(left) if len(left) < 2 else Interleaved(left)


def at_node(pattern: Pattern, node: str) -> Pattern:
    """Return ``pattern`` with every expectation in it made one of ``node``'s parts."""
    if isinstance(pattern, One):
        return pattern.at_node(node)
    if isinstance(pattern, Joined):
        return replace(pattern, node=node)
    if isinstance(pattern, Sequence | Interleaved | AnyOrder):
        return replace(pattern, items=tuple(at_node(item, node) for item in pattern.items))
    if isinstance(pattern, Repeated):
        return replace(pattern, item=at_node(pattern.item, node))
    raise TypeError(f"{pattern!r} is no pattern of otel_stream.testing.expect")


def field_of(chunk: Any, name: str) -> Any:
    """Return a field of a message chunk, which may be a mapping or an object."""
    return chunk.get(name) if isinstance(chunk, dict) else getattr(chunk, name, None)


def text_of(chunk: Any) -> str:
    """Return the text of a message chunk: its content, or that of the text blocks in it."""
    content = field_of(chunk, "content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(
        block if isinstance(block, str) else block.get("text", "")
        for block in blocks
        if isinstance(block, str) or (isinstance(block, dict) and block.get("type") == "text")
    )
