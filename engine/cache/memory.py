"""What nodes have answered before, so that they need not be asked again: LangGraph's cache interface."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from otel_stream.stream.copying import snapshot

V = TypeVar("V")
Namespace: TypeAlias = tuple[str, ...]
#: Whose answer it is, and to what input.
FullKey: TypeAlias = tuple[Namespace, str]


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
        self._store: Callable[[Any], Any] = serde.dumps_typed if serde is not None else snapshot
        self._load: Callable[[Any], Any] = serde.loads_typed if serde is not None else snapshot
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
