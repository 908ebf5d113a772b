"""The channel of a conversation: a superstep costs what it writes, however long the conversation is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .channels import BinaryOperatorAggregate, is_overwrite
from .messages import as_messages, removes


class _Merged(NamedTuple):
    """A conversation with what was written to it: where new messages stand, and what others were replaced."""

    messages: list[Any]
    added: dict[str, int]
    replaced: set[int]


class Conversation(BinaryOperatorAggregate):
    """Merges by ``add_messages``, looking at what is written alone.

    Removals, and values that are no list of messages with ids, are left to the reducer.
    """

    __slots__ = ("_ahead", "_indexed", "_places")

    def __init__(self, typ: Any, operator: Callable[[Any, Any], Any], key: str = "") -> None:
        super().__init__(typ, operator, key)
        #: Id → where it stands, in the list that is ``_indexed``.
        self._places: dict[str, int] = {}
        self._indexed: Any = None
        #: What a router was shown: the conversation, the one write, and what that makes of it.
        self._ahead: tuple[Any, Any, _Merged] | None = None

    def update(self, values: Sequence[Any]) -> bool:
        merged = self._foreseen(values) or self._merged(values) if values else None
        self._ahead = None
        if merged is None:
            return super().update(values)
        self._places.update(merged.added)
        self.rewritten |= merged.replaced
        self.value = self._indexed = merged.messages
        return True

    def preview(self, values: Sequence[Any]) -> Any:
        merged = self._merged(values)
        if merged is not None and len(values) == 1:
            self._ahead = self.value, values[0], merged
        return super().preview(values) if merged is None else merged.messages

    def _foreseen(self, values: Sequence[Any]) -> _Merged | None:
        if self._ahead is None or len(values) != 1:
            return None
        value, written, merged = self._ahead
        is_it = value is self.value and written is values[0]
        return merged if is_it and len(merged.messages) == len(value) + len(merged.added) else None

    def _merged(self, values: Sequence[Any]) -> _Merged | None:
        """Merge ``values`` into a new list; None if that is more than adding and replacing messages."""
        if not self._index():
            return None
        messages, added, replaced = self.value.copy(), dict[str, int](), set[int]()
        for written in values:
            if is_overwrite(written):
                return None
            for message in as_messages(written):
                if removes(message):
                    return None
                place = added.get(message.id)
                if place is None and (place := self._places.get(message.id)) is not None:
                    replaced.add(place)
                if place is None:
                    added[message.id] = len(messages)
                    messages.append(message)
                else:
                    messages[place] = message
        return _Merged(messages, added, replaced)

    def _index(self) -> bool:
        """Know where each message stands; return whether that can be known."""
        value = self.value
        if type(value) is not list:
            return False
        if value is self._indexed and len(value) == len(self._places):
            return True
        self._indexed = None
        try:
            self._places = {message.id: place for place, message in enumerate(value)}
        except AttributeError:  # what will be messages once it is merged
            return False
        if None in self._places or len(self._places) != len(value):
            return False
        self._indexed = value
        return True
