"""Runs that a program starts in its engine: clients follow them as they follow those that they start.

No run waits for it: what comes faster than it is taken is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import Any, Final, Protocol

from otel_stream.config import Custom, StreamConfig, StreamMode
from otel_stream.encoding import encode
from otel_stream.events import Event
from otel_stream.parts import StreamPart
from otel_stream.stream.sink import Forwarder
from otel_stream.trouble import placed
from otel_stream.web.graphs import LIFE, LIFE_MODE, Served
from otel_stream.web.problems import Problem
from otel_stream.web.runs import Asked, Hub, LiveRun

_logger = logging.getLogger(__name__)

#: What is kept of a run, for whoever comes to read it.
_MODES: Final[tuple[StreamMode, ...]] = ("values", "updates", "messages", "custom", "tasks")
#: Parts that are taken in a row before others of the loop have their turn.
_TURN: Final = 64
_FAILED: Final = frozenset({"error", "timeout", "recursion_limit"})


class Engine(Protocol):
    """What is asked of an ``ExecutionEngine``."""

    def attach(self, *receivers: Any) -> None:
        """Let receivers see every run from now on."""

    def open_stream(self, graph: Any, input: Any, *streams: Any, config: Any, **options: Any) -> Any:
        """Return a run of a graph, to be begun."""


class SeenRun(LiveRun):
    """A run that was started elsewhere in this process: it is followed, and not to be stopped from here."""

    ours = False

    def stop(self) -> None:
        if not self.ended.is_set():
            raise Problem(409, "The run was started by its program, which alone can stop it.")


class Watching(Forwarder):
    """Takes what ``engine`` shows of its runs into ``hub``, in the loop in which that serves.

    What can't be taken as fast as it comes is dropped, and its readers are told; never beginnings and ends.
    """

    lasting = True

    def __init__(self, hub: Hub, engine: Engine) -> None:
        modes: tuple[StreamMode | Custom, ...] = (LIFE_MODE, *_MODES)
        super().__init__(StreamConfig(modes=modes, subgraphs=True, include_end=True, name="otel_stream.web"))
        self._hub = hub
        self._engine = engine
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Parts to be taken, each with how many of its run were dropped before it.
        self._held: deque[tuple[StreamPart, int]] = deque()
        #: How many were dropped since the last that is held, by run.
        self._lost: Counter[str | None] = Counter()
        self._due = False

    def begin(self) -> None:
        """See every run from now on, in the running loop; a second call changes nothing."""
        if self._loop is None:
            self._engine.attach(self)
        if self._loop is None or self._loop.is_closed():
            self._loop, self._due = asyncio.get_running_loop(), False

    def stop(self) -> None:
        """Do nothing: readers are ended, and the engine's runs are its own."""

    def close(self) -> None:
        """Let the engine go; runs that go on are not followed any more."""
        self._leave()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._held.clear()
        for run in self._hub.seen:
            run.finish("interrupted")

    def forward(self, part: StreamPart, event: Event | None) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():  # the server has gone without a word
            return
        if len(self._held) >= self._hub.limits.events and part.type not in {LIFE, "end"}:
            self._lost[part.run_id] += 1
            return
        self._held.append((part, self._lost.pop(part.run_id, 0)))
        if not self._due:
            self._due = True
            loop.call_soon_threadsafe(self._take_some)

    def _take_some(self) -> None:
        assert self._loop is not None
        self._due = False  # before it is looked: what comes from now on calls again
        for _ in range(min(_TURN, len(self._held))):
            self._take(*self._held.popleft())
        if self._held and not self._due:
            self._due = True
            self._loop.call_soon(self._take_some)

    def _take(self, part: StreamPart, lost: int) -> None:
        run = self._hub.known(part.run_id or "")
        if run is None and part.type == LIFE and not part.ns and part.data["event"] == "started":
            run = self._begin(part)
        if run is None or run.ours or run.ended.is_set():
            return
        try:
            if lost:
                run.feed.append("otel", encode({"lost": lost}))
            _tell(run, part)
        except Exception as error:  # noqa: BLE001 - whatever a value of a run does when it is written
            run.fail(type(error).__name__, "A part of the run can't be shown.")
            run.finish("error")
            _logger.warning("A run can't be shown any longer: %s", placed(error))

    def _begin(self, part: StreamPart) -> LiveRun | None:
        hub, id, name = self._hub, part.run_id or "", part.data["graph"]
        if len(hub.seen) >= hub.limits.active_runs:
            hub.unseen += 1
            if hub.unseen == 1:
                _logger.warning("More runs go on than Limits.active_runs: those that begin now are not shown")
            return None
        thread_id = part.data["thread_id"] or id
        thread = hub.threads.get(thread_id) or hub.create(thread_id)
        served = hub.graphs.get(name)
        if served is None:
            thread.metadata["graph_id"] = name
        asked = Asked(modes=_MODES, subgraphs=True, run_id=id)
        run = SeenRun(thread, served or Served(name, None), asked, hub.limits, hub.pace, texts=hub.texts)
        run.status = "running"
        hub.add(run, None if served is None else name)
        return run


def _tell(run: LiveRun, part: StreamPart) -> None:
    if part.type == "values" and not part.ns:
        run.result = run.thread.values = part.data
    run.take(part)
    if part.type == "end":
        end, error = part.data["end"], part.data["error"]
        if end in _FAILED:
            run.fail_with(error)
        run.finish("error" if end in _FAILED else "success" if end in {"ok", "drained"} else "interrupted")
