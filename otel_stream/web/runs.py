"""Runs in progress and what is left of them: started, followed, cancelled; and the threads they belong to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from urllib.parse import quote
from uuid import uuid4

from otel_stream.encoding import encode
from otel_stream.parts import INTERRUPT, StreamPart, message_id, v1_payload
from otel_stream.trouble import placed
from otel_stream.web.feed import Feed
from otel_stream.web.graphs import LIFE, Served
from otel_stream.web.limits import Limits
from otel_stream.web.pace import Pace
from otel_stream.web.problems import Problem
from otel_stream.web.wire import EventStream

_logger = logging.getLogger(__name__)

#: Characters that an id of a thread may have.
_LONGEST_ID: Final = 1_000
#: Statuses of runs that go on, in LangGraph's words.
GOING: Final = frozenset({"pending", "running"})


@dataclass(slots=True)
class Asked:
    """What a client asks of a run. ``modes`` are those that are shown, and recorded."""

    input: Any = None
    command: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    modes: Sequence[str] = ("values",)
    options: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Whether chunks of a message are shown joined, each time the whole of it.
    joined: bool = False
    #: Whether parts of subgraphs are shown, also to who comes back.
    subgraphs: bool = False
    run_id: str | None = None


@dataclass(slots=True)
class Thread:
    """A conversation. ``values`` is its last state where no checkpointer keeps one."""

    id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    updated_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    graph: str | None = None
    values: Any = None
    interrupts: tuple[Any, ...] = ()
    runs: dict[str, LiveRun] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Set whenever a run of it begins.
    news: asyncio.Event = field(default_factory=asyncio.Event)
    #: Whether it is forgotten: nothing will happen in it any more.
    gone: bool = False
    #: What happens in it in the words of the thread-centric protocol, once somebody has spoken that.
    told: Teller | None = None

    @property
    def going(self) -> list[LiveRun]:
        """The runs of it that have not ended, the oldest first."""
        return [run for run in self.runs.values() if run.status in GOING]

    @property
    def status(self) -> str:
        """What it is doing, in LangGraph's words."""
        if self.going:
            return "busy"
        last = next(reversed(self.runs.values()), None)
        if last is not None and last.status == "error":
            return "error"
        return "interrupted" if self.interrupts else "idle"


class Teller(Protocol):
    """Tells what happens in a thread in other words than those of runs."""

    @property
    def feed(self) -> Feed:
        """What was told."""
        raise NotImplementedError

    def part(self, part: StreamPart) -> None:
        """Tell a part of a run."""
        raise NotImplementedError

    def ends(self, run: LiveRun) -> None:
        """Tell that a run has ended."""
        raise NotImplementedError


class LiveRun:
    """One run: its feed of events for whoever reads it, and its status."""

    #: Whether it is started, and may be stopped, here.
    ours = True

    def __init__(
        self, thread: Thread, served: Served, asked: Asked, limits: Limits, pace: Pace, *, texts: bool
    ) -> None:
        self.id = asked.run_id or str(uuid4())
        self.thread = thread
        self.served = served
        self.asked = asked
        self.feed = Feed(limits.events, limits.event_bytes, pace)
        self.status = "pending"
        self.created_at = datetime.now(UTC).isoformat()
        self.trace_id: str | None = None
        self.span_id: str | None = None
        self.result: Any = None
        #: What it failed with, as its clients may know it.
        self.error: dict[str, str] | None = None
        self.interrupts: tuple[Any, ...] = ()
        self.ended = asyncio.Event()
        self._texts = texts
        self._pace = pace
        self._task: asyncio.Task[None] | None = None
        #: Chunks of messages that have come so far, by id.
        self._partial: dict[str, Any] = {}

    @property
    def place(self) -> str:
        """Its path, as it may stand in a header: of ids, clients choose some."""
        return f"/threads/{quote(self.thread.id, safe='')}/runs/{self.id}"

    def start(self) -> None:
        """Begin, behind what goes on in the thread."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"run {self.id}")
        self._task.add_done_callback(lambda _: self.finish("interrupted"))  # it may never have begun

    def stop(self) -> None:
        """Stop it; ``ended`` is set once it has."""
        if self._task is not None and not self._task.done():
            self._task.cancel()

    async def cancel(self) -> None:
        """Stop it, and wait for its end."""
        self.stop()
        await self.ended.wait()

    async def _run(self) -> None:
        status = "interrupted"
        try:
            async with self.thread.turn:
                for run in self.thread.going:
                    if not run.ours:
                        await run.ended.wait()
                self.status = "running"
                status = await self._follow()
        except asyncio.CancelledError:
            self.fail("Cancelled", "The run was cancelled.")
        except Exception as error:  # noqa: BLE001 - whatever the run raised
            status = "error"
            self.fail_with(error)
            _logger.debug("A run that was asked for by a client has failed: %s", placed(error))
        self.finish(status)

    def finish(self, status: str) -> None:
        """Say how it has ended; what comes first is so."""
        if self.ended.is_set():
            return
        # Whoever sees the stream end asks for the status: it is known first.
        self.status = status
        self.thread.interrupts = self.interrupts
        self.thread.updated_at = datetime.now(UTC).isoformat()
        self._partial.clear()
        self._pace.runs -= 1
        if self.thread.told is not None:
            self.thread.told.ends(self)
        self.feed.close()
        self.ended.set()

    def fail_with(self, error: BaseException) -> None:
        """Say that the run has raised ``error``."""
        self.fail(type(error).__name__, str(error) if self._texts else _NO_TEXT)

    def fail(self, kind: str, text: str) -> None:
        """Say what went wrong, as the last event."""
        self._begin_if_not()
        self.error = {"error": kind, "message": text}
        self.feed.append("error", encode(self.error))

    async def _follow(self) -> str:
        asked, served = self.asked, self.served
        input = asked.input if asked.command is None else served.command(asked.command)
        modes: Any = [mode for mode in asked.modes if mode != LIFE]
        async with served.open(input, self._config(), modes, asked.options) as stream:
            async for part in stream:
                self.take(part)
            self.result = await stream.wait()
        if not served.keeps_threads:
            self.thread.values = self.result
        return "interrupted" if self.interrupts else "success"

    def _config(self) -> dict[str, Any]:
        said = self.asked.config
        configurable = {**said.get("configurable", {}), "thread_id": self.thread.id}
        metadata = {**said.get("metadata", {}), **self.asked.metadata, "run_id": self.id}
        return {**said, "configurable": configurable, "metadata": metadata, "run_id": _as_uuid(self.id)}

    def _begin_if_not(self) -> None:
        if self.feed.next == 0:
            about = {"run_id": self.id, "attempt": 1}
            if self.trace_id is not None:
                about |= {"trace_id": self.trace_id, "span_id": self.span_id}
            self.feed.append("metadata", encode(about))

    def take(self, part: StreamPart) -> None:
        """Tell readers a part of the run."""
        if self.trace_id is None:
            self.trace_id, self.span_id = part.trace_id, part.span_id
        self._begin_if_not()
        if self.thread.told is not None:
            self.thread.told.part(part)
        name = part.type
        if name == "end":
            self.interrupts = tuple(part.data.get("interrupts") or ())
        elif name == "messages":
            self._take_message(part)
        else:
            where = "|".join((name, *part.ns)) if part.ns else name
            self.feed.append(where, encode(_shown(v1_payload(part), name)), part)

    def _take_message(self, part: StreamPart) -> None:
        chunk, metadata = part.data
        place = f"|{'|'.join(part.ns)}" if part.ns else ""
        if not self.asked.joined:
            self.feed.append(f"messages{place}", encode([chunk, _public(metadata)]), part)
            return
        id = message_id(part) or ""
        before = self._partial.get(id)
        if before is None:
            self.feed.append(f"messages/metadata{place}", encode({id: {"metadata": _public(metadata)}}), part)
        whole = self._partial[id] = chunk if before is None else before + chunk
        self.feed.append(f"messages/partial{place}", encode([whole]), part)

    def to_json(self) -> dict[str, Any]:
        """Return what LangGraph's clients are told of a run."""
        return {
            "run_id": self.id,
            "thread_id": self.thread.id,
            "assistant_id": self.served.assistant_id,
            "created_at": self.created_at,
            "updated_at": self.thread.updated_at,
            "status": self.status,
            "metadata": {**self.asked.metadata, **({"trace_id": self.trace_id} if self.trace_id else {})},
            "kwargs": {},
            "multitask_strategy": "enqueue",
        }


_NO_TEXT: Final = "The run failed; its trace says why."


def _as_uuid(id: str) -> Any:
    from uuid import UUID

    return UUID(id)


def _public(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata without what is between a program and its engine."""
    return {
        name: value
        for name, value in metadata.items()
        if not str(name).startswith(("__", "langgraph_auth", "langgraph_request"))
    }


def _shown(data: Any, mode: str) -> Any:
    if mode in {"checkpoints", "debug"} and isinstance(data, Mapping):
        return _without_secrets(data)
    if mode == "updates" and isinstance(data, Mapping) and INTERRUPT in data:
        return {INTERRUPT: list(data[INTERRUPT])}
    return data


def _without_secrets(value: Any) -> Any:
    """Return a config's mapping, and those in it, without what is between a program and its engine."""
    if isinstance(value, Mapping):
        return {
            name: _without_secrets(one) if name in _CONFIGS else one for name, one in _public(value).items()
        }
    return value


_CONFIGS: Final = frozenset({"config", "parent_config", "configurable", "metadata", "payload", "state"})


class Beside(Protocol):
    """What goes on in a server besides the runs that clients start."""

    def begin(self) -> None:
        """Begin in the running loop, unless it has begun."""

    def stop(self) -> None:
        """End its streams, as the server is about to stop; runs go on."""

    def close(self) -> None:
        """End."""


class Hub:
    """All threads and runs of one server."""

    def __init__(self, graphs: Mapping[str, Served], limits: Limits, *, texts: bool = False) -> None:
        self.graphs = graphs
        self.limits = limits
        self.threads: dict[str, Thread] = {}
        self.subscribers = 0
        #: Whose turn it is to be sent something.
        self.pace = Pace()
        #: Set when the server is about to stop: streams end, with a reason.
        self.stopping = asyncio.Event()
        #: Whether clients are told the text of an exception.
        self.texts = texts
        #: What goes on besides the runs that clients start.
        self.beside: list[Beside] = []
        #: How many runs of an engine were not shown, as too many went on.
        self.unseen = 0
        self._runs: dict[str, LiveRun] = {}

    def begin(self) -> None:
        """Let begin what goes on besides, in the running loop, if it has not."""
        self.pace.loop = asyncio.get_running_loop()
        for one in self.beside:
            one.begin()

    def graph(self, name: str | None) -> Served:
        """Return a graph by its name or its assistant's id; without either the only one.

        Raises:
            Problem: there is none, or several to choose from.
        """
        if name is None and len(self.graphs) == 1:
            return next(iter(self.graphs.values()))
        for served in self.graphs.values():
            if name in (served.name, served.assistant_id):
                return served
        raise Problem(
            404, f"assistant_id={str(name)[:80]!r} is not served: there are {', '.join(self.graphs)}."
        )

    def create(self, id: str | None = None, metadata: Mapping[str, Any] | None = None) -> Thread:
        """Make a thread; of those that nothing goes on in, the oldest is forgotten if there are too many."""
        thread = Thread(id or str(uuid4()))
        if len(thread.id) > _LONGEST_ID:
            raise Problem(422, f"thread_id has more than {_LONGEST_ID} characters.")
        self.describe(thread, metadata)
        self.threads[thread.id] = thread
        if len(self.threads) > self.limits.threads:
            idle = next((one for one in self.threads.values() if not one.going and one is not thread), None)
            if idle is None:
                del self.threads[thread.id]
                raise Problem(503, "There are too many threads in use: try again later.")
            self.forget(idle)
        return thread

    def describe(self, thread: Thread, metadata: Mapping[str, Any] | None) -> None:
        """Add to what is said of a thread.

        Raises:
            Problem: that is too much.
        """
        said = {**thread.metadata, **(metadata or {})}
        if metadata and len(encode(said)) > self.limits.metadata_bytes:
            raise Problem(413, f"metadata of a thread may have {self.limits.metadata_bytes} bytes as JSON.")
        thread.metadata = said

    def forget(self, thread: Thread) -> None:
        """Forget a thread and its runs; whoever reads it has come to the end."""
        self.threads.pop(thread.id, None)
        thread.gone = True
        thread.news.set()
        if thread.told is not None:
            thread.told.feed.close()
        for id in thread.runs:
            self._runs.pop(id, None)

    async def thread(self, id: str, *, create: bool = False) -> Thread:
        """Return a thread, also one that only a checkpointer knows.

        Raises:
            Problem: nobody knows it, and it is not to be made.
        """
        known = self.threads.get(id)
        if known is not None:
            return known
        for served in self.graphs.values():
            if served.keeps_threads:
                state = await served.graph.aget_state({"configurable": {"thread_id": id}})
                if state.created_at is not None:
                    made = self.threads.get(id) or self.create(id)
                    made.graph, made.interrupts = served.name, tuple(state.interrupts)
                    return made
        if create:
            return self.threads.get(id) or self.create(id)
        raise Problem(404, f"Thread {id[:80]!r} is not known.")

    def has_room(self, feed: Feed | None = None) -> None:
        """Refuse one more reader, of ``feed`` or of a run that is about to begin, if there are too many.

        Raises:
            Problem: there are.
        """
        full = feed is not None and feed.readers >= self.limits.subscribers_per_run
        if full or self.subscribers >= self.limits.subscribers:
            raise Problem(503, "Too many read already: try again later.")

    def stream(self, chunks: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> EventStream:
        """Return the response that sends a reader what ``chunks`` yields."""
        return EventStream(chunks, self.limits, headers, self.pace)

    def run(self, thread: Thread, id: str) -> LiveRun:
        """Return a run of a thread.

        Raises:
            Problem: it has none of that id, or it is too long ago.
        """
        found = thread.runs.get(id)
        if found is None:
            raise Problem(404, f"Run {id[:80]!r} of this thread is not known.")
        return found

    async def start(self, thread: Thread, served: Served, asked: Asked, strategy: str = "enqueue") -> LiveRun:
        """Begin a run; ``strategy`` says what becomes of one that goes on in the thread.

        Raises:
            Problem: the thread is busy, or there are too many runs.
        """
        going = thread.going
        if going and strategy == "reject":
            raise Problem(409, "The thread is busy: wait for its run, or choose another multitask_strategy.")
        if sum(run.status in GOING for run in self._runs.values()) >= self.limits.active_runs:
            raise Problem(503, "There are too many runs in progress: try again later.")
        if self.stopping.is_set():
            raise Problem(503, "The server is about to stop.")
        if asked.run_id is not None and asked.run_id in self._runs:
            raise Problem(409, f"Run {asked.run_id!r} is known already.")
        if strategy in {"interrupt", "rollback"}:
            for run in going:
                await run.cancel()
        run = LiveRun(thread, served, asked, self.limits, self.pace, texts=self.texts)
        self.add(run, served.name)
        run.start()
        return run

    def add(self, run: LiveRun, graph: str | None) -> None:
        """Take up a run that begins now; ``graph`` is what knows its thread's state, if anything does."""
        thread = run.thread
        thread.graph = graph or thread.graph
        thread.runs[run.id] = self._runs[run.id] = run
        self.pace.runs += 1
        self._let_go()
        news, thread.news = thread.news, asyncio.Event()
        news.set()

    def known(self, id: str) -> LiveRun | None:
        """Return a run by its id, None if there is none, or it is too long ago."""
        return self._runs.get(id)

    @property
    def seen(self) -> list[LiveRun]:
        """The runs in progress that were started elsewhere in this process."""
        return [run for run in self._runs.values() if run.status in GOING and not run.ours]

    def _let_go(self) -> None:
        """Forget the oldest of the runs that have ended, if they are too many, or too much."""
        ended = [run for run in self._runs.values() if run.status not in GOING]
        size = 0
        for number, run in enumerate(reversed(ended)):
            size += run.feed.size
            if number >= self.limits.ended_runs or size > self.limits.ended_bytes:
                del self._runs[run.id]
                run.thread.runs.pop(run.id, None)

    def end_streams(self) -> None:
        """End all streams, with the reason; runs go on. From any thread."""
        self.pace.hurry = True
        self.stopping.set()
        loop = self.pace.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._tell_readers)

    def _tell_readers(self) -> None:
        for one in self.beside:
            one.stop()
        for run in self._runs.values():
            run.feed.tell()
        for thread in self.threads.values():
            if thread.told is not None:
                thread.told.feed.tell()

    async def aclose(self, seconds: float = 10.0) -> None:
        """End all streams, wait ``seconds`` for what runs, and cancel the rest; checkpoints remain."""
        self.end_streams()
        for one in self.beside:
            one.close()
        going = [run for run in self._runs.values() if run.status in GOING]
        if going:
            await asyncio.wait([asyncio.ensure_future(run.ended.wait()) for run in going], timeout=seconds)
            await asyncio.gather(*(run.cancel() for run in going if run.status in GOING))
