"""A list of messages as graph state: how new ones are merged in, with LangChain's classes or our own.

Where LangChain is installed, whatever is not yet a message becomes one of its messages. Where it is not, it
becomes a ``Message``, so that a graph needs no framework to hold a conversation. The two mix: merging goes by
``id`` alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from typing import Annotated, Any, Final, Literal, TypeAlias, TypedDict, cast, overload

import msgspec

#: The id of a ``RemoveMessage`` that removes everything before it.
REMOVE_ALL_MESSAGES: Final = "__remove_all__"

#: A message, ``"text"`` from the user, ``(role, content)``, or a mapping with ``role`` and ``content``.
MessageLike: TypeAlias = Any
Messages: TypeAlias = list[MessageLike] | MessageLike

#: How a role may be written → what it is.
ROLES: Final[Mapping[str, str]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "function",
}


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message in the form of OpenAI's chat API.

    ``role`` is one of the values of ``ROLES``; ``content`` is text or a list of content blocks. ``id`` names
    the message in the state: a message with the id of another one replaces it.

    ``name`` says who speaks, ``tool_calls`` which tools are to be called, ``tool_call_id`` which call is
    answered.
    """

    role: str
    content: str | list[Any] | None
    id: str | None = None
    name: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    #: Whatever else the mapping had that the message was made from.
    extra: dict[str, Any] = {}


class RemoveMessage(msgspec.Struct, frozen=True):
    """Removes the message of that id; ``REMOVE_ALL_MESSAGES`` removes all that came before.

    ``type`` is always ``remove``.
    """

    id: str
    type: Literal["remove"] = "remove"


_OWN: Final[frozenset[type]] = frozenset({Message, RemoveMessage})


@overload
def add_messages(*, format: Literal["langchain-openai"] | None = None) -> Callable[[Any, Any], list[Any]]: ...
@overload
def add_messages(
    left: Messages, right: Messages, *, format: Literal["langchain-openai"] | None = None
) -> list[Any]: ...
def add_messages(
    left: Messages | None = None,
    right: Messages | None = None,
    *,
    format: Literal["langchain-openai"] | None = None,
) -> Any:
    """Merge ``right`` into ``left``: append messages, replace those of the same id, obey removals.

    Messages without an id are given one, on the message itself where it can be changed; the lists that are
    passed in never change. Called without messages, it returns the reducer with its ``format`` set, as in
    ``Annotated[list, add_messages(format="langchain-openai")]``.

    Raises:
        ValueError: one side only, something that is no message, the removal of a message that is not there,
            or an unknown ``format``.
    """
    if left is None and right is None:
        return partial(_merge, format=format)
    if left is None or right is None:
        given, lacking = ("right", "left") if left is None else ("left", "right")
        raise ValueError(
            "Must specify non-null arguments for both 'left' and 'right'. "
            f"Only received: '{given}'. Pass [] as {lacking} if there are no messages there."
        )
    return _merge(left, right, format=format)


def add_message_writes(current: Messages, writes: Sequence[Messages]) -> list[Any]:
    """Merge every one of ``writes`` into ``current`` by :func:`add_messages`: for a ``DeltaChannel``."""
    merged: Any = current
    for written in writes:
        merged = add_messages(merged, written)
    return list(merged)


class MessagesState(TypedDict):
    """A state with a conversation under ``messages``."""

    messages: Annotated[list[Any], add_messages]


def _merge(left: Messages, right: Messages, *, format: str | None = None) -> list[Any]:
    before, new = as_messages(left), as_messages(right)
    for index in range(len(new) - 1, -1, -1):
        if new[index].id == REMOVE_ALL_MESSAGES and removes(new[index]):
            return new[index + 1 :]
    merged = _apply(before, new)
    if format is None:
        return merged
    if format != "langchain-openai":
        raise ValueError(f"Unrecognized format={format!r}. Expected one of 'langchain-openai', None.")
    langchain = _langchain()
    if langchain is None:
        raise ValueError("format='langchain-openai' needs langchain-core; install it, or leave format out")
    return cast("list[Any]", langchain.in_openai_format(merged))


def _apply(before: list[Any], new: list[Any]) -> list[Any]:
    """Merge messages that all have ids."""
    merged = [*before]
    places = {message.id: index for index, message in enumerate(merged)}
    removed: set[str] = set()
    for message in new:
        place = places.get(message.id)
        if place is None:
            if removes(message):
                raise ValueError(
                    f"Attempting to delete a message with an ID that doesn't exist ('{message.id}'); "
                    f"remove only what is in the state, or everything with RemoveMessage(REMOVE_ALL_MESSAGES)"
                )
            places[message.id] = len(merged)
            merged.append(message)
        elif removes(message):
            removed.add(message.id)
        else:
            removed.discard(message.id)
            merged[place] = message
    return [message for message in merged if message.id not in removed] if removed else merged


def named(value: Any) -> Any:
    """Return what is written to a conversation as the state is going to hold it: with the ids of messages.

    What is no message yet is left alone.
    """
    return [*map(_named, value)] if isinstance(value, list) else _named(value)


def _named(message: Any) -> Any:
    is_nameless = getattr(message, "id", message) is None and hasattr(message, "content")
    return _with_ids([message])[0] if is_nameless else message


def is_conversation(reducer: Any) -> bool:
    """Whether a reducer is ``add_messages``, ours or LangGraph's, as it is or with a format."""
    return getattr(getattr(reducer, "func", reducer), "__name__", None) == add_messages.__name__


def as_messages(value: Messages) -> list[Any]:
    """Return what is written to a conversation as a new list of messages with ids."""
    return _with_ids(_coerce(value if isinstance(value, list) else [value]))


def removes(message: Any) -> bool:
    """Whether a message removes others."""
    return getattr(message, "type", None) == "remove"


def _with_ids(messages: list[Any]) -> list[Any]:
    for index, message in enumerate(messages):
        if message.id is None:
            if isinstance(message, Message):
                messages[index] = msgspec.structs.replace(message, id=str(uuid.uuid4()))
            else:
                # On the message itself: whoever else holds it, a stream for one, must know it by the same id.
                message.id = str(uuid.uuid4())
    return messages


def _coerce(messages: list[Any]) -> list[Any]:
    """Return a new list in which everything is a message."""
    kinds = set(map(type, messages))
    if kinds <= _OWN:
        return [*messages]
    foreign = messages if kinds.isdisjoint(_OWN) else [m for m in messages if type(m) not in _OWN]
    langchain = _langchain()
    made: list[Any] = langchain.coerce(foreign) if langchain else [*map(_own, foreign)]
    if foreign is messages:
        return made
    rest = iter(made)
    return [message if type(message) in _OWN else next(rest) for message in messages]


def as_message(like: MessageLike) -> Any:
    """Return ``like`` as a message, LangChain's where that is installed."""
    return _coerce([like])[0]


def langchains(message: Message | RemoveMessage) -> Any:
    """Return a message of ours as LangChain's; itself where that is not installed."""
    langchain = _langchain()
    if langchain is None:
        return message
    if isinstance(message, RemoveMessage):
        like = {"role": "remove", "content": "", "id": message.id}
    else:
        said = {name: getattr(message, name) for name in _FIELDS if getattr(message, name) is not None}
        like = {"role": message.role, "content": "", **message.extra, **said}
    return langchain.coerce([like])[0]


@cache
def _langchain() -> Any:
    """Return the adapter, None if LangChain is not installed."""
    if find_spec("langchain_core") is None:
        return None
    from otel_stream.adapters import langchain

    return langchain


def _own(like: MessageLike) -> Message | RemoveMessage:
    """Make a message of our own of whatever stands for one."""
    if isinstance(like, str):
        return Message(role="user", content=like)
    if isinstance(like, Mapping):
        return _from_mapping(like)
    if isinstance(like, Sequence) and len(like) == 2:
        role, content = like
        return Message(role=_role(role, like), content=content)
    raise ValueError(
        f"message: {like!r} is no message; give text, (role, content), a mapping of both, or a Message"
    )


def _from_mapping(like: Mapping[str, Any]) -> Message | RemoveMessage:
    kind = like.get("role", like.get("type"))
    if kind == "remove" and "id" in like:
        return RemoveMessage(like["id"])
    if kind is None or ("content" not in like and "tool_calls" not in like):
        raise ValueError(f"message: {dict(like)!r} lacks role or content; a message needs both")
    known = {name: like[name] for name in _FIELDS if name in like}
    extra = {name: value for name, value in like.items() if name not in _FIELDS and name not in _ROLE}
    return Message(**{"content": None, **known, "role": _role(kind, like), "extra": extra})


_ROLE: Final = ("role", "type")
_FIELDS: Final = ("content", "id", "name", "tool_calls", "tool_call_id")


def _role(name: Any, like: MessageLike) -> str:
    role = ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise ValueError(f"message: {like!r} has the unknown role {name!r}; choose from {', '.join(ROLES)}")
    return role
