"""A store in this process. Reads of a batch see what was there before its writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from otel_stream.stream.copying import snapshot

from .base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Namespace,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
)
from .index import Index, IndexConfig, Vectors

logger = logging.getLogger("engine")


class InMemoryStore(BaseStore):
    """Keeps items in this process, from any thread; copies go in and come out.

    ``index`` says how items are embedded, for ``search(query=...)``; without it a query chooses nothing, and
    a warning says so once.

    Raises:
        TypeError: ``index`` embeds with something that can't.
    """

    __slots__ = ("_index", "_items", "_lock", "_warned")

    def __init__(self, *, index: IndexConfig | None = None) -> None:
        self._index = Index(index) if index is not None else None
        self._warned = False
        self._lock = threading.Lock()
        self._items: dict[Namespace, dict[str, Item]] = {}

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        ops = [*ops]
        return self._carry_out(ops, self._index.embed(ops) if self._index is not None else Vectors())

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        ops = [*ops]
        return self._carry_out(ops, await self._index.aembed(ops) if self._index is not None else Vectors())

    def _carry_out(self, ops: list[Op], vectors: Vectors) -> list[Any]:
        if self._index is None and not self._warned:
            self._warn_of_queries(ops)
        with self._lock:
            results = [self._read(op, vectors) for op in ops]
            for op in ops:
                if isinstance(op, PutOp):
                    self._write(op)
                    if self._index is not None:
                        self._index.note(op, vectors)
        return results

    def _warn_of_queries(self, ops: list[Op]) -> None:
        asked = next((op.query for op in ops if isinstance(op, SearchOp) and op.query), None)
        if asked is not None:
            self._warned = True
            logger.warning(
                "query: %r is ignored, since this InMemoryStore has no embeddings: all that the filter "
                "matches are found; make it with index={'embed': ..., 'dims': ...} to search by meaning",
                asked,
            )

    def _read(self, op: Op, vectors: Vectors) -> Any:
        if isinstance(op, GetOp):
            item = self._items.get(op.namespace, {}).get(op.key)
            return None if item is None else Item(**_parts(item))
        if isinstance(op, SearchOp):
            return self._find(op, vectors)
        if isinstance(op, ListNamespacesOp):
            return self._namespaces(op)
        if isinstance(op, PutOp):
            return None
        raise ValueError(f"op: {op!r} is no operation; give a GetOp, SearchOp, PutOp or ListNamespacesOp")

    def _write(self, op: PutOp) -> None:
        if op.value is None:
            left = self._items.get(op.namespace, {})
            left.pop(op.key, None)
            if not left:
                self._items.pop(op.namespace, None)
            return
        place = self._items.setdefault(op.namespace, {})
        now = datetime.now(UTC)
        known = place.get(op.key)
        place[op.key] = Item(
            value=snapshot(dict(op.value)),
            key=op.key,
            namespace=op.namespace,
            created_at=known.created_at if known else now,
            updated_at=now,
        )

    def _find(self, op: SearchOp, vectors: Vectors) -> list[SearchItem]:
        depth = len(op.namespace_prefix)
        found = (
            item
            for namespace, items in self._items.items()
            if namespace[:depth] == op.namespace_prefix
            for item in items.values()
            if all(_matches(item.value.get(field), want) for field, want in (op.filter or {}).items())
        )
        ranked: Iterable[tuple[float | None, Item]] = (
            self._index.ranked(found, vectors.queries[op.query])
            if op.query and self._index is not None
            else ((None, item) for item in found)
        )
        first = max(op.offset, 0)
        return [
            SearchItem(**_parts(item), score=score)
            for score, item in islice(ranked, first, first + max(op.limit, 0))
        ]

    def _namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        found = {
            namespace[: op.max_depth]
            for namespace in self._items
            if all(_fits(condition, namespace) for condition in op.match_conditions or ())
        }
        return sorted(found)[op.offset : op.offset + op.limit]


def _parts(item: Item) -> dict[str, Any]:
    parts = {name: getattr(item, name) for name in Item.__slots__}
    parts["value"] = snapshot(item.value)
    return parts


def _fits(condition: MatchCondition, namespace: Namespace) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    if condition.match_type == "prefix":
        part = namespace[: len(path)]
    elif condition.match_type == "suffix":
        part = namespace[len(namespace) - len(path) :]
    else:
        raise ValueError(f"match_type: {condition.match_type!r} is unknown; choose 'prefix' or 'suffix'")
    return all(want in ("*", label) for want, label in zip(path, part, strict=True))


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, want: bool(value == want),
    "$ne": lambda value, want: bool(value != want),
    "$gt": lambda value, want: float(value) > float(want),
    "$gte": lambda value, want: float(value) >= float(want),
    "$lt": lambda value, want: float(value) < float(want),
    "$lte": lambda value, want: float(value) <= float(want),
}


def _matches(value: Any, want: Any) -> bool:
    """Whether a field is what a filter wants; a mapping in the filter wants its keys only, at any depth."""
    if isinstance(want, dict):
        if any(key.startswith("$") for key in want):
            return all(_compare(value, operator, operand) for operator, operand in want.items())
        return isinstance(value, dict) and all(_matches(value.get(key), part) for key, part in want.items())
    if isinstance(want, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(want) and all(map(_matches, value, want))
    return bool(value == want)


def _compare(value: Any, operator: str, operand: Any) -> bool:
    compare = _OPERATORS.get(operator)
    if compare is None:
        raise ValueError(f"filter: {operator!r} is no operator; choose from {', '.join(_OPERATORS)}")
    if operator not in ("$eq", "$ne") and value is None:
        return False
    return compare(value, operand)
