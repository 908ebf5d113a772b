"""The messages of a run as a conversation: chunks put together, in the order in which they began."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from otel_stream.replay.rebuild import ReplayedRun
from otel_stream.view.shapes import Row

#: Messages that are shown, characters of each, and of all: what is older is cut first.
_MOST: Final = 500
_LONGEST: Final = 100_000
_ALL: Final = 500_000

_ROLES: Final = {
    "aimessagechunk": "ai", "assistant": "ai", "user": "human", "humanmessagechunk": "human",
    "systemmessagechunk": "system", "toolmessagechunk": "tool",
}  # fmt: skip


def conversation(run: ReplayedRun | None) -> Row:
    """Return the messages that were streamed; where none were, those of the last state."""
    if run is None:
        return {"from": "nothing", "messages": []}
    streamed = _streamed(run)
    if streamed:
        return {"from": "stream", "messages": _bounded(streamed)}
    for state in reversed(run.states):
        values = state.values
        if not state.ns and isinstance(values, dict) and isinstance(values.get("messages"), list):
            found = [_message(one, None) for one in values["messages"] if isinstance(one, dict)]
            return {"from": "state", "messages": _bounded(found)}
    return {"from": "nothing", "messages": []}


def _bounded(messages: list[Row]) -> list[Row]:
    """Return the newest messages, with as much text as a page can lay out; ``size`` is that of the whole."""
    left = _ALL
    for message in reversed(messages[-_MOST:]):
        text, size = message["text"], message["size"]
        message["text"] = text[: max(0, left)]
        left -= len(text)
        if len(message["text"]) == size:
            del message["size"]
    return messages[-_MOST:]


def _streamed(run: ReplayedRun) -> list[Row]:
    found: dict[str, Row] = {}
    for part in run.parts:
        if part.type != "messages" or not isinstance(part.data, list) or not part.data:
            continue
        chunk = part.data[0]
        if not isinstance(chunk, dict):
            continue
        id = str(chunk.get("id") or f"part {part.seq}")
        told = _message(chunk, part.node)
        if id not in found:
            found[id] = {**told, "id": id, "step": part.step, "seq": part.seq, "span": part.span_id}
            continue
        message = found[id]
        message["text"] = (message["text"] + told["text"])[:_LONGEST]
        message["size"] += told["size"]
        message["calls"] = _calls(message["calls"], told["calls"])
    return list(found.values())


def _message(chunk: dict[str, Any], node: str | None) -> Row:
    kind = str(chunk.get("type") or chunk.get("role") or "ai")
    text = _text(chunk.get("content"))
    return {
        "id": chunk.get("id"),
        "role": _ROLES.get(kind.lower(), kind.lower()),
        "name": chunk.get("name"),
        "node": node,
        "text": text[:_LONGEST],
        "size": len(text),
        "calls": [
            {"name": str(one.get("name") or ""), "args": one.get("args")}
            for one in _mappings(chunk.get("tool_call_chunks") or chunk.get("tool_calls"))
        ],
    }


def _calls(before: list[Row], more: list[Row]) -> list[Row]:
    """Return calls of tools with further pieces of them: a piece without a name goes on with the last."""
    for one in more:
        if before and not one["name"] and isinstance(one["args"], str):
            before[-1]["args"] = f"{before[-1]['args'] or ''}{one['args']}"
        else:
            before.append(one)
    return before


def _mappings(value: Any) -> Iterable[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else ()


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_block(one) for one in content)
    return ""


def _block(block: Any) -> str:
    if isinstance(block, str):
        return block
    if isinstance(block, dict):
        text = block.get("text")
        return text if isinstance(text, str) else f"[{block.get('type', 'content')}]"
    return ""
