"""A client's stream as it is, except that every event that is taken from it is also shown as a message.

It knows no client: a reader makes chunks of an event. Outside of a node, or where nobody wants messages, the
stream is just passed on. What is called to get it is told by ``client_calls``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from inspect import isawaitable, iscoroutinefunction
from time import time_ns
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from otel_stream.adapters.chunks import Ask, MessageChunk, Show, speaker
from otel_stream.adapters.client_calls import ClientCall, Reader, begin
from otel_stream.config import ConfigError
from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: Methods of clients' streams that take what is left, and then return something of it.
_DRAINING: Final = frozenset(
    {
        "until_done",
        "get_final_completion",
        "get_final_message",
        "get_final_response",
        "get_final_text",
    }
)


def as_part(chunk: MessageChunk) -> Any:
    """Return ``chunk`` as messages mode shows it: LangChain's ``AIMessageChunk`` where that is installed."""
    make = _parts().of_chunk
    return chunk if make is None or chunk.role != "assistant" else make(chunk)


class _Parts(NamedTuple):
    """What makes parts of chunks, None where they are shown as they are, and of more text of a message."""

    of_chunk: Callable[[MessageChunk], Any] | None
    of_text: Callable[[str, str], Any]


#: What makes parts where LangChain is not installed.
_OUR_OWN: Final = _Parts(None, lambda message, text: MessageChunk(id=message, content=text))


@cache
def _parts() -> _Parts:
    if find_spec("langchain_core") is None:
        return _OUR_OWN
    from otel_stream.adapters.langchain import as_langchain_chunk, chunk_of_text

    return _Parts(as_langchain_chunk, chunk_of_text())


class _Told:
    """What both kinds share. Whatever is not about iterating is the client's."""

    def __init__(self, stream: Any, reader: Reader, metadata: Mapping[str, Any]) -> None:
        #: What the client returned: a stream, or a manager that makes one when it is entered.
        self._given = stream
        self._stream = stream
        self._read = reader
        self._speaker = node = speaker()
        #: Asked before each event who shows it; None outside of a node, and where one is not understood.
        self._ask: Ask | None = None if node is None else node.asking(metadata)
        self._call: ClientCall | None = None
        self._begin(time_ns())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} passes on nothing private, such as {name!r}")
        own = getattr(self._stream, name)
        if name == "text_stream":
            return self._texts()
        return self._drained(own) if name in _DRAINING else own

    def _texts(self) -> Any:
        """Return an iterator over the text alone, as the client's ``text_stream`` is one."""
        raise NotImplementedError

    def _drained(self, own: Callable[[], Any]) -> Callable[[], Any]:
        """Return ``own``, preceded by taking what is left here, so that it is shown."""
        raise NotImplementedError

    def _begin(self, since: int) -> None:
        """Tell of the call, now that there is an answer to it; it was asked for by ``since``."""
        try:
            self._call = self._call or begin(self._stream, self._read, self._speaker, since)
        except Exception as error:  # noqa: BLE001 - what is not understood must not break the node
            say(logger, logging.ERROR, "a model's call is not told of: %s", placed(error))

    def _end(self, error: BaseException | None = None) -> None:
        try:
            if self._call is not None:
                self._call.end(error)
        except Exception as trouble:  # noqa: BLE001 - what is not understood must not break the node
            say(logger, logging.ERROR, "the end of a model's call is not told: %s", placed(trouble))

    def _tell(self, event: Any) -> None:
        ask = self._ask
        if ask is None:
            return
        call, read = self._call, self._read
        try:
            show = ask()
            if call is None or not call.keeps:  # of what is more text alone no chunk need be made
                if show is None:
                    is_told = read.is_plain(event)
                else:
                    text, id = read.text_of(event), read.message_id
                    is_told = text is not None and id is not None
                    if text is not None and id is not None:
                        show(_parts().of_text(id, text))
                if is_told:
                    if call is not None:
                        call.came()
                    return
            self._tell_chunks(event, show)
        except Exception as error:  # noqa: BLE001 - what is not understood must not break the node
            self._ask = None
            kind = type(event).__qualname__
            told = "a stream is no longer shown as messages: of one %s, %s"
            say(logger, logging.ERROR, told, kind, placed(error))

    def _tell_chunks(self, event: Any, show: Show | None) -> None:
        for chunk in self._read(event):
            if self._call is not None:
                self._call.heard(chunk)
            if show is not None:
                show(as_part(chunk))


class _Entered(_Told):
    """What can be a context manager without an event loop."""

    def __enter__(self) -> Self:
        since = time_ns()
        self._stream = self._given.__enter__()
        self._begin(since)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._end()  # what the node raises meanwhile is no failure of the model's
        return self._given.__exit__(kind, error, trace)


class ToldStream(_Entered):
    """A synchronous stream. Leaving its loop early closes it."""

    def __iter__(self) -> Iterator[Any]:
        try:
            for event in self._stream:
                self._tell(event)
                yield event
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._end()
            if close := getattr(self._stream, "close", None):
                close()

    def __next__(self) -> Any:
        try:
            event = next(self._stream)
        except BaseException as error:
            self._end(None if isinstance(error, StopIteration) else error)
            raise
        self._tell(event)
        return event

    def _texts(self) -> Any:
        return (event.text for event in self if getattr(event, "type", None) == "text")

    def _drained(self, own: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            try:
                for event in self._stream:
                    self._tell(event)
            except BaseException as error:
                self._end(error)
                raise
            self._end()
            return own()

        return call


class AsyncToldStream(_Told):
    """An asynchronous stream. Leaving its loop early closes it; at once if it is used with ``async with``."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for event in self._stream:
                self._tell(event)
                yield event
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._end()
            if close := getattr(self._stream, "close", None):
                closing = close()
                if isawaitable(closing):  # of a wrapper for both kinds it need not be
                    await closing

    async def __anext__(self) -> Any:
        try:
            event = await anext(self._stream)
        except BaseException as error:
            self._end(None if isinstance(error, StopAsyncIteration) else error)
            raise
        self._tell(event)
        return event

    async def __aenter__(self) -> Self:
        since = time_ns()
        self._stream = await self._given.__aenter__()
        self._begin(since)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._end()
        return await self._given.__aexit__(kind, error, trace)

    def _texts(self) -> Any:
        return (event.text async for event in self if getattr(event, "type", None) == "text")

    def _drained(self, own: Callable[[], Any]) -> Callable[[], Any]:
        async def call() -> Any:
            try:
                async for event in self._stream:
                    self._tell(event)
            except BaseException as error:
                self._end(error)
                raise
            self._end()
            return await own()

        return call


class EitherToldStream(AsyncToldStream, _Entered):
    """A stream whose type has both protocols, as the wrappers of other instrumentations do.

    Only one of them works, and whoever iterates knows which: both are offered here, too.
    """

    def __iter__(self) -> Iterator[Any]:
        return iter(self._in_turn())

    def __next__(self) -> Any:
        return next(self._in_turn())

    def _texts(self) -> Any:
        is_async = hasattr(self._stream.text_stream, "__aiter__")
        return super()._texts() if is_async else self._in_turn()._texts()  # noqa: SLF001 - the same stream

    def _drained(self, own: Callable[[], Any]) -> Callable[[], Any]:
        is_async = iscoroutinefunction(own)
        return super()._drained(own) if is_async else self._in_turn()._drained(own)  # noqa: SLF001 - as above

    def _in_turn(self) -> ToldStream:
        stream = ToldStream.__new__(ToldStream)
        stream._given = stream._stream = self._stream  # noqa: SLF001 - it is this one
        stream._read, stream._call = self._read, self._call  # noqa: SLF001 - as above
        stream._speaker, stream._ask = self._speaker, self._ask  # noqa: SLF001 - who listens is the same, too
        return stream


def told(stream: Any, reader: Reader, metadata: Mapping[str, Any]) -> Any:
    """Return ``stream``, made to show its events as messages of the node that is running here.

    Raises:
        ConfigError: it can't be iterated.
    """
    kind = type(stream)
    in_turn = hasattr(kind, "__iter__") or hasattr(kind, "__enter__")
    in_loop = hasattr(kind, "__aiter__") or hasattr(kind, "__aenter__")
    if in_turn or in_loop:
        wrapper = EitherToldStream if in_turn and in_loop else ToldStream if in_turn else AsyncToldStream
        return wrapper(stream, reader, metadata)
    remedy = "await it first" if hasattr(kind, "__await__") else "give what the client returns for a stream"
    raise ConfigError(f"stream_messages: {stream!r} is no stream; {remedy}")
