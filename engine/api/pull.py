"""LangGraph's streams: ``astream`` and ``stream``, whose runs advance as their callers iterate."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from threading import RLock
from typing import Any
from weakref import ref

from otel_stream.config import StreamConfig, parse_modes
from otel_stream.events import End
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.sink import Outlet
from otel_stream.stream.wakeup import Waiter, waiter

from ..executors import PAUSE, ThreadExecutor, async_executor
from ..executors.background import Background, background
from ..graph.spec import GraphSpec
from ..run.loop import RunLoop
from ..types import Config
from .formats import Shape
from .launch import caller_of, concurrency, launch
from .options import Asked
from .printing import printers
from .run_stream import audience, relay_outwards, stop_and_wait

_LIVE = frozenset({"custom", "messages", "tools"})
#: Parts that a node which awaits its writes may be ahead of the caller.
_AHEAD = 1024
_UNBOUNDED = 1 << 62


class _Pulled(StreamReceiver):
    """A receiver whose run advances when its caller asks for more.

    The run waits for its caller after every superstep. A node that awaits its writes waits when there are
    ``_AHEAD`` parts; only who drives the run himself must never be made to wait.
    """

    def __init__(
        self, modes: Any, subgraphs: bool, *, bounded: bool, wake: Callable[[], None] | None = None
    ) -> None:
        size = _AHEAD if bounded else _UNBOUNDED
        super().__init__(
            StreamConfig(
                modes=parse_modes(modes), subgraphs=subgraphs, include_metadata=False, buffer_size=size
            )
        )
        self._wake_driver = wake
        #: The caller has had everything and wants more.
        self.asked = False
        self._waiting: deque[Waiter] = deque()

    def join(self, lock: RLock) -> Outlet:
        outlet, wake = super().join(lock), self._wake_driver
        if wake is None:
            return outlet

        def settle() -> None:
            wake()
            outlet.settle()

        return Outlet(outlet.put, (wake,), settle)  # there is always somebody to be woken

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


def astream(graph: GraphSpec, input: Any, config: Config | None, asked: Asked) -> AsyncIterator[Any]:
    """Run the graph as the caller iterates, yielding what LangGraph would of each part."""
    guardian = _Guardian()
    generator = _astream(graph, input, config, asked, Shape(graph.program, asked), guardian)
    guardian.watch(generator)
    return generator


class _Guardian:
    """Ends the run of a generator that is lost where no event loop runs that would close it.

    As when it is driven by ``loop.run_until_complete(anext(generator))``, in a notebook or a script.
    """

    def __init__(self) -> None:
        self.lost = False
        #: Whether an event loop runs where it was made, and so is told of generators that are lost.
        self._closes = sys.get_asyncgen_hooks().finalizer is not None
        self._generator: ref[Any] | None = None
        self._run: tuple[RunLoop, Background] | None = None

    def watch(self, generator: Any) -> None:
        """Take note of when ``generator`` is lost."""
        self._generator = ref(generator, self._is_lost)

    def begin(self, loop: RunLoop, running: Background) -> None:
        """Take note of its run."""
        self._run = loop, running
        _GUARDIANS.add(self)  # a reference that is lost with what it refers to tells nobody

    def over(self) -> None:
        """Take note of its end."""
        self._generator = self._run = None
        _GUARDIANS.discard(self)

    def _is_lost(self, _: Any) -> None:
        if self._run is not None:
            loop, running = self._run
            self.lost = running.end_here(loop.abandon, closes=self._closes)
            if self.lost:
                loop.left()
                self.over()


_GUARDIANS: set[_Guardian] = set()


async def _astream(
    graph: GraphSpec,
    input: Any,
    config: Config | None,
    asked: Asked,
    shape: Shape,
    guardian: _Guardian,
) -> AsyncIterator[Any]:
    receiver = _Pulled(asked.modes, asked.subgraphs, bounded=True)
    caller = caller_of(graph, config)
    relay = relay_outwards(caller)
    others = printers(asked, asked.subgraphs)
    stream = audience((receiver, *others) if relay is None else (receiver, relay, *others))
    executor = async_executor(concurrency(graph, config, caller))
    loop = launch(
        graph,
        input,
        config,
        asked,
        executor,
        stream,
        caller=caller,
        detached=caller is not None,
        drain=receiver.pulled,
    )
    if relay is not None:
        relay.place(loop)
    running = background(loop.execute, loop.env.run.context.copy())
    guardian.begin(loop, running)
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
            try:
                yield shape(part)
            except BaseException:
                # Who has a part wants no more; a loop that ends cancels whoever closes for them.
                loop.abandon()
                raise
        await running.wait()
        loop.raise_upwards()
        if loop.end is End.DRAINED and loop.error is not None:
            raise loop.error  # noqa: TRY301 - as LangGraph does; the iteration of a receiver just ends
    except BaseException as error:
        left = error
        raise
    finally:
        try:
            if not guardian.lost:
                await stop_and_wait(loop, running, left)
        finally:
            guardian.over()
            receiver.close()


def stream(graph: GraphSpec, input: Any, config: Config | None, asked: Asked) -> Iterator[Any]:
    """Do what :func:`astream` does, without an event loop: the caller's thread drives the run."""
    return _stream(graph, input, config, asked, Shape(graph.program, asked))


def _stream(graph: GraphSpec, input: Any, config: Config | None, asked: Asked, shape: Shape) -> Iterator[Any]:
    caller = caller_of(graph, config)
    executor = ThreadExecutor(concurrency(graph, config, caller))
    modes = parse_modes(asked.modes)
    executor.live = graph.program.start is None or asked.subgraphs or not _LIVE.isdisjoint(modes)
    receiver = _Pulled(modes, asked.subgraphs, bounded=executor.live, wake=executor.wake)
    executor.held = lambda: receiver.held
    relay = relay_outwards(caller)
    others = printers(asked, asked.subgraphs)
    heard = audience((receiver, *others) if relay is None else (receiver, relay, *others))

    async def hand_out() -> None:
        while receiver.held:
            await PAUSE

    loop = launch(
        graph,
        input,
        config,
        asked,
        executor,
        heard,
        caller=caller,
        detached=caller is not None,
        drain=hand_out,
    )
    if relay is not None:
        relay.place(loop)
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
        loop.abandon()
        running.close()
        receiver.close()
        executor.close()


def _taken(receiver: _Pulled, shape: Shape) -> Generator[Any, None, None]:
    while (part := receiver.take_nowait()) is not None:
        yield shape(part)
