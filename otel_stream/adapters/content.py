"""Messages of LangChain, openai and anthropic in the form of OpenTelemetry's GenAI conventions.

What is no text (an image, a sound, a file) goes by reference: its address, its id, or the digest of its
bytes. Nothing is imported of any of them: what a message is, is read off its fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_stream.calls import Parts

_ROLES: Final = {"human": "user", "ai": "assistant", "function": "tool", "developer": "system"}
#: Why a model stopped, in the convention's words for messages.
_REASONS: Final = {
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "refusal": "content_filter",
}
_KINDS: Final = {
    "image": "image",
    "audio": "audio",
    "video": "video",
    "file": "document",
    "document": "document",
}
_TEXTS: Final = frozenset({"text", "input_text", "output_text"})
_THOUGHTS: Final = frozenset({"thinking", "reasoning"})
#: What is said beside a message's own blocks, as ``tool_calls``.
_TOLD_TWICE: Final = frozenset(
    {"tool_use", "tool_call", "tool_call_chunk", "input_json_delta", "function_call"}
)


def reason(given: Any) -> str:
    """Return why a model stopped, as messages say it."""
    return _REASONS.get(given, given) if isinstance(given, str) and given else "stop"


def messages(given: Iterable[Any]) -> Parts:
    """Return messages, LangChain's or those of a request as mappings, in the convention's form."""
    return [message(one) for one in given]


def message(given: Any) -> dict[str, Any]:
    """Return one message."""
    if isinstance(given, str):
        return {"role": "user", "parts": [_text(given)]}
    if isinstance(given, tuple | list) and len(given) == 2:
        return {"role": _role(given[0]), "parts": parts(given[1])}
    role = _role(field(given, "role") or field(given, "type") or "user")
    content = field(given, "content")
    answered = field(given, "tool_call_id")
    if role == "tool" or answered is not None:
        response = content if content is not None else field(given, "output")
        shown = {"type": "tool_call_response", "id": answered, "response": _by_reference(response)}
        return _named(given, "tool", [shown])
    kind = field(given, "type")
    if kind == "function_call":  # an item of the Responses API
        return {"role": "assistant", "parts": [_item_call(given)]}
    if kind == "function_call_output":
        shown = {
            "type": "tool_call_response",
            "id": field(given, "call_id"),
            "response": _by_reference(field(given, "output")),
        }
        return {"role": "tool", "parts": [shown]}
    found = parts(content)
    refusal = field(given, "refusal")
    if isinstance(refusal, str) and refusal:
        found.append(_text(refusal))
    calls = field(given, "tool_calls") or ()
    if calls:
        found = [part for part in found if part["type"] != "tool_call"]
    return _named(given, role, [*found, *map(_tool_call, calls)])


def _named(given: Any, role: str, found: Parts) -> dict[str, Any]:
    name = field(given, "name")
    return {"role": role, "parts": found, **({"name": name} if isinstance(name, str) else {})}


def parts(content: Any) -> Parts:
    """Return the content of a message, a text or blocks, as parts."""
    if content is None or content in ("", []):
        return []
    if isinstance(content, str):
        return [_text(content)]
    if isinstance(content, Mapping | bytes | bytearray | memoryview) or not isinstance(content, Iterable):
        return [_part(content)]
    return [_text(one) if isinstance(one, str) else _part(one) for one in content]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _part(block: Any) -> dict[str, Any]:
    kind = field(block, "type")
    if kind in _TEXTS:
        return _text(str(field(block, "text") or ""))
    if kind in _THOUGHTS:
        thought = field(block, "thinking") or field(block, "reasoning") or field(block, "summary") or ""
        return {"type": "reasoning", "content": thought if isinstance(thought, str) else json.dumps(thought)}
    if kind == "refusal":
        return _text(str(field(block, "refusal") or ""))
    if kind in _TOLD_TWICE:
        return _tool_call(block)
    if kind == "tool_result":
        return {
            "type": "tool_call_response",
            "id": field(block, "tool_use_id"),
            "response": _by_reference(field(block, "content")),
        }
    found = _reference(block, str(kind))
    return found if found is not None else {"type": str(kind or "unknown")}


def _reference(block: Any, kind: str) -> dict[str, Any] | None:
    """Return what refers to an image, a sound or a file; None if the block is no such thing."""
    if isinstance(block, bytes | bytearray | memoryview):
        return _file(block)
    modality = next((shown for name, shown in _KINDS.items() if name in kind), None)
    if modality is None:
        return None
    source = field(block, "source")
    if not isinstance(source, Mapping):
        source = field(block, kind) if isinstance(field(block, kind), Mapping) else block
    mime = field(source, "media_type") or field(source, "mime_type") or field(block, "mime_type")
    about = {"modality": modality, "mime_type": mime}
    identity = field(source, "file_id") or field(source, "id")
    url = field(source, "url") or field(source, "image_url") or field(source, "file_url")
    url = field(url, "url") if isinstance(url, Mapping) else url
    data = next(
        (field(source, name) for name in ("data", "base64", "file_data") if field(source, name)), None
    )
    if isinstance(url, str) and not url.startswith("data:"):
        return {"type": "uri", **about, "uri": url}
    if isinstance(url, str):
        head, _, data = url.partition(",")
        about["mime_type"] = head.removeprefix("data:").partition(";")[0] or mime
    if data is not None:
        return {"type": "uri", **about, "uri": _digest(data)}
    if isinstance(identity, str):
        return {"type": "file", **about, "file_id": identity}
    return {"type": kind, **about}


def _file(data: Any) -> dict[str, Any]:
    """Return what refers to bytes of which nothing is known."""
    return {"type": "uri", "modality": "document", "uri": _digest(data)}


def _digest(data: Any) -> str:
    is_raw = isinstance(data, bytes | bytearray | memoryview)
    raw = data if is_raw else str(data).encode(errors="replace")
    return f"urn:sha256:{hashlib.sha256(raw).hexdigest()}"


def _by_reference(value: Any) -> Any:
    """Return what a tool has answered, with references in place of what is no text."""
    if isinstance(value, list | tuple):
        return [_by_reference(one) for one in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return _file(value)
    kind = field(value, "type") if isinstance(value, Mapping) else None
    if isinstance(kind, str):
        found = _reference(value, kind)
        if found is not None:
            return found
    return value


def by_reference(value: Any) -> Any:
    """Return what a tool has returned, with references in place of what is no text."""
    return _by_reference(value)


def _tool_call(call: Any) -> dict[str, Any]:
    function = field(call, "function")
    source = function if function is not None else call
    arguments = next(
        (found for name in ("args", "arguments", "input") if (found := field(source, name)) is not None),
        None,
    )
    return {
        "type": "tool_call",
        "id": field(call, "id"),
        "name": str(field(source, "name") or ""),
        "arguments": _read(arguments),
    }


def items(given: Iterable[Any]) -> Parts:
    """Return what an answer of the Responses API consists of, as parts of one message."""
    found: Parts = []
    for item in given:
        kind = field(item, "type")
        if kind == "message":
            found += parts(field(item, "content"))
        else:
            found.append(_item_call(item) if kind == "function_call" else _part(item))
    return found


def _item_call(item: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "id": field(item, "call_id"),
        "name": str(field(item, "name") or ""),
        "arguments": _read(field(item, "arguments")),
    }


def _read(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def definitions(tools: Any) -> Parts:
    """Return the tools that a model is offered."""
    if not isinstance(tools, list | tuple):
        return []
    found: Parts = []
    for tool in tools:
        function = field(tool, "function")
        source = function if function is not None else tool
        name = field(source, "name")
        kind = "function" if function is not None or field(tool, "input_schema") is not None else None
        parameters = field(source, "parameters") or field(source, "input_schema")
        found.append(
            {
                "type": str(kind or field(tool, "type") or "function"),
                "name": str(name or field(tool, "type") or ""),
                "description": field(source, "description"),
                "parameters": parameters,
            }
        )
    return found


def _role(given: Any) -> str:
    role = str(given)
    role = role.removesuffix("MessageChunk").lower() if role.endswith("MessageChunk") else role
    return _ROLES.get(role, "assistant" if role == "message" else role)


def field(value: Any, name: str) -> Any:
    """Return what a mapping, or an object, has under a name; None if it has nothing."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
