"""Streams of runs: the one module of the engine that knows ``Stream``.

``open_stream`` runs a graph in the background; its receivers hold what their consumers have not taken yet.
For LangGraph's ``stream`` and ``astream`` see ``pulled.py``; for receivers of every run, ``execution.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, cast

from anyio import get_cancelled_exc_class
from typing_extensions import TypeVar

from otel_stream.config import StreamConfig
from otel_stream.events import End, Event, Observer
from otel_stream.parts import StreamPart
from otel_stream.stream.receiver import Carrier, StreamReceiver, branch_configs, deadlock, opened
from otel_stream.stream.sink import Forwarder, Sink
from otel_stream.stream.stream import Stream
from otel_stream.stream.wakeup import CANCEL_TOKEN, CancelToken, Waiter, in_event_loop, waiter
from otel_stream.telemetry import consumer_for_run

from ..core.task import NodeTask, path_of
from ..errors import EXITS
from ..executors import Executor, ThreadExecutor, async_executor, drive
from ..executors.background import Background, InThread, Start, background
from ..graph.spec import GraphSpec
from ..run.loop import RunLoop
from ..types import Config
from .launch import caller_of, concurrency, launch, shown_path
from .options import Asked

ResultT = TypeVar("ResultT", default=Any)

_STOPPED = frozenset({End.CANCELLED, End.ABANDONED})


def audience(sinks: Iterable[Sink] = ()) -> Stream | None:
    """Return the stream to ``sinks`` and telemetry; None without either, so that nothing is built."""
    sinks = tuple(sinks)
    telemetry = consumer_for_run()
    if not sinks and telemetry is None:
        return None
    return Stream(sinks, telemetry)


class Relay(Forwarder):
    """Shows the parts of a run that a node streams itself to whoever watches the run around it, too.

    It holds nothing: whether there is room is up to those it shows them to.
    """

    def __init__(self, task: NodeTask, outer: Stream) -> None:
        super().__init__(StreamConfig(modes=outer.deep_modes, subgraphs=True, name="relay"))
        self._task = task
        self._outer = outer
        self._ns: tuple[str, ...] = ()

    def place(self, loop: RunLoop) -> None:
        """Say which run it is."""
        self._ns = shown_path(self._task, path_of(loop.env.run))

    def forward(self, part: StreamPart, event: Event | None) -> None:
        self._outer.relay(part, event, self._ns, self._task)

    @property
    def over_capacity(self) -> bool:
        return self._outer.full

    async def room(self, source: object = None, on_stall: object = None) -> None:
        await self._outer.drain()


def relay_outwards(task: NodeTask | None) -> Relay | None:
    """Return what shows the parts of a run that ``task`` makes to the run around it, if it wants them."""
    outer = task.env.observer if task is not None else None
    return Relay(task, outer) if task is not None and isinstance(outer, Stream) and outer.deep_modes else None


def inherited_observer(task: NodeTask | None) -> Observer | None:
    """Return the observer of the run that ``task`` belongs to, or the audience of a run of its own."""
    if task is None:
        return audience()
    observer: Observer | None = task.env.observer
    return observer


async def stop_and_wait(loop: RunLoop, running: Background, error: BaseException | None) -> None:
    """Stop a run that its consumer leaves because of ``error``, if any, and wait for its end.

    A consumer that is itself cancelled takes the run with it; one that just goes has abandoned it.
    """
    if loop.end is None:
        if not (in_event_loop() and isinstance(error, get_cancelled_exc_class())):
            loop.abandon()
        running.cancel()
    try:
        await running.wait()
    finally:
        loop.left()


# -- native --------------------------------------------------------------------------------------


class RunStream(Generic[ResultT]):
    """A run in the background and the receivers of its parts; a context manager and iterator, async or not.

    Entering it begins the run. Leaving it before the run has ended stops the run: its nodes are cancelled,
    its end is *abandoned*.
    """

    def __init__(
        self,
        graph: GraphSpec,
        input: Any,
        streams: Sequence[StreamConfig | Carrier],
        config: Config | None,
        asked: Asked,
        lasting: Iterable[StreamReceiver] = (),
    ) -> None:
        self.receivers: tuple[StreamReceiver, ...]
        #: One per ``StreamConfig``, in their order; beside them what takes the parts elsewhere.
        self.receivers, self._outgoing = opened(streams)
        self._launch = (graph, input, config, asked)
        self._caller = caller_of(graph, config)
        self._relay = relay_outwards(self._caller)
        relays = () if self._relay is None else (self._relay,)
        self._stream = Stream((*self.receivers, *self._outgoing, *lasting, *relays), consumer_for_run())
        self._stream.on_stall = self._run_stalls
        self._loop: RunLoop | None = None
        self._background: Background | None = None
        #: The receiver that the run has waited for in vain; and who wants to know.
        self._stalled: StreamReceiver | None = None
        self._waiting: deque[Waiter] = deque()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    def __enter__(self) -> Self:
        """Start the run in a thread of its own.

        Raises:
            RuntimeError: an event loop runs here, which waiting for parts would block.
        """
        if in_event_loop():
            raise RuntimeError("open_stream: 'with' would block the event loop; use 'async with'")
        copy_context().run(self._begin_in_thread)
        return self

    def _begin_in_thread(self) -> None:
        stop = CancelToken()
        CANCEL_TOKEN.set(stop)  # for its executor, and all that runs in it
        self._begin(ThreadExecutor, lambda start, context: InThread(start, context, stop))

    def start(self) -> None:
        """Start the run, in the event loop that is running here.

        Raises:
            RuntimeError: it was started before.
        """
        self._begin(async_executor, background)

    def _begin(
        self,
        execute: Callable[[int | None], Executor],
        run_beside: Callable[[Start, Context], Background],
    ) -> None:
        if self._loop is not None:
            raise RuntimeError("open_stream: this run has begun already; call it again for another one")
        graph, input, config, asked = self._launch
        detached = self._caller is not None
        try:
            executor = execute(concurrency(graph, config, self._caller))
            loop = launch(
                graph, input, config, asked, executor, self._stream, caller=self._caller, detached=detached
            )
        except BaseException as error:
            # Its end will never come otherwise, and lasting receivers would wait for it.
            self._stream.finish(End.ERROR, error)
            raise
        self._loop = loop
        for one in self._outgoing:
            one.belongs_to(loop.env.run.root.id)
        if self._relay is not None:
            self._relay.place(loop)
        self._background = run_beside(partial(self._run, loop, executor), loop.env.run.context.copy())

    async def _run(self, loop: RunLoop, executor: Executor) -> None:
        try:
            await loop.execute()
        finally:
            executor.close()
            self._tell()

    def _begun(self) -> tuple[RunLoop, Background]:
        if self._loop is None or self._background is None:
            raise RuntimeError(
                "open_stream: the run has not begun; enter it: 'async with graph.open_stream(...) as stream:'"
            )
        return self._loop, self._background

    def __aiter__(self) -> AsyncIterator[StreamPart]:
        """Iterate over the first receiver; raises what the run raised after its last part."""
        return self._first()

    def __iter__(self) -> Iterator[StreamPart]:
        """Do what ``async for`` does, where no event loop runs."""
        return self._first()

    def _first(self) -> StreamReceiver:
        self._begun()
        if not self.receivers:
            raise RuntimeError(
                "open_stream: nothing of this run is received here; give a StreamConfig beside the sink to "
                "iterate its parts, or await stream.wait()"
            )
        return self.receivers[0]

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._begun()[0].env.run.id

    @property
    def trace_id(self) -> str | None:
        """The id of the run's trace, None if it is not traced."""
        return self._loop.env.run.trace_id if self._loop is not None else None

    @property
    def end(self) -> End | None:
        """How the run ended, None while it goes on."""
        return self._loop.end if self._loop is not None else None

    @property
    def interrupts(self) -> tuple[Any, ...]:
        """What the run waits for."""
        return self._loop.interrupts if self._loop is not None else ()

    @property
    def result(self) -> ResultT:
        """The result of the run; raises what the run raised.

        Raises:
            RuntimeError: the run has not ended yet, or it was cancelled or left.
        """
        loop = self._loop
        if loop is None or loop.end is None:
            raise RuntimeError(
                "the run has not ended yet: iterate its stream to the end, or await stream.wait()"
            )
        if loop.end in _STOPPED and not isinstance(loop.error, EXITS):
            # Not the CancelledError itself: it would look as if whoever asks were cancelled.
            raise RuntimeError(f"the run has no result: it was {loop.end.value}") from loop.error
        if loop.error is not None:
            raise loop.error
        loop.raise_upwards()
        return cast("ResultT", loop.result)

    async def wait(self) -> ResultT:
        """Wait until the run has ended and return its result; raises what the run raised.

        Raises:
            StreamDeadlockError: the run has waited for ``stall_timeout`` for a full ``block`` receiver that
                nobody has ever read. It stays as it is: read the receiver, and wait again.
        """
        loop, running = self._begun()
        try:
            await self._news_of_the_end()
        except get_cancelled_exc_class() as error:
            try:
                await stop_and_wait(loop, running, error)
            finally:
                self._tell()
            raise
        await running.wait()
        return self.result

    async def _news_of_the_end(self) -> None:
        while True:
            news = waiter()
            self._waiting.append(news)
            if self.end is not None:
                return
            self._check_for_stall()
            await news.wait()

    def _run_stalls(self, receiver: StreamReceiver) -> None:
        self._stalled = receiver
        self._tell()

    def _tell(self) -> None:
        while self._waiting:
            self._waiting.popleft().wake()

    def _check_for_stall(self) -> None:
        full = self._stalled
        if full is not None and not full.was_read and full.makes_wait(self._stream):
            raise deadlock(full)

    def tee(self, *branches: int | StreamConfig | Iterable[StreamConfig]) -> tuple[StreamReceiver, ...]:
        """Attach more receivers, which get the parts from now on: one per config, or so many like the first.

        Two by default. They come behind the others in ``receivers``, and are closed with them. After the end
        of the run they are given just that.

        Raises:
            ConfigError: a number below 1, or there is no first receiver.
        """
        first = self.receivers[0].config if self.receivers else None
        made = tuple(StreamReceiver(config) for config in branch_configs(first, branches))
        self._stream.attach(*made)
        self.receivers = (*self.receivers, *made)
        return made

    def __await__(self) -> Generator[Any, Any, ResultT]:
        return self.wait().__await__()

    async def aclose(self) -> None:
        """Stop the run if it still goes on, wait for its end, and close the receivers."""
        await self._leave(None)

    async def _leave(self, error: BaseException | None) -> None:
        if self._background is not None and self._loop is not None:
            await stop_and_wait(self._loop, self._background, error)
        for receiver in self.receivers:
            receiver.close()
        self._tell()
        for one in self._outgoing:
            await one.aclose()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)
        if error is None and self._loop is not None:
            self._loop.raise_upwards()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drive(self._leave(error))
        if error is None and self._loop is not None:
            self._loop.raise_upwards()
