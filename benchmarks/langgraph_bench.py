"""LangGraph's own benchmark graphs, from its source distribution, on either engine.

Its ``bench`` is run as it is, but for the two libraries that do the timing, which are given what only takes
down the graphs and their inputs. The second time LangGraph's names are answered by our engine, so that the
same source builds the same graphs with it; prebuilt agents stay LangGraph's, on our engine. Nothing of it is
in the repository.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import engine
from tests.conformance.alias import EngineFinder
from tests.conformance.suite import LANGGRAPH


@dataclass(slots=True)
class Graphs:
    """What ``bench`` builds with one engine."""

    #: Name, with ``_sync`` for those of the sync API → graph and input.
    runs: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    #: Answers the imports of LangGraph's names; None: they are its own.
    finder: EngineFinder | None = None
    modules: dict[str, ModuleType] = field(default_factory=dict)

    @contextmanager
    def imported(self) -> Iterator[None]:
        """Have imports by functions that run meanwhile answered as those of their modules were."""
        before = _taken_out()
        sys.modules.update(self.modules)
        if self.finder is not None:
            sys.meta_path.insert(0, self.finder)
        try:
            yield
        finally:
            if self.finder is not None:
                sys.meta_path.remove(self.finder)
            self.modules = _taken_out()
            sys.modules.update(before)


class _Runner:
    """Takes down what it is to time."""

    def __init__(self, found: Graphs) -> None:
        self._found = found

    def bench_async_func(self, name: str, _: Callable[..., Any], *given: Any, **__: Any) -> None:
        """Take down a graph for ``astream``."""
        self._found.runs[name] = (given[0], given[1])

    def bench_func(self, name: str, _: Callable[..., Any], *given: Any) -> None:
        """Take down a graph for ``stream``; not what has another thing timed."""
        if len(given) == 2:
            self._found.runs[name] = (given[0], given[1])


@cache
def graphs() -> tuple[Graphs, Graphs]:
    """Return the graphs as built with our engine, and with LangGraph.

    Raises:
        SourceMissingError: the source distribution is neither cached nor to be had.
    """
    ours, theirs = Graphs(finder=EngineFinder("engine")), Graphs()
    with tempfile.TemporaryDirectory() as folder:
        LANGGRAPH.unpack(Path(folder), lambda path: path.startswith("bench/"))
        sys.path.insert(0, folder)
        try:
            with ours.imported():
                memory: Any = importlib.import_module("langgraph.checkpoint.memory")
                # Not the one with LangGraph's serialiser that its tests ask for.
                memory.InMemorySaver = memory.MemorySaver = engine.InMemorySaver
                _build(ours)
            with theirs.imported():
                _build(theirs)
        finally:
            sys.path.remove(folder)
    return ours, theirs


def _build(found: Graphs) -> None:
    timing, loops = ModuleType("pyperf._runner"), ModuleType("uvloop")
    timing.Runner, loops.new_event_loop = (lambda: _Runner(found)), None  # type: ignore[attr-defined]
    stand_ins = {"pyperf": ModuleType("pyperf"), timing.__name__: timing, loops.__name__: loops}
    hidden = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    random.seed(28)  # so that the inputs of both are the same
    try:
        importlib.import_module("bench.__main__")
    finally:
        for name, module in hidden.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] in ("langgraph", "bench")]
    return {name: sys.modules.pop(name) for name in names}
