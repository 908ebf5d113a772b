"""Channels: the cells a graph's state is made of. A channel is a value and a rule to merge writes into it.

Rules of this file
------------------
1. ``update(values)`` gets *all* writes of one superstep, in the order of their tasks, and says whether the
   channel changed. Between supersteps nothing changes a channel.
2. ``value`` is MISSING as long as the channel can't be read, be it empty or not open yet: supersteps look at
   it directly, millions of times.
3. A channel knows nothing of nodes, tasks or checkpoints; ``saved()`` and ``load()`` are how it survives one.
"""

from __future__ import annotations

import collections.abc
import operator
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, NotRequired, Required, Self, get_origin

from otel_stream.encoding import shown
from otel_stream.stream.copying import snapshot

from .errors import ErrorCode, InvalidUpdateError
from .types import MISSING, Overwrite

_OVERWRITE = "__overwrite__"


class Channel:
    """The rules every channel follows, and the simplest answers to them."""

    __slots__ = ("key", "typ", "value")

    #: The value lasts for one superstep: without a write, the next ``update(())`` clears it.
    transient = False
    #: ``consume`` does something, so tasks that were triggered by the channel must call it.
    consumable = False
    #: ``finish`` does something: the channel opens only when nothing else is left to do.
    deferred = False

    def __init__(self, typ: Any, key: str = "") -> None:
        self.typ = typ
        self.key = key
        self.value: Any = MISSING

    @property
    def available(self) -> bool:
        """Whether the channel can be read, and trigger a node."""
        return self.value is not MISSING

    def read(self) -> Any:
        """Return what nodes see; only valid while the channel is ``available``."""
        return self.value

    def update(self, values: Sequence[Any]) -> bool:
        """Merge the writes of a superstep; return whether the channel changed.

        Raises:
            InvalidUpdateError: the writes can't be merged.
        """
        raise NotImplementedError

    def preview(self, values: Sequence[Any]) -> Any:
        """Return what ``update(values)`` would make readable, MISSING if nothing; changes nothing."""
        trial = self.copy()
        trial.update(values)
        return trial.read() if trial.available else MISSING

    def merge(self, old: Any, new: Any) -> Any:
        """Return the one write that does what the two would do in turn; both may be changed by it."""
        return new

    def consume(self) -> bool:
        """Take note that a task triggered by the channel has run; return whether it changed."""
        return False

    def finish(self) -> bool:
        """Take note that nothing else is left to do; return whether the channel changed."""
        return False

    def saved(self) -> Any:
        """Return what a checkpoint stores, MISSING if nothing."""
        return self.value

    def copied(self) -> Any:
        """Return a copy of ``saved`` that no later change reaches, and that nobody changes."""
        saved = self.saved()
        return saved if saved is MISSING else snapshot(saved)

    def load(self, saved: Any) -> None:
        """Take over what ``saved`` returned."""
        self.value = saved

    def fresh(self) -> Self:
        """Return a new channel of the same kind, empty."""
        return type(self)(self.typ, self.key)

    def copy(self) -> Self:
        """Return a channel of the same kind and value, for trying writes out."""
        other = self.fresh()
        saved = self.saved()
        if saved is not MISSING:
            other.load(saved)
        return other


def _one(channel: Channel, values: Sequence[Any]) -> Any:
    """Return the only write, or explain why there must not be several."""
    if len(values) != 1:
        raise InvalidUpdateError(
            f"At key '{channel.key}': Can receive only one value per step, got {len(values)}. "
            f"Annotate the key with a reducer (Annotated[T, fn]) to merge several writes. "
            f"[{ErrorCode.INVALID_CONCURRENT_GRAPH_UPDATE.value}]"
        )
    return values[0]


class LastValue(Channel):
    """Holds the last value written; two writes in one superstep are an error."""

    __slots__ = ()

    def update(self, values: Sequence[Any]) -> bool:
        if not values:
            return False
        self.value = values[0] if len(values) == 1 else _one(self, values)
        return True

    def preview(self, values: Sequence[Any]) -> Any:
        return values[0] if len(values) == 1 else _one(self, values)


class AnyValue(LastValue):
    """Holds the last value written in one superstep, assuming that all writers agree; else empty."""

    __slots__ = ()
    transient = True

    def update(self, values: Sequence[Any]) -> bool:
        if not values:
            changed, self.value = self.value is not MISSING, MISSING
            return changed
        self.value = values[-1]
        return True

    def preview(self, values: Sequence[Any]) -> Any:
        return values[-1]


class _Guarded(Channel):
    """A channel that takes several writes in one superstep, the last one winning, unless ``guard``."""

    __slots__ = ("guard",)

    def __init__(self, typ: Any, key: str = "", guard: bool = True) -> None:
        super().__init__(typ, key)
        self.guard = guard

    def fresh(self) -> Self:
        return type(self)(self.typ, self.key, self.guard)

    def _last(self, values: Sequence[Any]) -> Any:
        return _one(self, values) if self.guard else values[-1]


class UntrackedValue(_Guarded):
    """Like LastValue, but never stored in a checkpoint."""

    __slots__ = ()

    def update(self, values: Sequence[Any]) -> bool:
        if not values:
            return False
        self.value = self._last(values)
        return True

    def saved(self) -> Any:
        return MISSING

    def copy(self) -> Self:
        other = self.fresh()
        other.value = self.value
        return other


class EphemeralValue(_Guarded):
    """Holds what was written in the superstep before, and nothing after that."""

    __slots__ = ()
    transient = True

    def update(self, values: Sequence[Any]) -> bool:
        if values:
            self.value = values[0] if len(values) == 1 else self._last(values)
            return True
        changed, self.value = self.value is not MISSING, MISSING
        return changed


class LastValueAfterFinish(Channel):
    """Holds the last value written, and shows it once all other work is done."""

    __slots__ = ("pending",)
    consumable = True
    deferred = True

    def __init__(self, typ: Any, key: str = "") -> None:
        super().__init__(typ, key)
        self.pending: Any = MISSING

    def update(self, values: Sequence[Any]) -> bool:
        if not values:
            return False
        self.pending, self.value = values[-1], MISSING
        return True

    def consume(self) -> bool:
        if self.value is MISSING:
            return False
        self.pending = self.value = MISSING
        return True

    def finish(self) -> bool:
        if self.pending is MISSING or self.value is not MISSING:
            return False
        self.value = self.pending
        return True

    def saved(self) -> Any:
        return MISSING if self.pending is MISSING else (self.pending, self.value is not MISSING)

    def load(self, saved: Any) -> None:
        self.pending, finished = saved
        self.value = self.pending if finished else MISSING


class NamedBarrierValue(Channel):
    """Opens when every one of ``names`` has been written: the join of a list edge."""

    __slots__ = ("names", "seen")
    consumable = True

    def __init__(self, typ: Any, key: str = "", names: Iterable[Hashable] = ()) -> None:
        super().__init__(typ, key)
        self.names = frozenset(names)
        self.seen: set[Hashable] = set()

    def _look(self) -> None:
        """Open if all names have been seen; what there is to read then is nothing in particular."""
        self.value = None if self.seen == self.names else MISSING

    def update(self, values: Sequence[Any]) -> bool:
        before = len(self.seen)
        for value in values:
            if value not in self.names:
                raise InvalidUpdateError(
                    f"At key '{self.key}': {shown(value)} is not one of {sorted(map(str, self.names))}"
                )
            self.seen.add(value)
        self._look()
        return len(self.seen) != before

    def consume(self) -> bool:
        if self.value is MISSING:
            return False
        self.seen, self.value = set(), MISSING
        return True

    def saved(self) -> Any:
        return set(self.seen)

    def load(self, saved: Any) -> None:
        self.seen = set(saved)
        self._look()

    def fresh(self) -> Self:
        return type(self)(self.typ, self.key, self.names)


class NamedBarrierValueAfterFinish(NamedBarrierValue):
    """A join that opens only once all other work is done."""

    __slots__ = ()
    deferred = True

    def _look(self) -> None:
        """Leave it to ``finish`` to open; what is open stays so until it is consumed."""

    def finish(self) -> bool:
        if self.value is not MISSING or self.seen != self.names:
            return False
        self.value = None
        return True

    def saved(self) -> Any:
        return (set(self.seen), self.value is not MISSING)

    def load(self, saved: Any) -> None:
        seen, finished = saved
        self.seen, self.value = set(seen), None if finished else MISSING


class Topic(Channel):
    """Collects all values written in a superstep into a list; for one superstep unless ``accumulate``."""

    __slots__ = ("accumulate",)
    transient = True

    def __init__(self, typ: Any, key: str = "", accumulate: bool = False) -> None:
        super().__init__(typ, key)
        self.accumulate = accumulate

    def read(self) -> Any:
        return list(self.value)

    def update(self, values: Sequence[Any]) -> bool:
        before = [] if self.value is MISSING else self.value
        kept = list(before) if self.accumulate else []
        for value in values:
            kept.extend(value if isinstance(value, list) else (value,))
        self.value = kept or MISSING
        return bool(values) or (bool(before) and not self.accumulate)

    def merge(self, old: Any, new: Any) -> Any:
        return [one for write in (old, new) for one in (write if isinstance(write, list) else (write,))]

    def saved(self) -> Any:
        return [] if self.value is MISSING else list(self.value)

    def load(self, saved: Any) -> None:
        self.value = list(saved[1] if isinstance(saved, tuple) else saved) or MISSING

    def fresh(self) -> Self:
        return type(self)(self.typ, self.key, self.accumulate)


class BinaryOperatorAggregate(Channel):
    """Folds every write into its value with a reducer ``(current, written) -> new``.

    Of a list that grows, a copy is made of what was written since the last one: an item that is changed in
    place, and not written, is for later copies what it was.
    """

    __slots__ = ("_copied", "_copy", "operator", "rewritten")

    def __init__(self, typ: Any, operator: Callable[[Any, Any], Any], key: str = "") -> None:
        super().__init__(typ, key)
        self.operator = operator
        self.value = _empty(typ)
        #: What has been copied of the list, its copy, and where it was written anew since.
        self._copied: list[Any] = []
        self._copy: list[Any] = []
        self.rewritten: set[int] = set()

    def update(self, values: Sequence[Any]) -> bool:
        if not values:
            return False
        self.value = self.preview(values)
        if self.operator is not operator.add or any(map(is_overwrite, values)):
            self._forget_copy()
        return True

    def copied(self) -> Any:
        value = self.value
        if type(value) is not list:
            return super().copied()
        self._copy_anew(value)
        new = value[len(self._copied) :]
        self._copied += new
        if not _are_same(self._copied, value):  # a node has changed the list in place
            self._forget_copy()
            self._copied, new = value.copy(), value
        self._copy += snapshot(new)
        return Beginning(self._copy, len(value))

    def _copy_anew(self, value: list[Any]) -> None:
        """Exchange what was written anew, in other lists: the old ones are of earlier copies."""
        places = [place for place in self.rewritten if place < len(self._copied)]
        if places:
            self._copied, self._copy = self._copied.copy(), self._copy.copy()
        for place in places:
            self._copied[place], self._copy[place] = value[place], snapshot(value[place])
        self.rewritten = set()

    def _forget_copy(self) -> None:
        """Take note that any of the list's items may have been written."""
        self._copied, self._copy, self.rewritten = [], [], set()

    def load(self, saved: Any) -> None:
        super().load(saved)
        self._forget_copy()

    def preview(self, values: Sequence[Any]) -> Any:
        value, overwritten = self.value, False
        for written in values:
            if _overwrites(type(written)):
                replaces, plain = _overwritten(written)
                if replaces and overwritten:
                    raise InvalidUpdateError(_two_overwrites(self))
                if replaces:
                    value, overwritten = plain, True
                    continue
            if not overwritten:
                value = written if value is MISSING else self.operator(value, written)
        return value

    def merge(self, old: Any, new: Any) -> Any:
        if _overwrites(type(new)) and _overwritten(new)[0]:
            return new
        replaces, plain = _overwritten(old) if _overwrites(type(old)) else (False, old)
        merged = self.operator(plain, new)
        return Overwrite(merged) if replaces else merged

    def fresh(self) -> Self:
        return type(self)(self.typ, self.operator, self.key)


class DeltaChannel(Channel):
    """Gives a reducer all writes of a superstep at once: ``(current, [written, ...]) -> new``.

    LangGraph's stores differences, and the whole value once in ``snapshot_frequency`` updates. Here every
    checkpoint has the whole value, so the number changes nothing.
    """

    __slots__ = ("reducer", "snapshot_frequency")

    def __init__(
        self,
        reducer: Callable[[Any, Sequence[Any]], Any],
        typ: Any = None,
        key: str = "",
        *,
        snapshot_frequency: int = 100,
    ) -> None:
        if snapshot_frequency <= 0:
            raise ValueError(f"snapshot_frequency must be positive: {snapshot_frequency} is not; give 1")
        super().__init__(list if typ is None else typ, key)
        self.reducer = reducer
        self.snapshot_frequency = snapshot_frequency
        self.value = _empty(self.typ)

    def update(self, values: Sequence[Any]) -> bool:
        if not values:
            return False
        replacing = [plain for replaces, plain in map(_overwritten, values) if replaces]
        if len(replacing) > 1:
            raise InvalidUpdateError(_two_overwrites(self))
        if replacing:
            self.value = _empty(self.typ) if replacing[0] is None else replacing[0]
        else:
            self.value = self.reducer(self.value, [*values])
        return True

    def merge(self, old: Any, new: Any) -> Any:
        if _overwritten(new)[0]:
            return new
        replaces, plain = _overwritten(old)
        return (
            Overwrite(self.reducer(plain, [new])) if replaces else self.reducer(_empty(self.typ), [old, new])
        )

    def check_stored(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint that does not have the value.

        Raises:
            ValueError: LangGraph has stored what was written, which lies in checkpoints before.
        """
        if self.key in checkpoint["channel_versions"] and self.key not in checkpoint["channel_values"]:
            raise ValueError(
                f"channel '{self.key}': LangGraph has stored this thread's value in pieces, which can't be "
                "read here; finish the thread there, or give its DeltaChannel snapshot_frequency=1 there"
            )

    def load(self, saved: Any) -> None:
        self.value = getattr(saved, "value", saved) if type(saved).__name__ == "_DeltaSnapshot" else saved

    def fresh(self) -> Self:
        return type(self)(self.reducer, self.typ, self.key, snapshot_frequency=self.snapshot_frequency)


def _two_overwrites(channel: Channel) -> str:
    code = ErrorCode.INVALID_CONCURRENT_GRAPH_UPDATE.value
    return f"At key '{channel.key}': Can receive only one Overwrite value per super-step. [{code}]"


def _overwrites(kind: type) -> bool:
    """Whether a value of this type may be meant to replace what the channel holds; LangGraph's may, too."""
    return kind is dict or kind.__name__ == "Overwrite"


class Beginning(NamedTuple):
    """A copy of a list: the first items of one that only grows, so that many copies are in it."""

    items: list[Any]
    length: int


def whole(copy: Any) -> Any:
    """Return what ``Channel.copied`` has returned as the value that it is of."""
    return copy.items[: copy.length] if type(copy) is Beginning else copy


def _are_same(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists hold the same objects, which are not asked; others are, and may answer anything."""
    try:
        return one == other
    except Exception:  # noqa: BLE001 - foreign code
        return False


def is_overwrite(value: Any) -> bool:
    """Whether a write replaces what the channel holds."""
    return _overwrites(type(value)) and _overwritten(value)[0]


def _overwritten(value: Any) -> tuple[bool, Any]:
    """Tell whether ``value`` bypasses the reducer, and what it carries; it may have been through JSON."""
    if not isinstance(value, dict):
        return getattr(value, "type", None) == _OVERWRITE, getattr(value, "value", value)
    if len(value) == 1 and _OVERWRITE in value:
        return True, value[_OVERWRITE]
    if value.get("type") == _OVERWRITE and "value" in value:
        return True, value["value"]
    return False, value


_CONCRETE: dict[Any, type] = {
    getattr(collections.abc, prefix + name): kind
    for name, kind in (("Sequence", list), ("Set", set), ("Mapping", dict))
    for prefix in ("", "Mutable")
}


def _empty(typ: Any) -> Any:
    """Return the neutral value a reduced channel starts with, MISSING if its type has none."""
    while (origin := get_origin(typ)) is not None:
        typ = typ.__args__[0] if origin in (Annotated, Required, NotRequired) else origin
    typ = _CONCRETE.get(typ, typ)
    try:
        return typ()
    except Exception:  # noqa: BLE001 - any type may be annotated; one that needs arguments starts empty
        return MISSING


def of_langgraph(given: Any, typ: Any) -> Channel | None:
    """Return ours for one of LangGraph's channels, or their class, for ``typ``; None if it is none."""
    kind = given if isinstance(given, type) else type(given)
    ours = _BY_NAME.get(kind.__name__) if kind.__module__.startswith("langgraph.channels") else None
    if ours is None:
        return None
    own = {name: getattr(given, name) for name in _SETTINGS if given is not kind and hasattr(given, name)}
    channel: Channel = ours(typ=typ, **own)
    return channel


#: What distinguishes channels of one kind, here as in LangGraph.
_SETTINGS = ("guard", "accumulate", "operator", "reducer", "snapshot_frequency")
_BY_NAME: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(LastValue, AnyValue, UntrackedValue, EphemeralValue, LastValueAfterFinish, Topic),
        *(BinaryOperatorAggregate, DeltaChannel),
    )
}
