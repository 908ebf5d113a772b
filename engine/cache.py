"""What nodes have answered before, so that they need not be asked again: LangGraph's cache interface."""

from __future__ import annotations

import io
import pickle
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from .checkpoint.copying import detach

V = TypeVar("V")
Namespace: TypeAlias = tuple[str, ...]
#: Whose answer it is, and to what input.
FullKey: TypeAlias = tuple[Namespace, str]

_DEPTH = 10


class BaseCache(ABC, Generic[V]):
    """The interface of caches. A missing or expired entry is left out of what ``get`` returns."""

    #: Turns values into bytes and back (``dumps_typed``, ``loads_typed``); None if the cache needs none.
    serde: Any = None

    def __init__(self, *, serde: Any = None) -> None:
        if serde is not None:
            self.serde = serde

    @abstractmethod
    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return those of the entries that exist."""

    @abstractmethod
    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """See ``get``."""

    @abstractmethod
    def set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Store values, each for a number of seconds or, with None, for good."""

    @abstractmethod
    async def aset(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """See ``set``."""

    @abstractmethod
    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget some namespaces, or everything."""

    @abstractmethod
    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """See ``clear``."""


class InMemoryCache(BaseCache[V]):
    """Keeps answers in this process, from any thread; copies go in and come out.

    ``clock`` tells the time in seconds and only ever runs forward.
    """

    def __init__(self, *, serde: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(serde=serde)
        self._store: Callable[[Any], Any] = serde.dumps_typed if serde is not None else detach
        self._load: Callable[[Any], Any] = serde.loads_typed if serde is not None else detach
        self._clock = clock
        self._lock = threading.Lock()
        #: Namespace → key → (stored value, when it expires).
        self._entries: dict[Namespace, dict[str, tuple[Any, float | None]]] = {}

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        found: dict[FullKey, Any] = {}
        now = self._clock()
        with self._lock:
            for namespace, key in keys:
                entries = self._entries.get(tuple(namespace), {})
                stored, expiry = entries.get(key, (None, now))
                if expiry is None or now < expiry:
                    found[tuple(namespace), key] = stored
                else:
                    entries.pop(key, None)
        return {full: self._load(stored) for full, stored in found.items()}

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        return self.get(keys)

    def set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        now = self._clock()
        new = [
            (tuple(namespace), key, self._store(value), None if ttl is None else now + ttl)
            for (namespace, key), (value, ttl) in pairs.items()
        ]
        with self._lock:
            for namespace, key, stored, expiry in new:
                self._entries.setdefault(namespace, {})[key] = stored, expiry

    async def aset(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        self.set(pairs)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        with self._lock:
            for namespace in [*self._entries] if namespaces is None else namespaces:
                self._entries.pop(tuple(namespace), None)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        self.clear(namespaces)


def default_cache_key(*args: Any, **kwargs: Any) -> bytes:
    """Return a key for a node's input: equal for equal inputs, whatever order their mappings are in.

    Raises:
        Exception: what ``pickle`` raises for an input it can't take; give the node's ``CachePolicy`` a
            ``key_func`` then.
    """
    key = _ordered((args, kwargs), _DEPTH)
    written = io.BytesIO()
    pickler = pickle.Pickler(written, protocol=5)
    # Without its memo, pickle writes two equal strings like one string that stands twice.
    pickler.fast = True
    try:
        pickler.dump(key)
    except (RecursionError, ValueError):  # something refers to itself: only the memo ends that
        return pickle.dumps(key, protocol=5)
    return written.getvalue()


def _ordered(value: Any, depth: int) -> Any:
    """Return a stand-in for ``value`` in which mappings and sets are sorted and containers are tuples."""
    if depth <= 0 or isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        items = ((key, _ordered(item, depth - 1)) for key, item in value.items())
        return tuple(sorted(items, key=lambda item: (type(item[0]).__name__, str(item[0]))))
    if isinstance(value, set | frozenset):
        return tuple(sorted((_ordered(item, depth - 1) for item in value), key=repr))
    if isinstance(value, list | tuple):
        return tuple(_ordered(item, depth - 1) for item in value)
    if hasattr(value, "tobytes"):  # arrays: equal bytes of another shape or type are another input
        kind = (type(value).__name__, str(getattr(value, "dtype", "")), getattr(value, "shape", None))
        return *kind, value.tobytes()
    return value
