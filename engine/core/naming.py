"""The names of tasks and of their questions: derived from where they are, so that a resumed run finds them.

On a saver of LangGraph's they are those that LangGraph gives: what either has finished, the other need not
repeat.
"""

from __future__ import annotations

from typing import Any, Protocol

from xxhash import xxh3_128_hexdigest


class Named(Protocol):
    """A task, as far as its name depends on it."""

    seed: str
    step: int
    node: str
    path: tuple[Any, ...]
    triggers: tuple[str, ...]
    #: For an error handler: the task that failed.
    handles: Any


class Naming:
    """Names by XXH3, as LangGraph has them; a question's is the same as there."""

    __slots__ = ()

    def task(self, task: Named, path: tuple[str, ...]) -> str:
        """Return the id of a task; ``path`` is the namespace that it is in."""
        digest = xxh3_128_hexdigest(self._place(task, path))
        return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"

    def question(self, ns: str, answered: int) -> str:
        """Return the id of what the task at ``ns`` asks after so many answers."""
        return xxh3_128_hexdigest(_bytes(f"{ns}|{answered}" if answered else ns))

    def _place(self, task: Named, path: tuple[str, ...]) -> bytes:
        return _bytes(f"{task.seed}\0{path}\0{task.step}\0{task.node}\0{task.path}")


class LangGraphsNaming(Naming):
    """Names of tasks as LangGraph derives them: its parts in its order."""

    __slots__ = ()

    def _place(self, task: Named, path: tuple[str, ...]) -> bytes:
        checkpoint, _, index = task.seed.partition(":")
        try:
            seed = bytes.fromhex(checkpoint.replace("-", "")) + index.encode()
        except ValueError:  # a checkpoint that somebody has named by themselves
            seed = _bytes(task.seed)
        namespace = "|".join((*path, task.node))
        return seed + _bytes("".join((namespace, str(task.step), task.node, *_parts(task))))


def _parts(task: Named) -> tuple[str, ...]:
    kind, *path = task.path
    if task.handles is not None:
        return (kind, "node_error_handler", task.handles.id)
    if isinstance(path[0], tuple):  # a call of a functional task: its caller, and the how-manieth it is
        return (kind, _path(path[0]), str(path[1]))
    return (kind, str(path[0])) if isinstance(path[0], int) else (kind, *task.triggers)


def _path(part: Any) -> str:
    if isinstance(part, tuple):
        return f"~{', '.join(map(_path, part))}"
    return f"{part:010d}" if isinstance(part, int) else str(part)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


OWN = Naming()
_LANGGRAPHS = LangGraphsNaming()


def naming(*, langgraphs: bool) -> Naming:
    """Return how tasks are named on a saver of LangGraph's, or any other."""
    return _LANGGRAPHS if langgraphs else OWN
