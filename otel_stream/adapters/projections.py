"""``stream_events(version="v3")``: a run as typed projections of its parts, by LangGraph's own code for it.

LangGraph calls it experimental. It builds on parts as ``stream(version="v2", subgraphs=True)`` yields them;
where it is installed, ours are given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

#: Under ``configurable``: who hears models is told of their messages by the protocol's events.
BY_EVENTS: Final = "__pregel_stream_messages_v2"

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
        return run_stream.AsyncGraphRunStream(parts, mux)
    return run_stream.GraphRunStream(parts, mux)


def by_events(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a config that has models tell of their messages by the events of the protocol, not by chunks."""
    configurable = (config or {}).get("configurable") or {}
    return {**(config or {}), "configurable": {**configurable, BY_EVENTS: True}}
