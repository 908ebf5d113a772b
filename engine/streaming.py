"""Streams of runs: the one module of the engine that knows ``Stream``.

Four ways to get at the same parts: ``open_stream`` (native, bounded, in the background), ``astream`` and
``stream`` (LangGraph's: the run advances as its caller iterates), and ``ExecutionEngine`` (receivers that
see every run).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from anyio import get_cancelled_exc_class

from otel_stream.config import StreamConfig, parse_modes
from otel_stream.events import End, Observer
from otel_stream.modes import StreamPart
from otel_stream.receiver import StreamReceiver
from otel_stream.stream import Stream
from otel_stream.telemetry import consumer_for_run
from otel_stream.wait import Waiter, waiter

from .background import Background, background
from .executors import PAUSE, ThreadExecutor, async_executor
from .launch import Options, concurrency, launch
from .loop import RunLoop
from .runtime import CURRENT
from .shapes import Shape
from .types import Config

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph

#: A pulled run waits for its caller after every superstep, so its buffer holds one superstep's parts.
_UNBOUNDED = 1 << 62
_LIVE = frozenset({"custom", "messages"})
_STOPPED = frozenset({End.CANCELLED, End.ABANDONED})
_EXITS = (SystemExit, KeyboardInterrupt)


def audience(receivers: Iterable[StreamReceiver] = ()) -> Stream | None:
    """Return the stream to ``receivers`` and telemetry; None without either, so that nothing is built."""
    receivers = tuple(receivers)
    telemetry = consumer_for_run()
    if not receivers and telemetry is None:
        return None
    return Stream(receivers, telemetry)


def inherited_observer() -> Observer | None:
    """Return the observer of the run around this one, or the audience of a run of its own."""
    task = CURRENT.get()
    if task is None:
        return audience()
    observer: Observer | None = task.loop.observer
    return observer


def _report(stream: Stream | None, receivers: Iterable[StreamReceiver]) -> None:
    """Let metrics know what became of the parts."""
    record = getattr(getattr(stream, "telemetry", None), "on_receiver_statistics", None)
    if record is not None:
        for receiver in receivers:
            record(receiver, receiver.statistics())


async def _see_off(loop: RunLoop, running: Background, error: BaseException | None) -> None:
    """Stop a run that its consumer leaves because of ``error``, if any, and wait for its end.

    A consumer that is itself cancelled takes the run with it; one that just goes has abandoned it.
    """
    if loop.end is None:
        loop.abandoned = not isinstance(error, get_cancelled_exc_class())
        running.cancel()
    try:
        await running.wait()
    finally:
        loop.stopped()


# -- native --------------------------------------------------------------------------------------


class RunStream:
    """A run in the background and the receivers of its parts; an async context manager and iterator.

    Leaving it before the run has ended stops the run: its nodes are cancelled, its end is *abandoned*.
    """

    def __init__(
        self,
        graph: CompiledStateGraph,
        input: Any,
        configs: Sequence[StreamConfig],
        config: Config | None,
        options: Options,
        lasting: Iterable[StreamReceiver] = (),
    ) -> None:
        #: One per ``StreamConfig``, in their order.
        self.receivers: tuple[StreamReceiver, ...] = tuple(StreamReceiver(c) for c in configs)
        self._launch = (graph, input, config, options)
        self._stream = audience((*self.receivers, *lasting))
        self._loop: RunLoop | None = None
        self._background: Background | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start the run, in the event loop that is running here."""
        graph, input, config, options = self._launch
        executor = async_executor(concurrency(graph, config))
        detached = CURRENT.get() is not None
        loop = launch(graph, input, config, options, executor, self._stream, detached=detached)
        self._loop = loop
        self._background = background(self._run, loop.run.context.copy())

    async def _run(self) -> None:
        assert self._loop is not None
        try:
            await self._loop.execute()
        finally:
            _report(self._stream, self.receivers)

    def __aiter__(self) -> AsyncIterator[StreamPart]:
        """Iterate over the first receiver; raises what the run raised after its last part."""
        return self.receivers[0]

    @property
    def run_id(self) -> str:
        """The id of the run."""
        assert self._loop is not None
        return self._loop.run.id

    @property
    def trace_id(self) -> str | None:
        """The id of the run's trace, None if it is not traced."""
        return self._loop.run.trace_id if self._loop is not None else None

    @property
    def end(self) -> End | None:
        """How the run ended, None while it goes on."""
        return self._loop.end if self._loop is not None else None

    @property
    def interrupts(self) -> tuple[Any, ...]:
        """What the run waits for."""
        return self._loop.interrupts if self._loop is not None else ()

    @property
    def result(self) -> Any:
        """The result of the run; raises what the run raised.

        Raises:
            RuntimeError: the run has not ended yet, or it was cancelled or left.
        """
        loop = self._loop
        if loop is None or loop.end is None:
            raise RuntimeError(
                "the run has not ended yet: iterate its stream to the end, or await stream.wait()"
            )
        if loop.end in _STOPPED and not isinstance(loop.error, _EXITS):
            # Not the CancelledError itself: it would look as if whoever asks were cancelled.
            raise RuntimeError(f"the run has no result: it was {loop.end.value}") from loop.error
        if loop.error is not None:
            raise loop.error
        return loop.result

    async def wait(self) -> Any:
        """Wait until the run has ended and return its result; raises what the run raised."""
        assert self._background is not None
        await self._background.wait()
        return self.result

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.wait().__await__()

    async def aclose(self) -> None:
        """Stop the run if it still goes on, wait for its end, and close the receivers."""
        await self._leave(None)

    async def _leave(self, error: BaseException | None) -> None:
        if self._background is not None and self._loop is not None:
            await _see_off(self._loop, self._background, error)
        for receiver in self.receivers:
            receiver.close()
        _report(self._stream, self.receivers)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)


# -- LangGraph's: pulled by the caller -----------------------------------------------------------


class _Pulled(StreamReceiver):
    """A receiver whose run advances when its caller asks for more."""

    def __init__(self, modes: Any, subgraphs: bool, wake: Callable[[], None] | None = None) -> None:
        super().__init__(
            StreamConfig(
                modes=parse_modes(modes), subgraphs=subgraphs, include_metadata=False, buffer_size=_UNBOUNDED
            )
        )
        self._wake_driver = wake
        #: The caller has had everything and wants more.
        self.asked = False
        self._waiting: deque[Waiter] = deque()

    def offer(self, part: StreamPart) -> None:
        super().offer(part)
        if self._wake_driver is not None:
            self._wake_driver()

    def ask(self) -> None:
        """Let the run go on."""
        self.asked = True
        while self._waiting:
            self._waiting.popleft().wake()

    async def pulled(self) -> None:
        """Wait until the caller has had everything and asks for more."""
        while (self.held or not self.asked) and not self._over:
            turn = waiter()
            self._waiting.append(turn)
            await turn.wait()


async def astream(
    graph: CompiledStateGraph, input: Any, config: Config | None, options: Options, modes: Any, shape: Shape
) -> AsyncIterator[Any]:
    """Run the graph as the caller iterates, yielding ``shape(part)``."""
    receiver = _Pulled(modes, shape.subgraphs)
    stream = audience((receiver,))
    executor = async_executor(concurrency(graph, config))
    loop = launch(graph, input, config, options, executor, stream, detached=CURRENT.get() is not None)
    loop.drain = receiver.pulled
    running = background(loop.execute, loop.run.context.copy())
    left: BaseException | None = None
    try:
        while True:
            part = receiver.take_nowait()
            if part is None:
                receiver.ask()
                try:
                    part = await receiver.__anext__()
                except StopAsyncIteration:
                    break
            receiver.asked = False
            yield shape(part)
        await running.wait()
    except BaseException as error:
        left = error
        raise
    finally:
        try:
            await _see_off(loop, running, left)
        finally:
            receiver.close()
            _report(stream, (receiver,))


def stream(
    graph: CompiledStateGraph, input: Any, config: Config | None, options: Options, modes: Any, shape: Shape
) -> Iterator[Any]:
    """Do what :func:`astream` does, without an event loop: the caller's thread drives the run."""
    executor = ThreadExecutor(concurrency(graph, config))
    receiver = _Pulled(modes, shape.subgraphs, executor.wake)
    executor.held = lambda: receiver.held
    executor.live = (
        graph.program.start is None or shape.subgraphs or not _LIVE.isdisjoint(receiver.config.modes)
    )
    heard = audience((receiver,))
    loop = launch(graph, input, config, options, executor, heard, detached=CURRENT.get() is not None)

    async def hand_out() -> None:
        while receiver.held:
            await PAUSE

    loop.drain = hand_out
    running = loop.execute()
    try:
        while True:
            try:
                running.send(None)
            except StopIteration:
                break
            except BaseException:
                yield from _taken(receiver, shape)
                raise
            yield from _taken(receiver, shape)
        yield from _taken(receiver, shape)
    finally:
        loop.abandoned = loop.end is None
        running.close()
        _report(heard, (receiver,))
        receiver.close()
        executor.close()


def _taken(receiver: _Pulled, shape: Shape) -> Generator[Any, None, None]:
    while (part := receiver.take_nowait()) is not None:
        yield shape(part)


# -- receivers that see every run ----------------------------------------------------------------


class ExecutionEngine:
    """Runs graphs and shows their parts to receivers that were there before and stay on.

    ``await engine.stream(config)`` attaches a receiver to every run the engine starts from now on.
    """

    def __init__(self) -> None:
        self._receivers: list[StreamReceiver] = []

    async def stream(self, config: StreamConfig) -> StreamReceiver:
        """Return a receiver of every run of this engine from now on, until it is closed."""
        receiver = StreamReceiver(config, lasting=True)
        self._receivers.append(receiver)
        return receiver

    async def stream_multi(self, configs: Iterable[StreamConfig]) -> list[StreamReceiver]:
        """Return one receiver per config."""
        return [await self.stream(config) for config in configs]

    async def execute(self, graph: CompiledStateGraph, input: Any, config: Config | None = None) -> Any:
        """Run ``graph`` to its end and return its result; raises what the run raises."""
        async with self._open(graph, input, (), config) as running:
            return await running.wait()

    @overload
    async def execute_with_stream(
        self, graph: CompiledStateGraph, input: Any, stream: StreamConfig, config: Config | None = None
    ) -> tuple[RunStream, StreamReceiver]: ...

    @overload
    async def execute_with_stream(
        self,
        graph: CompiledStateGraph,
        input: Any,
        stream: Sequence[StreamConfig],
        config: Config | None = None,
    ) -> tuple[RunStream, list[StreamReceiver]]: ...

    async def execute_with_stream(
        self,
        graph: CompiledStateGraph,
        input: Any,
        stream: StreamConfig | Sequence[StreamConfig],
        config: Config | None = None,
    ) -> tuple[RunStream, StreamReceiver | list[StreamReceiver]]:
        """Start a run; return what to await for its result, and the receiver of its parts (one per config).

        Cancelling whoever awaits the run cancels the run; leaving the receiver does not.
        """
        configs = (stream,) if isinstance(stream, StreamConfig) else tuple(stream)
        running = self._open(graph, input, configs, config)
        running.start()
        receivers = running.receivers[0] if isinstance(stream, StreamConfig) else list(running.receivers)
        return running, receivers

    def _open(
        self, graph: CompiledStateGraph, input: Any, configs: Sequence[StreamConfig], config: Config | None
    ) -> RunStream:
        self._receivers = [one for one in self._receivers if not one.closed]
        return RunStream(graph, input, configs, config, Options(whole=True), self._receivers)

    async def aclose(self) -> None:
        """Close the receivers that see every run."""
        for receiver in self._receivers:
            receiver.close()
        self._receivers = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
