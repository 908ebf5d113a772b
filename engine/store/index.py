"""Searching a store by meaning: the vectors of its items, and which come closest to a query's."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias, TypedDict

from anyio import to_thread

from .base import Item, Namespace, Op, PutOp, SearchOp

Vector: TypeAlias = Sequence[float]


class IndexConfig(TypedDict, total=False):
    """How items are indexed, in LangGraph's terms.

    ``embed``: LangChain's embeddings, their name ("openai:text-embedding-3-small"), or a function, sync or
    async, from a list of texts to their vectors. ``dims``: the length of a vector.
    ``fields``: paths of what is indexed unless ``put`` says otherwise, ``"$"`` for the whole item (the
    default); ``a.b``, ``a[0]``, ``a[-1]``, ``a[*].b``, ``{a,b}``.
    """

    dims: int
    embed: Any
    fields: list[str] | None


class Vectors(NamedTuple):
    """What a batch of operations was embedded to, by its texts."""

    texts: Mapping[str, Vector] = {}
    queries: Mapping[str, Vector] = {}


class Index:
    """The vectors of a store's items, one for each text in their indexed fields."""

    def __init__(self, config: IndexConfig) -> None:
        embed: Any = config.get("embed")
        if isinstance(embed, str):
            embed = import_module("langchain.embeddings").init_embeddings(embed)
        if not callable(embed) and not hasattr(embed, "embed_documents"):
            raise TypeError(
                f"index: embed is {embed!r}; give LangChain's embeddings, their name, or a function from "
                "texts to vectors"
            )
        self._embed: Any = embed
        self._fields = config.get("fields") or ["$"]
        self._vectors: dict[tuple[Namespace, str], list[Vector]] = {}

    def embed(self, ops: Iterable[Op]) -> Vectors:
        """Embed all that ``ops`` are about.

        Raises:
            TypeError: the function is async.
        """
        texts, queries = self._asked(ops)
        if not hasattr(self._embed, "embed_documents"):
            both = self._call([*texts, *queries])
            return Vectors(
                dict(zip(texts, both, strict=False)), dict(zip(queries, both[len(texts) :], strict=True))
            )
        found = self._embed.embed_documents(texts) if texts else []
        return Vectors(
            dict(zip(texts, found, strict=True)), {query: self._embed.embed_query(query) for query in queries}
        )

    def _call(self, texts: list[str]) -> list[Vector]:
        found: Any = self._embed(texts) if texts else []
        if inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()
            raise TypeError("index: embed is async: use aput and asearch, or give a sync function")
        return [*found]

    async def aembed(self, ops: Iterable[Op]) -> Vectors:
        """Do what :meth:`embed` does on an event loop, sync functions in a thread."""
        ops = [*ops]
        texts, queries = self._asked(ops)
        if hasattr(self._embed, "aembed_documents"):
            found = await self._embed.aembed_documents(texts) if texts else []
            asked = {query: await self._embed.aembed_query(query) for query in queries}
            return Vectors(dict(zip(texts, found, strict=True)), asked)
        if not inspect.iscoroutinefunction(self._embed):
            return await to_thread.run_sync(self.embed, ops)
        both = [*await self._embed([*texts, *queries])] if texts or queries else []
        return Vectors(
            dict(zip(texts, both, strict=False)), dict(zip(queries, both[len(texts) :], strict=True))
        )

    def _asked(self, ops: Iterable[Op]) -> tuple[list[str], list[str]]:
        texts: dict[str, None] = {}
        queries: dict[str, None] = {}
        for op in ops:
            if isinstance(op, PutOp):
                texts.update(dict.fromkeys(self._texts(op)))
            elif isinstance(op, SearchOp) and op.query:
                queries[op.query] = None
        return [*texts], [*queries]

    def _texts(self, op: PutOp) -> list[str]:
        if op.value is None or op.index is False:
            return []
        return [text for path in op.index or self._fields for text in texts_at(dict(op.value), path)]

    def note(self, op: PutOp, vectors: Vectors) -> None:
        """Keep the vectors of what was put, or forget them."""
        texts = self._texts(op)
        if texts:
            self._vectors[op.namespace, op.key] = [vectors.texts[text] for text in texts]
        else:
            self._vectors.pop((op.namespace, op.key), None)

    def ranked(self, items: Iterable[Item], query: Vector) -> list[tuple[float | None, Item]]:
        """Return ``items`` with their scores, the closest first, and last those that are not indexed."""
        scored: list[tuple[float, Item]] = []
        rest: list[tuple[float | None, Item]] = []
        for item in items:
            vectors = self._vectors.get((item.namespace, item.key))
            if vectors:
                scored.append((max(_cosine(query, vector) for vector in vectors), item))
            else:
                rest.append((None, item))
        scored.sort(key=lambda pair: -pair[0])
        return [*scored, *rest]


def _cosine(one: Vector, other: Vector) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


_STEP = re.compile(r"\[[^\]]*\]|\{[^}]*\}|[^.\[\]{}]+")


def texts_at(value: Any, path: str) -> list[str]:
    """Return the texts at a path of a value: what is no text is shown as JSON."""
    steps = [] if path in ("", "$") else _STEP.findall(path)
    return [text for found in _found(value, steps) for text in _as_text(found, whole=not steps)]


def _as_text(value: Any, *, whole: bool) -> list[str]:
    if isinstance(value, list | dict) or whole:
        return [json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)]
    return [str(value)] if isinstance(value, str | int | float) else []


def _found(value: Any, steps: Sequence[str]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    for inner in _inner(value, step):
        yield from _found(inner, rest)


def _inner(value: Any, step: str) -> Iterable[Any]:
    """Return what one step of a path leads to."""
    if step in ("*", "[*]"):
        return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if step.startswith("{"):
        names = [name.strip() for name in step[1:-1].split(",")]
        return [found for name in names for found in _found(value, _STEP.findall(name))]
    if step.startswith("["):
        place = step[1:-1]
        inside = isinstance(value, list) and place.lstrip("-").isdigit()
        return [value[int(place)]] if inside and -len(value) <= int(place) < len(value) else ()
    return [value[step]] if isinstance(value, dict) and step in value else ()
