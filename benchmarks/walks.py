"""The walks of ``docs/architecture.md``, traced: what lies between a node's answer and its consumer, say.

``python -m benchmarks.walks`` prints them. A walk goes from stop to stop; a hop of it is a function on the
stack at a stop, so what is asked on the way and answers at once is none. ``--all`` prints everything of ours
that is called meanwhile. Of a resume it is also counted what only a resume calls, on the stack or not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypedDict

from engine import START, Command, InMemorySaver, StateGraph, interrupt
from otel_stream import StreamConfig

ROOT = Path(__file__).parent.parent
OURS = tuple(f"{ROOT / name}/" for name in ("engine", "otel_stream"))


class State(TypedDict, total=False):
    """The state of the graphs that are walked through."""

    n: int


@dataclass
class Walk:
    """Hops, as ``file: function``, in the order in which they are first come by."""

    stops: tuple[str, ...]
    #: Where the stacks begin: who calls that is no part of the walk.
    top: str = ""
    hops: dict[str, None] = field(default_factory=dict)
    called: dict[str, None] = field(default_factory=dict)
    #: What is called without being special to the walk, if that is known.
    usual: dict[str, None] | None = None

    def begin(self) -> None:
        """Trace from here on."""
        sys.setprofile(self._look)

    def end(self) -> None:
        """Trace no more."""
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(OURS):
            return
        self.called[_shown(frame)] = None
        if frame.f_code.co_qualname in self.stops:
            self.hops.update(dict.fromkeys(reversed(_stack(frame, self.top))))

    def files(self, *, all: bool = False) -> dict[str, list[str]]:
        """Return the files, each with its functions."""
        return _by_file(self.called if all else self.hops)

    def own_files(self) -> dict[str, list[str]]:
        """Return the files of what is called in this walk only."""
        return _by_file(hop for hop in self.called if hop not in (self.usual or ()))


def _by_file(hops: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for hop in hops:
        file, _, name = hop.partition(": ")
        found.setdefault(file, []).append(name)
    return found


def _shown(frame: FrameType) -> str:
    file = Path(frame.f_code.co_filename).relative_to(ROOT).as_posix()
    return f"{file}: {frame.f_code.co_qualname}"


def _stack(frame: FrameType | None, top: str) -> list[str]:
    found = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(OURS):
            found.append(_shown(frame))
            if frame.f_code.co_qualname == top:
                break
        frame = frame.f_back
    return found


async def update() -> Walk:
    """From what a node returns to the consumer's ``__anext__``; the first superstep has set the stream up."""
    stops = ("Node.writes_of", "Buffer.putting.<locals>.put", "StreamReceiver.take_nowait")
    walk = Walk(stops, top="RunLoop.execute")

    async def first(_: State) -> State:
        return {"n": 1}

    async def second(_: State) -> State:
        walk.begin()
        return {"n": 2}

    builder = StateGraph(State).add_node("first", first).add_node("second", second)
    graph = builder.add_edge(START, "first").add_edge("first", "second").compile()
    async with graph.open_stream({"n": 0}, StreamConfig(modes="updates")) as stream:
        parts = [await anext(stream.receivers[0]), await anext(stream.receivers[0])]
        walk.end()
    _expect([part.data for part in parts], [{"first": {"n": 1}}, {"second": {"n": 2}}])
    return walk


async def end() -> Walk:
    """From the last superstep of a run to the end of its consumer's iteration."""
    stops = ("run_ended", "StreamReceiver.finish", "StreamReceiver._last_words")
    walk = Walk(stops, top="RunLoop.execute")

    async def node(_: State) -> State:
        return {"n": 1}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
    async with graph.open_stream({"n": 0}, StreamConfig(modes="updates")) as stream:
        await anext(stream.receivers[0])
        walk.begin()
        _expect([part async for part in stream], [])
        walk.end()
    return walk


async def resume() -> Walk:
    """From ``ainvoke(Command(resume=...))`` to the node's answer, and to where what it writes is stored."""
    stops = ("Saver.get", "State.load", "give_answers", "Checkpoints.take_answer", "Saver.put")
    walk = Walk(stops)

    async def node(_: State) -> State:
        return {"n": interrupt("how many?")}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    await graph.ainvoke({"n": 0}, config)
    walk.begin()
    result = await graph.ainvoke(Command(resume=3), config)
    walk.end()
    _expect(result, {"n": 3})
    walk.usual = await _first_run()
    return walk


async def _first_run() -> dict[str, None]:
    """Return what is called as a thread begins, and nobody is asked anything."""
    walk = Walk(())

    async def node(_: State) -> State:
        return {"n": 1}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(InMemorySaver())
    walk.begin()
    await graph.ainvoke({"n": 0}, {"configurable": {"thread_id": "1"}})
    walk.end()
    return walk.called


async def in_thread() -> Walk:
    """From the loop to a sync node in its thread."""
    walk = Walk(("LoopExecutor._in_thread", "InThread.result"))

    def node(_: State) -> State:
        return {"n": 1}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
    walk.begin()
    result = await graph.ainvoke({"n": 0})
    walk.end()
    _expect(result, {"n": 1})
    return walk


WALKS: dict[str, Callable[[], Coroutine[Any, Any, Walk]]] = {
    "update": update,
    "end": end,
    "resume": resume,
    "thread": in_thread,
}


def _expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise RuntimeError(f"a walk came out wrong: {got!r} instead of {wanted!r}")


def main(*, all: bool) -> None:
    """Print the walks."""
    for name, trace in WALKS.items():
        walk = asyncio.run(trace())
        files = walk.files(all=all)
        hops = sum(len(names) for names in files.values())
        only = f"; only here: {len(walk.own_files())} files" if walk.usual is not None else ""
        asked = len(walk.files(all=True))
        print(f"{name}: {hops} hops in {len(files)} files{only}; called in all: {asked} files")
        for file, names in files.items():
            print(f"    {file}: {', '.join(names)}")


if __name__ == "__main__":
    main(all="--all" in sys.argv[1:])
