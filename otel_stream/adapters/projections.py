"""``stream_events(version="v3")``: a run as typed projections of its parts, by LangGraph's own code for it.

LangGraph calls it experimental. It builds on parts as ``stream(version="v2", subgraphs=True)`` yields them;
where it is installed, ours are given to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

#: What is asked of the graph to get its parts: modes in, parts out.
Ask = Callable[[Sequence[str]], Any]


def run_of(ask: Ask, transformers: Sequence[Any], *, is_async: bool) -> Any:
    """Return LangGraph's handle of a run, whose parts are what ``ask`` returns.

    Raises:
        ModuleNotFoundError: LangGraph is not installed.
        TypeError: a transformer that is no class or function of a scope.
    """
    try:
        from langgraph.stream import _mux, run_stream
        from langgraph.stream import transformers as builtin
        from langgraph.stream._types import StreamTransformer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "stream_events(version='v3') is LangGraph's own code, given our parts: pip install langgraph"
        ) from error
    for one in transformers:
        if isinstance(one, StreamTransformer) or not callable(one):
            raise TypeError(f"transformers: {one!r} is no class or function of a scope; give one")
    own = (
        builtin.ValuesTransformer,
        builtin.MessagesTransformer,
        builtin.LifecycleTransformer,
        builtin.SubgraphTransformer,
    )
    mux = _mux.StreamMux(factories=[*own, *transformers], scope=(), is_async=is_async)
    wanted = {mode for one in mux._transformers for mode in one.required_stream_modes}  # noqa: SLF001
    parts = ask(sorted(wanted))
    if is_async:
        return run_stream.AsyncGraphRunStream(_awhole(parts), mux)
    return run_stream.GraphRunStream(_whole(parts), mux)


def _whole(parts: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    join = _Joined()
    yield from (whole for part in parts if (whole := join(part)) is not None)


async def _awhole(parts: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[Mapping[str, Any]]:
    join = _Joined()
    async for part in parts:
        whole = join(part)
        if whole is not None:
            yield whole


class _Joined:
    """Puts messages together, which LangGraph's projection wants whole."""

    def __init__(self) -> None:
        self._begun: dict[Any, Any] = {}

    def __call__(self, part: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the part, of a message's last chunk one of the whole message, of others None."""
        if part["type"] != "messages":
            return part
        from langchain_core.messages import AIMessageChunk, message_chunk_to_message

        chunk, metadata = part["data"]
        if not isinstance(chunk, AIMessageChunk):
            return part
        key = part["ns"], chunk.id
        begun = self._begun.pop(key, None)
        whole = chunk if begun is None else begun + chunk
        if chunk.chunk_position != "last":
            self._begun[key] = whole
            return None
        return {**part, "data": (message_chunk_to_message(whole), metadata)}
