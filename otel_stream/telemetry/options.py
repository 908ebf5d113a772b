"""What is exported, and how much of it: from the environment first, then from the program.

Read once, when the first run needs it or :func:`set_options` is called.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from otel_stream import semconv

CAPTURE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
EXPORT_MODES: Final = "OTEL_STREAM_EXPORT_MODES"
OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"

#: Modes whose parts become log events unless something else is asked for.
DEFAULT_MODES: Final = frozenset({"values", "updates", "custom", "messages"})
DEFAULT_MAX_BODY_BYTES: Final = 64 * 1024

#: Value of ``CAPTURE_CONTENT`` -> (content on spans, content on log events).
_CAPTURE: Final = {
    "": (False, False),
    "false": (False, False),
    "no_content": (False, False),
    "span_only": (True, False),
    "event_only": (False, True),
    "span_and_event": (True, True),
    "true": (True, True),
}

_logger = logging.getLogger(__name__)


class TelemetryOptions(msgspec.Struct, frozen=True):
    """What runs export: the resolved form of environment and configuration.

    ``modes`` are those whose parts become log events; content means state, messages and exception
    texts, ``max_body_bytes`` caps the body of one log event, in bytes of UTF-8.
    """

    modes: frozenset[str] = DEFAULT_MODES
    span_content: bool = False
    event_content: bool = False
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    names: semconv.GenAINames = semconv.genai_names("")


def resolve(
    *,
    capture_content: bool | None = None,
    modes: str | Iterable[str] | None = None,
    max_body_bytes: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> TelemetryOptions:
    """Combine the program's wishes with the environment, which wins wherever it says something.

    Raises:
        ValueError: a mode or a size that cannot be meant, from wherever it comes.
    """
    environ = os.environ if environ is None else environ
    span_content = event_content = bool(capture_content)
    if CAPTURE_CONTENT in environ:
        span_content, event_content = _capture(environ[CAPTURE_CONTENT])
    if EXPORT_MODES in environ:
        chosen = _modes(environ[EXPORT_MODES], EXPORT_MODES)
    else:
        chosen = DEFAULT_MODES if modes is None else _modes(modes, "modes")
    if max_body_bytes is not None and max_body_bytes < 1:
        raise ValueError(f"max_body_bytes={max_body_bytes!r} is no size: give a number of bytes, 1 or more.")
    return TelemetryOptions(
        modes=chosen,
        span_content=span_content,
        event_content=event_content,
        max_body_bytes=max_body_bytes or DEFAULT_MAX_BODY_BYTES,
        names=semconv.genai_names(environ.get(OPT_IN, "")),
    )


def _capture(value: str) -> tuple[bool, bool]:
    known = _CAPTURE.get(value.strip().lower())
    if known is None:
        # Off is the safe reading of a typing error: content that got out cannot be fetched back.
        _logger.warning(
            "%s=%r is not understood, so no content is exported; use one of %s.",
            CAPTURE_CONTENT,
            value,
            ", ".join(word.upper() for word in _CAPTURE if word),
        )
        return False, False
    return known


def _modes(given: str | Iterable[str], field: str) -> frozenset[str]:
    words = given.split(",") if isinstance(given, str) else list(given)
    for word in words:
        if not isinstance(word, str):
            raise ValueError(  # noqa: TRY004 - a bad value of a known field, whatever its type
                f"{field} contains {word!r}: name stream modes, such as {', '.join(sorted(DEFAULT_MODES))}."
            )
    chosen = frozenset(word.strip() for word in words if word.strip())
    return frozenset() if chosen == {"none"} else chosen


class _Current:
    options: TelemetryOptions | None = None


def get_options() -> TelemetryOptions:
    """Return the options in force; the first call reads the environment."""
    if _Current.options is None:
        _Current.options = resolve()
    return _Current.options


def set_options(options: TelemetryOptions | None) -> None:
    """Replace the options for runs that start from now on; None: read the environment again."""
    _Current.options = options
