"""``ExecutionEngine``: receivers that were there before a run, and stay on after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack, overload

from otel_stream.config import StreamConfig, as_configs
from otel_stream.stream.receiver import Carrier, StreamReceiver

from ..graph.spec import GraphSpec
from ..types import Config
from .compiled import Pregel
from .options import Asked, RunOptions, spelled_out
from .run_stream import RunStream


class ExecutionEngine:
    """Runs graphs and shows their parts to receivers that were there before and stay on.

    ``await engine.stream(config)`` attaches a receiver to every run the engine starts from now on; the parts
    of each run also go to ``sinks``, as with ``open_stream``. They are their owner's to close.
    """

    def __init__(self, *, sinks: Iterable[Carrier] = ()) -> None:
        self._sinks = tuple(sinks)
        #: In the order in which they came; none of them more than once.
        self._receivers: dict[StreamReceiver, None] = {}

    async def stream(self, config: StreamConfig) -> StreamReceiver:
        """Return a receiver of every run of this engine from now on, until it is closed."""
        receiver = StreamReceiver(config, lasting=True)
        self.attach(receiver)
        return receiver

    def attach(self, *receivers: StreamReceiver) -> None:
        """Let ``receivers`` see every run from now on."""
        for receiver in receivers:
            receiver.attached(self)
            self._receivers[receiver] = None

    def detach(self, receiver: StreamReceiver) -> None:
        """Show ``receiver`` no more runs; those it sees already it sees to their end."""
        receiver.detached(self)
        self._receivers.pop(receiver, None)

    async def stream_multi(self, configs: Iterable[StreamConfig]) -> list[StreamReceiver]:
        """Return one receiver per config."""
        return [await self.stream(config) for config in as_configs(configs)]

    async def execute(self, graph: Pregel, input: Any, config: Config | None = None) -> Any:
        """Run ``graph`` to its end and return its result; raises what the run raises."""
        async with self._open(graph, input, (), config) as running:
            return await running.wait()

    @overload
    async def execute_with_stream(
        self, graph: Pregel, input: Any, stream: StreamConfig, config: Config | None = None
    ) -> tuple[RunStream, StreamReceiver]: ...

    @overload
    async def execute_with_stream(
        self,
        graph: Pregel,
        input: Any,
        stream: Sequence[StreamConfig],
        config: Config | None = None,
    ) -> tuple[RunStream, list[StreamReceiver]]: ...

    async def execute_with_stream(
        self,
        graph: Pregel,
        input: Any,
        stream: StreamConfig | Sequence[StreamConfig],
        config: Config | None = None,
    ) -> tuple[RunStream, StreamReceiver | list[StreamReceiver]]:
        """Start a run; return what to await for its result, and the receiver of its parts (one per config).

        Cancelling whoever awaits the run cancels the run; leaving the receiver does not.
        """
        configs = as_configs(stream)
        running = self._open(graph, input, configs, config)
        running.start()
        receivers = running.receivers[0] if isinstance(stream, StreamConfig) else list(running.receivers)
        return running, receivers

    @spelled_out(RunOptions)
    def open_stream(
        self,
        graph: Pregel,
        input: Any,
        *streams: StreamConfig | Carrier,
        config: Config | None = None,
        **options: Unpack[RunOptions],
    ) -> RunStream:
        """Return a run as ``graph.open_stream`` does, which this engine's receivers and sinks see, too."""
        asked = Asked.of(options, modes="updates", whole=True)
        return self._open(graph, input, streams or (StreamConfig(),), config, asked)

    def _open(
        self,
        graph: Pregel,
        input: Any,
        configs: Sequence[StreamConfig | Carrier],
        config: Config | None,
        asked: Asked | None = None,
    ) -> RunStream:
        spec = getattr(graph, "spec", None)
        if not isinstance(spec, GraphSpec):
            raise TypeError(
                f"ExecutionEngine: graph is a {type(graph).__module__}.{type(graph).__qualname__}, no "
                "compiled graph of the engine; compile() a StateGraph, and open a graph of LangGraph's with "
                "otel_stream.adapters.langgraph.open_stream"
            )
        streams: tuple[StreamConfig | Carrier, ...] = (*configs, *self._sinks)
        return RunStream(spec, input, streams, config, asked or Asked(whole=True), tuple(self._receivers))

    async def aclose(self) -> None:
        """Close the receivers that see every run."""
        for receiver in tuple(self._receivers):
            receiver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
