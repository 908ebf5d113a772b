"""What an ``Aggregate`` means: which parts of a mode share a window, and how their data becomes one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from otel_stream.aggregate import Aggregate, Key
from otel_stream.parts import StreamPart, message_id
from otel_stream.stream.coalescing import joined
from otel_stream.stream.copying import snapshot


def key_of(aggregate: Aggregate, mode: str) -> Key:
    """Return what tells the windows of ``mode`` apart."""
    by = aggregate.by
    if callable(by):
        return by
    if by is None:
        by = _BY.get(mode, ("ns",))
    names = (by,) if isinstance(by, str) else tuple(by)
    if "message_id" in names:
        return lambda part: _message_key(part, names)
    return attrgetter(*names) if names else lambda _: ()


def fold_of(aggregate: Aggregate, mode: str) -> Fold:
    """Return how the data of ``mode`` becomes one."""
    if aggregate.reduce is not None:
        return Fold(_listed, _appended, aggregate.reduce)
    return _FOLDS.get(mode, _LIST)


_BY: Final[Mapping[str, tuple[str, ...]]] = {"messages": ("ns", "message_id"), "updates": ("ns", "node")}


def _message_key(part: StreamPart, names: tuple[str, ...]) -> Hashable | None:
    message = message_id(part)
    if message is None:
        # Chunks without an id may belong to different messages: joining them would invent text.
        return None
    return tuple(message if name == "message_id" else getattr(part, name) for name in names)


# --- How data becomes one: part by part, so that a window holds no more than it must -----------------------


class Fold(NamedTuple):
    """``end(add(add(start(first), second, run), third, run))``; ``run`` is None where it is not known."""

    start: Callable[[Any], Any]
    add: Callable[[Any, Any, object], Any]
    end: Callable[[Any], Any]


def _same(data: Any) -> Any:
    return data


def _listed(data: Any) -> list[Any]:
    return [data]


def _appended(before: list[Any], data: Any, _: object) -> list[Any]:
    before.append(data)
    return before


def _merged(before: dict[str, Any], data: dict[str, Any], run: object) -> dict[str, Any]:
    """Return one *updates* mapping for two; what a node is under is merged, all else is the newer's."""
    merged = {**before, **data}
    for node in before.keys() & data.keys():
        if not node.startswith("__"):
            merged[node] = _update(before[node], data[node], run)
    return merged


def _update(before: Any, update: Any, run: object) -> Any:
    """Return what a node would have returned, had it written both updates at once."""
    merged = None
    for one in (*_writes(before), *_writes(update)):
        if not isinstance(one, Mapping):
            return update
        merged = one if merged is None else _with(merged, one, run)
    return merged


def _writes(update: Any) -> Sequence[Any]:
    # A list of mappings: the node wrote one key more than once.
    if update is None:
        return ()
    return update if isinstance(update, list) else (update,)


def _with(before: Mapping[str, Any], update: Mapping[str, Any], run: object) -> dict[str, Any]:
    merged = {**before, **update}
    if isinstance(run, Merging):
        for key in before.keys() & update.keys():
            merged[key] = run.merge(key, before[key], update[key])
    return merged


@runtime_checkable
class Merging(Protocol):
    """A ``Run`` that knows the rules by which its state takes writes."""

    def merge(self, key: str, old: Any, new: Any, /) -> Any:
        """Return what would have been written to ``key``, had both been written at once."""


_LIST: Final = Fold(_listed, _appended, _same)
_FOLDS: Final[Mapping[str, Fold]] = {
    "messages": Fold(_same, lambda before, data, _: joined(before, data), _same),
    # A copy: a reducer may change its first argument, and other receivers have the same part.
    "updates": Fold(snapshot, _merged, _same),
    "values": Fold(_same, lambda _before, data, _run: data, _same),
}
