"""Streams of single runs: ``open_stream``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Generator, Mapping
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

from otel_stream.adapters.langgraph.audience import ABANDONED, CLAIM, Claim
from otel_stream.adapters.langgraph.instrumentor import LangGraphInstrumentor
from otel_stream.config import StreamConfig
from otel_stream.events import End
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import Carrier, StreamReceiver, deadlock, opened
from otel_stream.stream.stream import Stream
from otel_stream.stream.wakeup import Waiter, leave, waiter


def open_stream(
    graph: Any,
    input: Any,
    *configs: StreamConfig | Carrier,
    config: Mapping[str, Any] | None = None,
    **options: Any,
) -> GraphStream:
    """Run ``graph``, one of LangGraph's, and return the stream of its parts: one receiver per config.

    Beside configs may be what takes the parts elsewhere, ``otel_stream.kafka.KafkaSink``, say.

    ``config`` and ``options`` are those of LangGraph's ``ainvoke``. To be used as an async context manager,
    on asyncio. Of what runs a graph several times, ``graph.with_retry()`` say, it is the first run's.

    Raises:
        RuntimeError: LangGraph is not instrumented.
    """
    if not LangGraphInstrumentor().is_instrumented_by_opentelemetry:
        raise RuntimeError(
            "open_stream() has nothing to show, for LangGraph is not instrumented: call "
            "LangGraphInstrumentor().instrument(), or configure(langgraph=True), once at the start"
        )
    return GraphStream(graph, input, configs, config, options)


class GraphStream:
    """A run in the background, and the receivers of its parts; an async context manager and iterator.

    Leaving it before the run has ended stops the run: its nodes are cancelled, its end is *abandoned*.
    """

    def __init__(
        self,
        graph: Any,
        input: Any,
        configs: tuple[StreamConfig | Carrier, ...],
        config: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> None:
        self.receivers: tuple[StreamReceiver, ...]
        #: One per ``StreamConfig``, in their order; beside them what takes the parts elsewhere.
        self.receivers, self._outgoing = opened(configs)
        self._call = (graph, input, config, options)
        claim = Claim((*self.receivers, *self._outgoing))
        assert claim.audience is not None
        self._stream: Stream = claim.audience.stream
        self._stream.on_stall = self._run_stalls
        self._claim = claim
        #: The receiver that the run has waited for in vain; and who wants to know.
        self._stalled: StreamReceiver | None = None
        self._waiting: deque[Waiter] = deque()
        self._running: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        context = copy_context()
        context.run(CLAIM.set, self._claim)
        self._running = asyncio.get_running_loop().create_task(self._run(), context=context)
        self._running.add_done_callback(lambda _: self._tell())
        return self

    async def _run(self) -> Any:
        graph, input, config, options = self._call
        end, raised = End.OK, None
        try:
            return await graph.ainvoke(input, config, **options)
        except BaseException as error:
            end, raised = End.ERROR if isinstance(error, Exception) else End.CANCELLED, error
            raise
        finally:
            self._stream.finish(end, raised)  # where the run has not got as far as to begin

    def __aiter__(self) -> AsyncIterator[StreamPart]:
        """Iterate over the first receiver; raises what the run raised after its last part."""
        self._entered()
        return self.receivers[0]

    @property
    def end(self) -> End | None:
        """How the run ended, None while it goes on."""
        return self._stream.end

    @property
    def result(self) -> Any:
        """What ``ainvoke`` returned; raises what it raised.

        Raises:
            RuntimeError: the run has not ended yet, or it was cancelled or left.
        """
        running = self._running
        if running is None or not running.done():
            raise RuntimeError("the run has not ended yet: iterate its stream to the end, or await it")
        if running.cancelled():
            raise RuntimeError("the run has no result: it was cancelled, or left before its end")
        return running.result()

    async def wait(self) -> Any:
        """Wait until the run has ended and return its result; raises what the run raised.

        Raises:
            StreamDeadlockError: the run has waited for ``stall_timeout`` for a full ``block`` receiver that
                nobody has ever read. It stays as it is: read the receiver, and wait again.
        """
        self._entered()
        running = self._running
        assert running is not None
        try:
            await self._end_of(running)
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait((running,))
            raise
        return await running

    def _entered(self) -> None:
        if self._running is None:
            raise RuntimeError(
                "the run has not begun: open_stream() is a context manager, "
                "`async with open_stream(...) as stream: ...`"
            )

    async def _end_of(self, running: asyncio.Task[Any]) -> None:
        while True:
            news = waiter()
            self._waiting.append(news)
            try:
                if running.done():
                    return
                full = self._stalled
                if full is not None and not full.was_read and full.makes_wait(self._stream):
                    raise deadlock(full)
                await news.wait()
            finally:
                leave(self._waiting, news)

    def _run_stalls(self, receiver: StreamReceiver) -> None:
        self._stalled = receiver
        self._tell()

    def _tell(self) -> None:
        while self._waiting:
            self._waiting.popleft().wake()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.wait().__await__()

    async def aclose(self) -> None:
        """Stop the run if it still goes on, wait for its end, and close the receivers."""
        running = self._running
        if running is not None and not running.done():
            if self._stream.end is None:  # else it is about to return
                running.cancel(ABANDONED)
            await asyncio.wait((running,))
        if running is not None and not running.cancelled():
            running.exception()  # it is with the receivers and ``result``
        for receiver in self.receivers:
            receiver.close()
        for one in self._outgoing:
            await one.aclose()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
