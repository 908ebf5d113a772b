"""What a contender's process does with the graphs, LangGraph's or ours: run, break off, resume, fail."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from opentelemetry import trace

from benchmarks.peers import graphs

#: No run here ends by the limit.
UNLIMITED: dict[str, Any] = {"recursion_limit": 1_000_000}


class Scenes:
    """The scenes; ``config`` is what the peer wants in the config of every run."""

    def __init__(self, names: SimpleNamespace, config: dict[str, Any]) -> None:
        self._names = names
        self._config = {**UNLIMITED, "metadata": {"who": graphs.METADATA}, **config}
        self._input = {"secret": graphs.STATE, "found": []}
        self._asking = graphs.asking(names)

    async def plain(self) -> None:
        """Run the scene, nothing around it."""
        result = await graphs.scene(self._names).ainvoke(self._input, self._config)
        expected = [node for superstep in graphs.SUPERSTEPS for node in superstep]
        if result["found"] != expected:
            raise RuntimeError(f"the scene found {result['found']}, but it should find {expected}")

    async def nested(self) -> None:
        """Run it inside a span of the caller's."""
        with trace.get_tracer("user").start_as_current_span("request"):
            await self.plain()

    async def broken(self) -> None:
        """Leave the stream after its first part."""
        stream = graphs.scene(self._names).astream(self._input, self._config, stream_mode="updates")
        async with contextlib.aclosing(stream):
            async for _ in stream:
                break

    async def waiting(self) -> None:
        """Run until the node asks."""
        await self._asking.ainvoke(self._input, self._with_thread())

    async def resumed(self) -> None:
        """Answer, and go on to the end."""
        result = await self._asking.ainvoke(self._names.Command(resume="this one"), self._with_thread())
        if result["found"] != ["this one"]:
            raise RuntimeError(f"the resumed run found {result['found']}")

    async def failing(self) -> None:
        """Run until the node raises."""
        with contextlib.suppress(graphs.Refused):
            await graphs.failing(self._names).ainvoke(self._input, self._config)

    def _with_thread(self) -> dict[str, Any]:
        return {**self._config, "configurable": {"thread_id": graphs.THREAD}}

    def all(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return the scenes by name, in the order in which they are to be run."""
        return {
            "plain": self.plain,
            "nested": self.nested,
            "broken": self.broken,
            "waiting": self.waiting,
            "resumed": self.resumed,
            "failing": self.failing,
        }
