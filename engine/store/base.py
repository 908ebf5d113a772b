"""What a store is: items by namespace and key, and the operations on them, in LangGraph's terms.

A store does one thing, ``batch`` a list of operations; every other method is an operation put in words.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

Namespace: TypeAlias = tuple[str, ...]
#: A namespace in which ``"*"`` stands for any one label.
NamespacePath: TypeAlias = tuple[str, ...]
NamespaceMatchType: TypeAlias = Literal["prefix", "suffix"]


class _NotProvided:
    def __repr__(self) -> str:
        return "NOT_PROVIDED"

    def __reduce__(self) -> str:
        return "NOT_PROVIDED"


NOT_PROVIDED: Final[Any] = _NotProvided()


class InvalidNamespaceError(ValueError):
    """A namespace that no item can be stored under."""


class Item:
    """A stored ``value`` and where it is; times are in UTC."""

    __slots__ = ("created_at", "key", "namespace", "updated_at", "value")

    def __init__(
        self,
        *,
        value: dict[str, Any],
        key: str,
        namespace: Iterable[str],
        created_at: datetime | str,
        updated_at: datetime | str,
    ) -> None:
        self.value = value
        self.key = key
        self.namespace = tuple(namespace)
        self.created_at = _time(created_at)
        self.updated_at = _time(updated_at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Item):
            return False
        return all(getattr(self, name) == getattr(other, name) for name in Item.__slots__)

    def __hash__(self) -> int:
        return hash((self.namespace, self.key))

    def dict(self) -> dict[str, Any]:
        """Return the item as plain data; times as ISO 8601."""
        return {
            "namespace": [*self.namespace],
            "key": self.key,
            "value": self.value,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.dict().items())})"
        )


class SearchItem(Item):
    """An item that a search found; ``score`` is for stores that rank."""

    __slots__ = ("score",)

    def __init__(
        self,
        namespace: Iterable[str],
        key: str,
        value: dict[str, Any],
        created_at: datetime | str,
        updated_at: datetime | str,
        score: float | None = None,
    ) -> None:
        super().__init__(
            value=value, key=key, namespace=namespace, created_at=created_at, updated_at=updated_at
        )
        self.score = score

    def dict(self) -> dict[str, Any]:
        return {**super().dict(), "score": self.score}


class GetOp(NamedTuple):
    """Read one item."""

    namespace: Namespace
    key: str
    refresh_ttl: bool = True


class SearchOp(NamedTuple):
    """Find items below a namespace whose fields are as ``filter`` says."""

    namespace_prefix: Namespace
    filter: dict[str, Any] | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool = True


class MatchCondition(NamedTuple):
    """What a namespace has to begin or end with."""

    match_type: NamespaceMatchType
    path: NamespacePath


class ListNamespacesOp(NamedTuple):
    """List namespaces, cut off at ``max_depth`` labels."""

    match_conditions: tuple[MatchCondition, ...] | None = None
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


class PutOp(NamedTuple):
    """Write one item, or delete it if ``value`` is None. ``ttl`` is in minutes."""

    namespace: Namespace
    key: str
    value: Mapping[str, Any] | None
    index: Literal[False] | list[str] | None = None  # type: ignore[assignment]  # tuple has a method of that name
    ttl: float | None = None


Op: TypeAlias = GetOp | SearchOp | PutOp | ListNamespacesOp
Result: TypeAlias = Item | list[Item] | list[SearchItem] | list[Namespace] | None


class BaseStore(ABC):
    """The interface of stores. Namespaces are tuples of labels: not empty, no ``.``, no NUL.

    Methods raise ``InvalidNamespaceError`` for a namespace that is none.
    """

    __slots__ = ("__weakref__",)

    #: Whether items can expire; ``ttl`` is refused otherwise.
    supports_ttl: ClassVar[bool] = False
    #: ``{"default_ttl": minutes | None, "refresh_on_read": bool}``
    ttl_config: Mapping[str, Any] | None = None

    @abstractmethod
    def batch(self, ops: Iterable[Op]) -> list[Any]:
        """Carry out operations; the results are in their order, None for a ``PutOp``."""

    @abstractmethod
    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """See ``batch``."""

    def get(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Return an item, None if there is none."""
        return self.batch([self._get(namespace, key, refresh_ttl)])[0]  # type: ignore[no-any-return]

    def search(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Return items below ``namespace_prefix`` that match ``filter``.

        ``filter`` maps fields to values, or to ``{"$gt": 1}``; also eq, ne, gte, lt and lte.
        """
        return self.batch([self._search(namespace_prefix, query, filter, limit, offset, refresh_ttl)])[0]  # type: ignore[no-any-return]

    def put(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | None = NOT_PROVIDED,
    ) -> None:
        """Store a value, replacing what was there. ``index`` names the fields an embedding store would index.

        Raises:
            NotImplementedError: ``ttl``, in minutes, on a store whose items do not expire.
        """
        self.batch([self._put(namespace, key, value, index, ttl)])

    def delete(self, namespace: Namespace, key: str) -> None:
        """Delete an item; no error if there is none."""
        self.batch([_delete(namespace, key)])

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """Return the namespaces in use, sorted."""
        return self.batch([_list(prefix, suffix, max_depth, limit, offset)])[0]  # type: ignore[no-any-return]

    async def aget(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """See ``get``."""
        return (await self.abatch([self._get(namespace, key, refresh_ttl)]))[0]  # type: ignore[no-any-return]

    async def asearch(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """See ``search``."""
        op = self._search(namespace_prefix, query, filter, limit, offset, refresh_ttl)
        return (await self.abatch([op]))[0]  # type: ignore[no-any-return]

    async def aput(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | None = NOT_PROVIDED,
    ) -> None:
        """See ``put``."""
        await self.abatch([self._put(namespace, key, value, index, ttl)])

    async def adelete(self, namespace: Namespace, key: str) -> None:
        """See ``delete``."""
        await self.abatch([_delete(namespace, key)])

    async def alist_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """See ``list_namespaces``."""
        return (await self.abatch([_list(prefix, suffix, max_depth, limit, offset)]))[0]  # type: ignore[no-any-return]

    def _get(self, namespace: Namespace, key: str, refresh_ttl: bool | None) -> GetOp:
        return GetOp(_labels(namespace), str(key), self._refresh(refresh_ttl))

    def _search(
        self,
        prefix: Namespace,
        query: str | None,
        filter: dict[str, Any] | None,
        limit: int,
        offset: int,
        refresh_ttl: bool | None,
    ) -> SearchOp:
        return SearchOp(_labels(prefix), filter, limit, offset, query, self._refresh(refresh_ttl))

    def _put(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None,
        ttl: float | None,
    ) -> PutOp:
        if not namespace:
            raise InvalidNamespaceError("namespace: () is empty; give it a label, as in ('memories',)")
        if namespace[0] == "langgraph":
            raise InvalidNamespaceError(f"namespace: {namespace!r} is reserved; begin with another label")
        if ttl is NOT_PROVIDED:
            ttl = (self.ttl_config or {}).get("default_ttl")
        elif ttl is not None and not self.supports_ttl:
            raise NotImplementedError(
                f"ttl: items of {type(self).__name__} do not expire; leave it out, or take another store"
            )
        return PutOp(_labels(namespace), str(key), value, index, ttl)

    def _refresh(self, asked: bool | None) -> bool:
        return bool((self.ttl_config or {}).get("refresh_on_read", True)) if asked is None else asked


def _time(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _delete(namespace: Namespace, key: str) -> PutOp:
    return PutOp(_labels(namespace), str(key), None)


def _list(
    prefix: NamespacePath | None, suffix: NamespacePath | None, max_depth: int | None, limit: int, offset: int
) -> ListNamespacesOp:
    ends: tuple[tuple[NamespaceMatchType, NamespacePath | None], ...] = (
        ("prefix", prefix),
        ("suffix", suffix),
    )
    conditions = tuple(MatchCondition(kind, _labels(path)) for kind, path in ends if path)
    return ListNamespacesOp(conditions, max_depth, limit, offset)


def _labels(namespace: Sequence[Any]) -> Namespace:
    for label in namespace:
        if not isinstance(label, str):
            wrong = f"the label {label!r} is a {type(label).__name__}; labels are strings"
        elif not label:
            wrong = "one label is an empty string; give it a name or leave it out"
        elif "." in label or "\0" in label:
            wrong = f"the label {label!r} has a '.' or NUL in it; choose another name"
        else:
            continue
        raise InvalidNamespaceError(f"namespace: {namespace!r} is no namespace: {wrong}")
    return tuple(namespace)
