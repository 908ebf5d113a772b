"""Our words as LangGraph's savers keep them: as LangGraph's own, so that it can read what we wrote.

LangGraph goes on with a thread only where ``Send`` and ``Interrupt`` in it are its own classes; and in strict
mode its savers rebuild no others. So they are turned into those on their way to such a saver, and back.
Messages become LangChain's, and stay it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from ..messages import Message, RemoveMessage, langchains
from ..policies import TimeoutPolicy
from ..types import Interrupt, Overwrite, Send

_MODULE: Final = "langgraph.types"


def is_langgraphs(saver: Any) -> bool:
    """Whether a saver is of LangGraph's kind, whoever wrote it."""
    return any(base.__module__ == "langgraph.checkpoint.base" for base in type(saver).__mro__)


def stored(value: Any) -> Any:
    """Return a word of ours as LangGraph's, also in a list or tuple; any other value itself."""
    return _each(value, _theirs)


def loaded(value: Any) -> Any:
    """Return a word of LangGraph's as ours, also in a list or tuple; any other value itself."""
    return _each(value, _ours)


def _each(value: Any, turn: Callable[[Any], Any]) -> Any:
    kind = type(value)
    if kind is not list and kind is not tuple:
        return turn(value)
    made = [turn(item) for item in value]
    return value if all(new is old for new, old in zip(made, value, strict=True)) else kind(made)


def stored_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Do what :func:`stored` does to each value of a mapping."""
    return {name: stored(value) for name, value in values.items()}


def stored_writes(writes: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Do what :func:`stored` does to each value of pairs of channel and value."""
    return [(name, stored(value)) for name, value in writes]


def loaded_tuple(found: Any) -> Any:
    """Do what :func:`loaded` does to all that is in a checkpoint tuple; None is none."""
    if found is None:
        return None
    values = {name: loaded(value) for name, value in found.checkpoint["channel_values"].items()}
    writes = found.pending_writes
    if writes:
        writes = [(task_id, name, loaded(value)) for task_id, name, value in writes]
    return found._replace(checkpoint={**found.checkpoint, "channel_values": values}, pending_writes=writes)


def _theirs(value: Any) -> Any:
    kind = type(value)
    if kind is Message or kind is RemoveMessage:
        return langchains(value)
    if kind is Overwrite:
        value = Overwrite(stored(value.value))
    elif kind is not Send and kind is not Interrupt:
        return value
    types = _langgraphs()
    if types is None:
        return value
    if kind is Overwrite:
        return types.Overwrite(value.value)
    if kind is Interrupt:
        schema = value.response_schema
        more = {} if schema is None else {"response_schema": schema}
        return types.Interrupt(value.value, id=value.id, **more)
    more = {} if value.timeout is None else {"timeout": _fields(value.timeout, types.TimeoutPolicy)}
    return types.Send(value.node, value.arg, **more)


def _ours(value: Any) -> Any:
    kind = type(value)
    if kind.__module__ != _MODULE:
        return value
    if kind.__name__ == "Send":
        limit = getattr(value, "timeout", None)
        return Send(value.node, value.arg, timeout=limit and _fields(limit, TimeoutPolicy))
    if kind.__name__ == "Interrupt":
        return Interrupt(value.value, value.id, getattr(value, "response_schema", None))
    return Overwrite(value.value) if kind.__name__ == "Overwrite" else value


def _fields(policy: Any, kind: Any) -> Any:
    return kind(**{field.name: getattr(policy, field.name) for field in fields(kind)})


@cache
def _langgraphs() -> Any:
    """Return LangGraph's types, None if only its savers are installed."""
    if find_spec("langgraph") is None or find_spec(_MODULE) is None:
        return None
    return import_module(_MODULE)
