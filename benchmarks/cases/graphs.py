"""LangGraph's own 28 benchmark graphs, streamed to their end: with and without checkpoints, async and sync.

Much of what some of them cost is what their nodes do themselves, whoever runs them: that is measured, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from benchmarks.case import Comparison, Goal
from benchmarks.cases import ASYNC, SYNC, TRACED
from benchmarks.langgraph_bench import Graphs, graphs
from benchmarks.libraries import expect, on_loop
from benchmarks.providers import installed

_THREADS = count()


def asynchronous(row: str) -> Comparison:
    """Compare ``astream``."""
    return _compared(row, row.removeprefix(ASYNC), "astream")


def synchronous(row: str) -> Comparison:
    """Compare ``stream``."""
    return _compared(row, row.removeprefix(SYNC) + "_sync", "stream")


def traced(row: str) -> Comparison:
    """Compare ``astream`` with spans, log events and metrics to LangGraph's without."""
    return _compared(row, row.removeprefix(TRACED), "astream, ours with spans, log events, metrics")


def _compared(row: str, name: str, title: str) -> Comparison:
    ours, theirs = graphs()
    ends_with = _parts(theirs, name)
    run = _run(ours, name, ends_with)
    if row.startswith(TRACED):
        run = _flushed(run)
    return Comparison(
        name=row,
        title=title,
        unit="run",
        count=1,
        ours=run,
        theirs=_run(theirs, name, ends_with),
        nodes=_nodes(ours, name.removesuffix("_sync") + "_sync", ends_with),
        goal=Goal(aim=1 / 2),
    )


def _parts(side: Graphs, name: str) -> int:
    """Return how many parts a run has."""
    found: list[int] = []
    _run(side, name, None, found.append)()
    return found[0]


def _run(
    side: Graphs, name: str, parts: int | None, tell: Callable[[int], None] | None = None
) -> Callable[[], None]:
    """Return a function that streams a graph of ``bench`` in a thread of its own, as ``bench`` does."""
    graph, input = side.runs[name]
    saver = graph.checkpointer
    more: dict[str, Any] = {} if saver is None else {"durability": "exit"}

    def done(thread: str, found: int) -> None:
        if saver is not None:  # else each round would find a bigger heap than the one before
            saver.delete_thread(thread)
        if tell is not None:
            tell(found)
        if parts is not None:
            expect("parts", found, parts)

    def config(thread: str) -> dict[str, Any]:
        return {"configurable": {"thread_id": thread}, "recursion_limit": 1_000_000_000}

    async def arun() -> None:
        thread = str(next(_THREADS))
        done(thread, len([part async for part in graph.astream(input, config(thread), **more)]))

    def run() -> None:
        thread = str(next(_THREADS))
        done(thread, len(list(graph.stream(input, config(thread), **more))))

    return _imported(side, run if name.endswith("_sync") else on_loop(arun))


def _imported(side: Graphs, run: Callable[[], None]) -> Callable[[], None]:
    def imported() -> None:
        with side.imported():
            run()

    return imported


def _flushed(run: Callable[[], None]) -> Callable[[], None]:
    def flushed() -> None:
        run()
        expect("spans and log records at all", all(installed().flush()), True)

    return flushed


def _nodes(side: Graphs, name: str, parts: int) -> Callable[[], float]:
    """Return a function that runs a graph and returns the µs of CPU time that user code took.

    Its nodes and routers, and the making of its states, which are validated by its own code.
    """
    spent = [0.0]
    run = _run(side, name, parts)

    def measured() -> float:
        spent[0] = 0.0
        with _timed(side.runs[name][0].program, spent):
            run()
        return spent[0] * 1e6

    return measured


@contextmanager
def _timed(program: Any, spent: list[float]) -> Iterator[None]:
    calls = list(_calls(program))
    functions = [getattr(owner, name) for owner, name in calls]
    for (owner, name), function in zip(calls, functions, strict=True):
        setattr(owner, name, _timing(function, spent))
    try:
        yield
    finally:
        for (owner, name), function in zip(calls, functions, strict=True):
            setattr(owner, name, function)


def _calls(program: Any) -> Iterator[tuple[Any, str]]:
    """Yield where the functions are: owner and attribute."""
    for node in (program.start, *program.nodes.values()):
        if node.callback.subgraph is not None:
            yield from _calls(node.callback.subgraph.program)
        elif node is not program.start:
            call = node.callback.bare or node.callback
            yield call, "func"
        yield from ((branch.path, "func") for branch in node.branches)
        yield from ((one, "make") for one in (node, *node.branches) if one.make is not None)


def _timing(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()  # of all threads: prebuilt nodes have some of their own
        try:
            return function(*args, **kwargs)
        finally:
            spent[0] += time.process_time() - start

    return timed
