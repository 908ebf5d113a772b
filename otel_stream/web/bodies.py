"""What a request says in its body: JSON, a mapping, and each field that is known of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from otel_stream.encoding import decode
from otel_stream.web.problems import Problem

_TEXTS: Final = (
    "thread_id", "assistant_id", "graph_id", "status", "if_exists", "if_not_exists", "multitask_strategy",
    "on_disconnect", "checkpoint_id", "checkpoint_ns", "durability", "as_node",
)  # fmt: skip
_MAPPINGS: Final = ("metadata", "config", "configurable", "command", "checkpoint", "params", "forwardedProps")
_KINDS: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    **dict.fromkeys(_TEXTS, ("text", (str,))),
    **dict.fromkeys(_MAPPINGS, ("mapping", (dict,))),
    **dict.fromkeys(("limit", "offset"), ("number", (int,))),
    **dict.fromkeys(
        ("stream_mode", "interrupt_before", "interrupt_after"), ("name or list of names", (str, list))
    ),
    "before": ("text or mapping", (str, dict)),
}
#: Fields whose own fields are known, too.
_NESTED: Final = ("config", "checkpoint", "params", "before")


async def said(request: Request) -> dict[str, Any]:
    """Return the body of a request.

    Raises:
        Problem: it is no JSON, no mapping, or a field of it is of another kind than it has to be.
    """
    text = await request.body()
    try:
        body = decode(text) if text else {}
    except ValueError:
        raise Problem(422, "The body is no JSON.") from None
    if not isinstance(body, dict):
        raise Problem(422, "The body is no mapping.")
    _check(body)
    return body


def _check(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        kind, types = _KINDS.get(name, ("", (object,)))
        # Some languages write an empty mapping as a list.
        empty = value == [] and name in _MAPPINGS and name != "command"
        if value is not None and not isinstance(value, types) and not empty:
            raise Problem(422, f"{name} is no {kind}.")
        if isinstance(value, list) and str in types and not all(isinstance(one, str) for one in value):
            raise Problem(422, f"{name} is no {kind}.")
        if name in _NESTED and isinstance(value, dict):
            _check(value)
