"""What ``configure()`` was given, as the rest reads it: checked, and comparable with a second call's."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any, Final

from otel_stream.telemetry.redaction import Redaction

#: A span with its resource and its scope fits into that.
_SHORTEST_REQUEST: Final = 16 * 1024

_A_FLAG: Final = (bool, "True or False")
_SECONDS: Final = (Real, "seconds, such as 5.0")

#: Argument -> (of which type it is, what to give instead).
_KINDS: Final[dict[str, tuple[type | tuple[type, ...], str]]] = {
    "service_name": (str, "a text, such as 'my-app'"),
    "protocol": (str, "'grpc' or 'http/protobuf'"),
    "endpoint": (str, "a URL, such as 'http://localhost:4318'"),
    "path": ((str, os.PathLike), "the path of a file"),
    "capture_content": _A_FLAG,
    "max_body_bytes": (int, "a number of bytes"),
    "max_request_bytes": (int, f"a number of bytes, {_SHORTEST_REQUEST} or more"),
    "redaction": (Redaction, "a Redaction"),
    "min_span_duration": _SECONDS,
    "shutdown_timeout": _SECONDS,
    "conversation_baggage": _A_FLAG,
    "langgraph": _A_FLAG,
    "logging": _A_FLAG,
}


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """Return what ``configure()`` was given, without iterators and objects of the program's own.

    Raises:
        ValueError: an argument that cannot be meant; names it, and the remedy.
    """
    for name, (kind, remedy) in _KINDS.items():
        _require(name, given[name], kind, remedy)
    endpoint, path = given["endpoint"] or None, given["path"]
    path = None if path is None else os.fspath(path)
    if endpoint is not None and path is not None:
        raise ValueError(f"endpoint={endpoint!r} and path={path!r} exclude each other: give one.")
    longest = given["max_request_bytes"]
    if longest is not None and longest < _SHORTEST_REQUEST:
        raise ValueError(
            f"max_request_bytes={longest!r} is too short for a request: give {_SHORTEST_REQUEST} or more."
        )
    modes, attributes = given["modes"], given["run_attributes"]
    return given | {
        "endpoint": endpoint,
        "path": path,
        "modes": None if modes is None else _several("modes", modes, "names of modes"),
        "run_attributes": _several("run_attributes", attributes, "keys of metadata"),
        "tail": _several("tail", given["tail"], "policies, such as [KeepErrors()]"),
    }


def _require(name: str, value: Any, kind: type | tuple[type, ...], remedy: str) -> None:
    # True is an int to Python, and a slip of the pen to us.
    mistaken = isinstance(value, bool) and kind is not bool
    if value is not None and (mistaken or not isinstance(value, kind)):
        raise ValueError(f"{name}={value!r} is a {type(value).__name__}: give {remedy}.")


def _several(name: str, value: Any, remedy: str) -> str | tuple[Any, ...]:
    if isinstance(value, str):
        return value
    try:
        return tuple(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} is a {type(value).__name__}: give {remedy}.") from None
