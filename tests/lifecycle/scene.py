"""One superstep with everything in it that a run can leave behind, and what became of it.

``loose`` is an async node, ``threaded`` a sync one, ``nested`` a subgraph with one of each; ``last`` does
what the way wants. The first three stay until they are released, cancelled, or told to go.
"""

import asyncio
import operator
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import anyio
import anyio.to_thread
import trio

from engine import START, RunControl, Runtime, StateGraph
from otel_stream import events as e
from otel_stream.config import Custom
from tests.engine.recorder import unbalanced

#: Seconds after which a scene that hangs has failed.
PATIENCE = 20


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Scene:
    """A graph, everything it reports, and who is inside."""

    def __init__(self, *, on_loop: bool = True) -> None:
        self.on_loop = on_loop
        self.control = RunControl()
        self.events: list[e.Event] = []
        self.came: list[str] = []
        self.left: list[str] = []
        self.released = threading.Event()
        self._gate = anyio.Event() if on_loop else None
        self._lock = threading.Lock()
        #: Set once everybody is inside.
        self.full = threading.Event()
        #: A mode without parts: it keeps the events, whoever else is told of them.
        self.mode = Custom(self.events.append, "all")

    # -- the nodes ---------------------------------------------------------------------------

    def _come(self, name: str) -> None:
        with self._lock:
            self.came.append(name)
            if len(self.came) == 4:
                self.full.set()

    def _staying(self, name: str) -> Callable[..., Any]:
        async def stay(state: Any) -> dict[str, Any]:
            self._come(name)
            try:
                assert self._gate is not None
                await self._gate.wait()
                return {"log": [name]}
            finally:
                self.left.append(name)

        return stay if self.on_loop else self._staying_in_thread(name)

    def _staying_in_thread(self, name: str) -> Callable[..., Any]:
        def stay(state: Any, runtime: Runtime) -> dict[str, Any]:
            self._come(name)
            while not (runtime.cancelled or self.released.wait(0.001)):
                pass
            self.left.append(name)
            return {"log": [name]}

        return stay

    def graph(self, last: Callable[..., Any], *, again: bool = False, **options: Any) -> Any:
        """Return the graph. ``last(state)`` is the fourth node; with ``again`` it comes again and again."""
        inner = StateGraph(State)
        inner.add_node("inside", self._staying("inside")).add_edge(START, "inside")
        inner.add_node("deep", self._staying_in_thread("deep")).add_edge(START, "deep")
        outer = StateGraph(State)
        outer.add_node("loose", self._staying("loose")).add_edge(START, "loose")
        outer.add_node("threaded", self._staying_in_thread("threaded")).add_edge(START, "threaded")
        outer.add_node("nested", inner.compile(name="inner")).add_edge(START, "nested")
        outer.add_node("last", last, **options).add_edge(START, "last")
        if again:
            outer.add_edge("last", "last")
        return outer.compile(name="outer")

    async def all_inside(self) -> None:
        """Wait until the four that stay are inside."""
        assert await anyio.to_thread.run_sync(self.full.wait, PATIENCE)

    def release(self) -> None:
        """Let them go; on the event loop's thread, if there is one."""
        self.released.set()
        if self._gate is not None:
            self._gate.set()

    # -- what became of it -------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the root run has ended."""
        return any(isinstance(event, e.RunEnded) and event.run.parent is None for event in self.events)

    def check(self, runs: list[tuple[str, str]]) -> None:
        """Compare the ends of the runs; everything that began has ended, once, and nobody is left inside."""
        assert unbalanced(self.events) == []
        ended = [event for event in self.events if isinstance(event, e.RunEnded)]
        assert [(event.run.graph, event.end.value) for event in ended] == runs
        assert isinstance(self.events[-1], e.RunEnded)
        assert sorted(self.left) == sorted(self.came)


def living(backend: str) -> int:
    """Return how many tasks the event loop has."""
    if backend == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def working() -> set[str]:
    """Return the threads there are, but for the event loop's, which wait for more work."""
    idle = ("graph worker", "AnyIO worker", "Trio thread", "asyncio_")
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith(idle)}
