"""What is exported, and how much of it: from the environment first, then from the program.

Read once, when the first run needs it or :func:`set_options` is called.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args

import msgspec

from otel_stream import semconv
from otel_stream.telemetry.redaction import Redaction, keyed_hash
from otel_stream.telemetry.variables import number, truth

CAPTURE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
EXPORT_MODES: Final = "OTEL_STREAM_EXPORT_MODES"
EXPORT_MESSAGES: Final = "OTEL_STREAM_EXPORT_MESSAGES"
EXPORT_STARTS: Final = "OTEL_STREAM_EXPORT_STARTS"
RECORD_AS: Final = "OTEL_STREAM_RECORD_AS"
EXCEPTION_OPT_IN: Final = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"
MIN_SPAN_DURATION: Final = "OTEL_STREAM_MIN_SPAN_DURATION"
REDACT_PATHS: Final = "OTEL_STREAM_REDACT_PATHS"
REDACT_PATTERN: Final = "OTEL_STREAM_REDACT_PATTERN"
REDACT_HASH_PATHS: Final = "OTEL_STREAM_REDACT_HASH_PATHS"
REDACT_KEY: Final = "OTEL_STREAM_REDACT_KEY"
MODEL_SPANS: Final = "OTEL_STREAM_MODEL_SPANS"
PRICES: Final = "OTEL_STREAM_PRICES"
CONVERSATION_BAGGAGE: Final = "OTEL_STREAM_CONVERSATION_BAGGAGE"
RUN_ATTRIBUTES: Final = "OTEL_STREAM_RUN_ATTRIBUTES"
EMIT_EVENT: Final = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"
OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"

#: Variables of ours that are read here.
OURS: Final = (
    *(EXPORT_MODES, EXPORT_MESSAGES, EXPORT_STARTS, RECORD_AS, MIN_SPAN_DURATION, MODEL_SPANS, PRICES),
    *(REDACT_PATHS, REDACT_PATTERN, REDACT_HASH_PATHS, REDACT_KEY, CONVERSATION_BAGGAGE, RUN_ATTRIBUTES),
)

RecordAs = Literal["log_events", "span_events", "both"]
ExceptionsAs = Literal["span_events", "logs", "logs/dup"]
MessagesAs = Literal["joined", "chunks"]
Starts = Literal["nodes", "runs", "spans", "none"]
ModelSpans = Literal["auto", "on", "off"]
Prices = Literal["auto", "provider", "off"]

#: Beside stream modes: where conditional edges and commands went, as log events.
ROUTES: Final = "graph.route"
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


class OptionError(ValueError):
    """What cannot be meant. The message names the field, the value and the remedy, and nothing of a run."""


class TelemetryOptions(msgspec.Struct, frozen=True):
    """What runs export: the resolved form of environment and configuration.

    ``modes`` are those whose parts become log events, and ``"graph.route"``; content means state, messages
    and exception texts, ``max_body_bytes`` caps the body of one log event, in bytes of UTF-8.
    ``redaction`` is applied to content before it leaves, to the texts of exceptions, tags and metadata,
    too.

    ``messages``: whether the chunks of a message become one log event, or each its own.
    ``starts``: whose beginnings become log events: of runs, and of supersteps and ``"nodes"`` that go on for
    longer than half a second, of ``"runs"`` alone, of everybody's ``"spans"`` and at once (with what
    ``configure()`` sets up), or of ``"none"``.
    ``min_span_duration``: seconds; a node that is quicker, and inside of which no span was opened, becomes
    an event of its superstep instead of a span. Only with the providers that ``configure()`` sets up.
    ``exceptions``: whether they are span events, log events (``"logs"``), or both (``"logs/dup"``).
    ``model_spans``: whether calls of models, tools and retrievers have spans of ours: always, never, or where
    no other instrumentation makes one of the same call.
    ``prices``: whose calls have a cost where a price table is installed: those to addresses that it knows,
    those of a ``"provider"`` that it knows wherever that is, a gateway say, or nobody's.
    ``record_as``: whether stream parts are shown as log events, as span events (by the bridge of
    ``otel_stream.sdk``), or as both.
    """

    modes: frozenset[str] = DEFAULT_MODES
    span_content: bool = False
    event_content: bool = False
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    names: semconv.GenAINames = semconv.genai_names("")
    redaction: Redaction | None = None
    messages: MessagesAs = "joined"
    starts: Starts = "none"
    record_as: RecordAs = "log_events"
    exceptions: ExceptionsAs = "span_events"
    model_spans: ModelSpans = "auto"
    prices: Prices = "auto"
    #: Whether calls of models are told as log events, with content or without.
    tells_calls: bool = False
    #: Whether the conversation goes on to the services that nodes call, in W3C baggage.
    conversation_baggage: bool = False
    #: Keys of a run's metadata that its span, and those of its calls, show.
    run_attributes: tuple[str, ...] = ()
    min_span_duration: float = 0.0
    #: What hashes of ids are keyed with where no rule brings a key.
    hash_key: str = ""

    def pseudonym(self, text: str) -> str:
        """Return a name for ``text``, the same in every process with the same key."""
        rules = self.redaction
        return keyed_hash(text, self.hash_key if rules is None else rules.key or self.hash_key)


def resolve(
    *,
    capture_content: bool | None = None,
    modes: str | Iterable[str] | None = None,
    max_body_bytes: int | None = None,
    redaction: Redaction | None = None,
    messages: str | None = None,
    starts: str | None = None,
    record_as: str | None = None,
    min_span_duration: float | None = None,
    model_spans: str | None = None,
    conversation_baggage: bool = False,
    run_attributes: str | Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
) -> TelemetryOptions:
    """Combine the program's wishes with the environment, which wins wherever it says something.

    Of redaction the rules of both apply: the environment can hide more, never less.

    Raises:
        OptionError: something that cannot be meant, from wherever it comes.
    """
    environ = os.environ if environ is None else environ
    _tell_typos(environ)
    span_content = event_content = bool(capture_content)
    if environ.get(CAPTURE_CONTENT, "").strip():
        span_content, event_content = _capture(environ[CAPTURE_CONTENT])
    if environ.get(EXPORT_MODES, "").strip():
        chosen = _modes(environ[EXPORT_MODES], EXPORT_MODES)
    else:
        chosen = DEFAULT_MODES if modes is None else _modes(modes, "modes")
    if max_body_bytes is not None and max_body_bytes < 1:
        raise OptionError(f"max_body_bytes={max_body_bytes!r} is no size: give a number of bytes, 1 or more.")
    rules = _redaction(redaction, environ)
    shown_as: RecordAs = _choice(RecordAs, record_as, "record_as", RECORD_AS, environ)
    told: Starts = _choice(Starts, starts, "starts", EXPORT_STARTS, environ)
    return TelemetryOptions(
        modes=chosen,
        span_content=span_content,
        event_content=event_content,
        max_body_bytes=max_body_bytes or DEFAULT_MAX_BODY_BYTES,
        names=semconv.genai_names(environ.get(OPT_IN, "")),
        redaction=rules,
        messages=_messages(messages, rules, environ),
        # An event of a span is not heard of before the span has ended.
        starts="none" if shown_as == "span_events" or not chosen else told,
        record_as=shown_as,
        model_spans=_choice(ModelSpans, model_spans, "model_spans", MODEL_SPANS, environ),
        prices=_choice(Prices, None, "prices", PRICES, environ),
        conversation_baggage=truth(environ, CONVERSATION_BAGGAGE, default=conversation_baggage),
        run_attributes=_run_attributes(run_attributes, environ),
        tells_calls=truth(environ, EMIT_EVENT, default=event_content),
        exceptions=_exceptions(environ.get(EXCEPTION_OPT_IN, "")),
        min_span_duration=_seconds(min_span_duration, environ),
        hash_key=environ.get(REDACT_KEY, ""),
    )


def _messages(given: str | None, rules: Redaction | None, environ: Mapping[str, str]) -> MessagesAs:
    chosen: MessagesAs = _choice(MessagesAs, given, "messages", EXPORT_MESSAGES, environ)
    if chosen == "chunks" and rules is not None and not rules.opens:
        _logger.warning(
            "Messages are exported joined, not as chunks: a secret that is split over chunks has no pattern."
        )
        return "joined"
    return chosen


def _redaction(given: Redaction | None, environ: Mapping[str, str]) -> Redaction | None:
    paths, hashed = _listed(environ, REDACT_PATHS), _listed(environ, REDACT_HASH_PATHS)
    pattern, key = environ.get(REDACT_PATTERN, ""), environ.get(REDACT_KEY, "")
    if not paths and not pattern and not hashed and (given is None or not key):
        return given
    try:
        return (given or Redaction()).extended(paths, [pattern] if pattern else [], hashed=hashed, key=key)
    except ValueError as error:
        raise OptionError(f"{REDACT_PATHS}, {REDACT_HASH_PATHS} or {REDACT_PATTERN}: {error}") from None


def _run_attributes(given: str | Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    words = given.split(",") if isinstance(given, str) else given
    return tuple(_listed(environ, RUN_ATTRIBUTES) or (word.strip() for word in words if word.strip()))


def _listed(environ: Mapping[str, str], name: str) -> list[str]:
    return [word.strip() for word in environ.get(name, "").split(",") if word.strip()]


def _seconds(given: float | None, environ: Mapping[str, str]) -> float:
    if given is not None and not 0 <= given < float("inf"):
        raise OptionError(f"min_span_duration={given!r} is no duration: give seconds, 0 or more.")
    return number(environ, MIN_SPAN_DURATION, given or 0.0, zero=True)


def _exceptions(opt_in: str) -> ExceptionsAs:
    """Read the variable as the conventions have it: a list, in which ``logs/dup`` wins."""
    words = {word.strip() for word in opt_in.split(",")}
    return "logs/dup" if "logs/dup" in words else "logs" if "logs" in words else "span_events"


def _choice(kind: Any, given: str | None, field: str, variable: str, environ: Mapping[str, str]) -> Any:
    known: tuple[str, ...] = get_args(kind)
    if environ.get(variable, "").strip():
        field, given = variable, environ[variable].strip().lower()
    if given is not None and given not in known:
        raise OptionError(f"{field}={given!r} is not known: use one of {', '.join(known)}.")
    return known[0] if given is None else given


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
            raise OptionError(
                f"{field} contains {word!r}: name stream modes, such as {', '.join(sorted(DEFAULT_MODES))}."
            )
        _check_typo(word.strip(), field)
    chosen = frozenset(word.strip() for word in words if word.strip())
    return frozenset() if chosen == {"none"} else chosen


def _check_typo(word: str, field: str) -> None:
    """Refuse a mode that is nearly one of ours: any other word may be a mode of the program's own."""
    if word in _KNOWN_MODES:
        return
    near = get_close_matches(word.lower(), _KNOWN_MODES, 1, 0.8)
    if near:
        raise OptionError(f"{field} contains {word!r}, which is no mode: did you mean {near[0]!r}?")


def _tell_typos(environ: Mapping[str, str]) -> None:
    """Warn of a variable that is nearly one of ours, and read by nobody."""
    for name in environ:
        if name.startswith("OTEL_STREAM_") and name not in OURS:
            near = get_close_matches(name, OURS, 1, 0.9)
            if near:
                _logger.warning("%s is no variable of ours, and ignored: did you mean %s?", name, near[0])


_KNOWN_MODES: Final = (*semconv.EVENT_BY_MODE, ROUTES, "none")


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
