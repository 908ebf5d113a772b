"""Recording the parts of a run, and what can be said about them afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import anyio

from otel_stream.config import MODES, ModesLike, StreamConfig
from otel_stream.events import End
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.statistics import ReceiverStatistics
from otel_stream.testing.checking import check, contains, line_of, starts_at
from otel_stream.testing.patterns import Pattern, field_of, text_of

#: What is recorded unless something else is asked for: *debug* shows nothing that the others don't.
RECORDED: tuple[Any, ...] = tuple(mode for mode in MODES if mode != "debug")


class Graph(Protocol):
    """Whatever can be run and recorded; ``CompiledStateGraph`` for one."""

    def open_stream(self, input: Any, *streams: StreamConfig, config: Any = None, **options: Any) -> Any:
        """Return an async context manager that runs the graph, with a receiver per config."""


@dataclass(frozen=True)
class Recording:
    """The parts of a run and how it ended. Empty-handed questions raise ``AssertionError``."""

    parts: tuple[StreamPart, ...]
    #: The account of the receiver that took the parts.
    statistics: ReceiverStatistics
    #: How the run ended; None if the recording is of no run, or of several.
    end: End | None = None
    #: What the run raised.
    error: BaseException | None = None
    output: Any = None
    #: What the run waits for.
    interrupts: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[StreamPart]:
        return iter(self.parts)

    def __getitem__(self, index: int) -> StreamPart:
        return self.parts[index]

    def __str__(self) -> str:
        return "\n".join(f"{i:4} {line_of(part)}" for i, part in enumerate(self.parts))

    @property
    def result(self) -> Any:
        """What the run returned; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.output

    def only(self, *modes: str, node: str | None = None, ns: Sequence[str] | None = None) -> Recording:
        """Return the recording of these modes alone (all, if none is named), of that node and namespace.

        ``ns`` names the nodes whose subgraphs lead there; ``()`` is the root. The end of the run stays.
        """
        path = None if ns is None else list(ns)
        kept = tuple(
            part
            for part in self.parts
            if part.type == "end"
            or (
                (not modes or part.type in modes)
                and (node is None or part.node == node)
                and (path is None or [level.split(":")[0] for level in part.ns] == path)
            )
        )
        return replace(self, parts=kept)

    def data(self, *modes: str) -> list[Any]:
        """Return the data of the parts of these modes; of all, if none is named."""
        return [part.data for part in self.parts if not modes or part.type in modes]

    def texts(self) -> dict[Any, str]:
        """Return the text of every message by its id, chunks joined, in the order in which they began."""
        found: dict[Any, str] = {}
        for part in self.parts:
            if part.type == "messages":
                chunk = part.data[0]
                name = field_of(chunk, "id")
                found[name] = found.get(name, "") + text_of(chunk)
        return found

    def expect(self, *patterns: Pattern) -> None:
        """Assert that these are the parts, in this order and nothing else.

        A run that ended well need not say so; any other end has to be expected.
        """
        __tracebackhide__ = True
        check(self.parts, *patterns, note=self._note())

    def expect_among(self, *patterns: Pattern) -> None:
        """Assert that these parts are there, in this order, whatever comes before, between and after."""
        __tracebackhide__ = True
        for count in range(1, len(patterns) + 1):
            if not contains(self.parts, patterns[:count]):
                after = f" after {patterns[count - 2]!r}" if count > 1 else ""
                told = (
                    f"{patterns[count - 1]!r} is not there{after}, among these parts:\n{self}\n{self._note()}"
                )
                raise AssertionError(told.rstrip())

    def expect_none(self, *patterns: Pattern) -> None:
        """Assert that none of these is anywhere."""
        __tracebackhide__ = True
        for index, part in enumerate(self.parts):
            for pattern in patterns:
                if starts_at(self.parts, index, pattern):
                    told = f"{pattern!r} was not expected, and is part {index}:\n  {line_of(part)}"
                    raise AssertionError(told)

    def expect_nothing_lost(self) -> None:
        """Assert that the receiver delivered every part that it was offered."""
        __tracebackhide__ = True
        account = self.statistics
        if account.delivered != account.offered:
            raise AssertionError(
                f"of {account.offered} parts {account.delivered} were delivered: {account.dropped} dropped "
                f"{dict(account.reasons)}, {account.filtered} filtered, {account.sampled_out} sampled out, "
                f"{account.held} still held"
            )

    def _note(self) -> str:
        if self.error is not None:
            return f"the run raised {self.error!r}"
        return "" if self.end in (None, End.OK) else f"the run ended: {self.end.value}"


class Recorder:
    """Keeps the parts that a receiver is given, whoever made the receiver.

    ``Recorder(await engine.stream(config))`` records every run of an ``ExecutionEngine``.
    """

    def __init__(self, receiver: StreamReceiver) -> None:
        self.receiver = receiver
        self.parts: list[StreamPart] = []

    def take(self) -> Recording:
        """Take what is there now, without waiting, and return the recording so far."""
        while (part := self.receiver.take_nowait()) is not None:
            self.parts.append(part)
        return self.recording()

    async def until_end(self) -> Recording:
        """Wait for the end of the stream and return the recording; what the stream raises is in it."""
        error: BaseException | None = None
        try:
            async for part in self.receiver:
                self.parts.append(part)
        except Exception as raised:  # noqa: BLE001 - the run's, or the receiver's own
            error = raised
        return replace(self.recording(), error=error)

    def recording(self) -> Recording:
        """Return what was recorded so far."""
        return Recording(tuple(self.parts), self.receiver.statistics(), self.receiver.end)


async def arecord(
    graph: Graph,
    input: Any,
    modes: ModesLike = RECORDED,
    *,
    config: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    seconds: float | None = 30.0,
    **options: Any,
) -> Recording:
    """Run ``graph`` and return the recording of it. What the run raises is kept, and not raised.

    ``settings`` are those of ``StreamConfig`` (a filter, a small buffer, ...); ``options`` go to the graph's
    ``open_stream``. Subgraphs are recorded, too. It may take so many ``seconds``.

    Raises:
        TimeoutError: the run did not end in time; it is cancelled, and the message has the parts so far.
    """
    asked = {"subgraphs": True, "include_end": True, "buffer_size": 1 << 20, **(settings or {})}
    stream: AbstractAsyncContextManager[Any] = graph.open_stream(
        input, StreamConfig(modes=modes, **asked), config=config, **options
    )
    recorder = None
    with anyio.move_on_after(seconds):
        async with stream as running:
            recorder = Recorder(running.receivers[0])
            recording = await recorder.until_end()
            output, error = None, recording.error
            try:
                output = await running.wait()
            except Exception as raised:  # noqa: BLE001 - it is what was recorded
                error = raised
            return replace(
                recording, output=output, error=error, end=running.end, interrupts=running.interrupts
            )
    so_far = "" if recorder is None else str(recorder.recording())
    raise TimeoutError(f"the run did not end within {seconds} s; its parts so far:\n{so_far}")


def record(
    graph: Graph,
    input: Any,
    modes: ModesLike = RECORDED,
    *,
    backend: Literal["asyncio", "trio"] = "asyncio",
    **options: Any,
) -> Recording:
    """Do what :func:`arecord` does, for a test that has no event loop; ``backend`` is the loop it makes."""
    return anyio.run(partial(arecord, graph, input, modes, **options), backend=backend)
