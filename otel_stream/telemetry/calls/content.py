"""What was said in a call, as it may leave the process: redacted, within bounds, and always whole JSON.

Rules find the text of a message where messages mode has it, at ``messages.<n>.content``, the arguments of a
tool that a model asks for at ``messages.<n>.tool_calls.<n>.args``, and what a tool is called with, and
returns, at ``input`` and ``output``, where tools mode has them. Definitions of tools are at ``tools.<n>``,
documents at ``documents.<n>``.
"""

from __future__ import annotations

from typing import Any, Final

from otel_stream import semconv
from otel_stream.calls import Content, Parts
from otel_stream.encoding import decode, encode
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.redaction import Path, Redaction
from otel_stream.telemetry.scope import Attributes

#: What is content in a part of a message, and the field of LangChain's messages that it stands for.
_CONTENT: Final = {
    "content": ("content",),
    "response": ("content",),
    "uri": ("content",),
    "file_id": ("content",),
    "arguments": ("tool_calls", "*", "args"),
    "server_tool_call": ("tool_calls", "*", "args"),
    "server_tool_call_response": ("content",),
}
#: What else may say something: of whom a message is, and of a tool what it is for.
_ABOUT: Final = ("name", "id", "description", "parameters")
#: What a text is cut to at least, in characters.
_LEAST: Final = 32
_MARK: Final = "…"

_MESSAGES: Final = (
    (semconv.GEN_AI_SYSTEM_INSTRUCTIONS, "system"),
    (semconv.GEN_AI_INPUT_MESSAGES, "input"),
    (semconv.GEN_AI_OUTPUT_MESSAGES, "output"),
    (semconv.GEN_AI_TOOL_DEFINITIONS, "tools"),
    (semconv.GEN_AI_RETRIEVAL_DOCUMENTS, "documents"),
)


class Shown:
    """The content of one call, piece by piece: ``values`` by the names of attributes, in terms of JSON."""

    def __init__(self, options: TelemetryOptions) -> None:
        self._rules = options.redaction
        self._limit = options.max_body_bytes
        self.values: dict[str, Any] = {}
        #: How many values were masked, and how many texts cut or left out.
        self.masked = 0
        self.cut = 0

    def add(self, content: Content) -> None:
        """Take in one side of the call."""
        for name, field in _MESSAGES:
            value: Parts | None = getattr(content, field)
            if value:
                self.values[name] = self._fitted(
                    [self._message(field, n, one) for n, one in enumerate(value)]
                )
        if content.arguments is not None:
            self._whole(semconv.GEN_AI_TOOL_CALL_ARGUMENTS, content.arguments, "input")
        if content.result is not None:
            self._whole(semconv.GEN_AI_TOOL_CALL_RESULT, content.result, "output")
        if content.query is not None:
            query = self._redacted(content.query, ("input",))
            self.values[semconv.GEN_AI_RETRIEVAL_QUERY_TEXT] = self._short(str(query), self._limit // 4)

    def as_text(self) -> Attributes:
        """Return the content as attributes of a span: what is structured is JSON."""
        found: Attributes = {
            name: value if isinstance(value, str) else encode(value).decode()
            for name, value in self.values.items()
        }
        return found | self._counts()

    def as_structure(self) -> Attributes:
        """Return the content as attributes of a log event."""
        return {**self.values, **self._counts()}

    def _counts(self) -> Attributes:
        counts = ((semconv.GRAPH_REDACTION_COUNT, self.masked), (semconv.GRAPH_CONTENT_CUT, self.cut))
        return {name: count for name, count in counts if count}

    # -- redaction ------------------------------------------------------------------------------------

    def _message(self, field: str, place: int, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message, a part, a definition or a document as it may leave."""
        parts = message.get("parts")
        if parts is None:
            around = field if field in ("tools", "documents") else "messages"
            return self._part((around, str(place)), 0, message)
        shown = [self._part(("messages", str(place)), n, part) for n, part in enumerate(parts)]
        found = {**_without_none(message), "parts": shown}
        if "name" in found:
            found["name"] = self._redacted(found["name"], ("messages", str(place), "name"))
        return found

    def _part(self, path: Path, place: int, part: dict[str, Any]) -> dict[str, Any]:
        found = _without_none(part)
        for field, inside in _CONTENT.items():
            if field in found:
                below = tuple(str(place) if name == "*" else name for name in inside)
                found[field] = self._redacted(found[field], (*path, *below))
        for field in _ABOUT:
            if field in found:
                found[field] = self._redacted(found[field], (*path, field))
        return found

    def _redacted(self, value: Any, path: Path) -> Any:
        rules: Redaction | None = self._rules
        if rules is None:
            return value if isinstance(value, str) else decode(encode(value))
        if rules.hides(path):
            self.masked += 1
            return rules.hidden(value, path)
        shown, count = rules.counted(value, path)
        self.masked += count
        return shown

    def _whole(self, name: str, value: Any, field: str) -> None:
        text = encode(self._redacted(value, (field,))).decode()
        if len(text.encode()) > self._limit:
            text = encode(self._short(text, self._limit // 4)).decode()
        self.values[name] = text

    # -- length ---------------------------------------------------------------------------------------

    def _fitted(self, items: Parts) -> Parts:
        """Return ``items`` with long texts cut, and without the oldest ones if that is not enough."""
        if len(encode(items)) <= self._limit:
            return items
        # A character may take up four bytes, and more as JSON; half is left for what is around them.
        longest = max(_LEAST, self._limit // 8 // max(1, sum(len(one.get("parts", "1")) for one in items)))
        items = [self._shortened(one, longest) for one in items]
        while len(items) > 1 and len(encode(items)) > self._limit:
            self.cut += 1
            items = items[1:]
        return items

    def _shortened(self, item: dict[str, Any], longest: int) -> dict[str, Any]:
        if "parts" in item:
            return {**item, "parts": [self._shortened(part, longest) for part in item["parts"]]}
        found = dict(item)
        for field in (*_CONTENT, "description", "parameters"):
            value = found.get(field)
            if isinstance(value, str):
                found[field] = self._short(value, longest)
            elif value is not None and len(text := encode(value).decode()) > longest:
                found[field] = self._short(text, longest)
        return found

    def _short(self, text: str, longest: int) -> str:
        if len(text) <= longest:
            return text
        self.cut += 1
        return text[:longest] + _MARK


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
