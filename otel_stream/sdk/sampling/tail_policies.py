"""What a tail sampler keeps: policies over what is known of a trace when it is decided.

A policy is anything with a ``name`` and a method ``keeps``; a plain function of a ``TailTrace`` will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otel_stream import semconv
from otel_stream.config import ConfigError
from otel_stream.events import End
from otel_stream.sdk.sampling.bucket import TokenBucket
from otel_stream.sdk.versions import ReadWriteLogRecord


class TailTrace:
    """What is known of a trace: its spans that have ended and its log events, in their order.

    ``complete``: the local root span has ended; otherwise time or memory ran out before.
    """

    __slots__ = ("complete", "logs", "spans", "trace_id")

    def __init__(
        self,
        trace_id: int,
        spans: Sequence[ReadableSpan],
        logs: Sequence[ReadWriteLogRecord],
        *,
        complete: bool,
    ) -> None:
        self.trace_id = trace_id
        self.spans = spans
        self.logs = logs
        self.complete = complete

    @property
    def root(self) -> ReadableSpan | None:
        """The local root that ended last, None if none has."""
        if self.complete and self.spans:
            return self.spans[-1]  # its end is what completed the trace
        roots = (span for span in reversed(self.spans) if span.parent is None or span.parent.is_remote)
        return next(roots, None)

    @property
    def duration(self) -> float:
        """Seconds from the earliest start to the latest end of its spans; 0.0 without spans."""
        starts = [span.start_time for span in self.spans if span.start_time is not None]
        ends = [span.end_time for span in self.spans if span.end_time is not None]
        return (max(ends) - min(starts)) / 1e9 if starts and ends else 0.0


class TailPolicy(Protocol):
    """One reason to keep a trace."""

    #: What decisions are counted under: one of few words.
    name: str

    def keeps(self, trace: TailTrace, /) -> bool:
        """Return whether ``trace`` is kept; called once per trace, from any thread."""
        raise NotImplementedError


#: What ``TailSamplingProcessor`` takes as a policy.
PolicyLike: TypeAlias = TailPolicy | Callable[[TailTrace], bool]


class KeepErrors:
    """Keeps a trace with a span whose status is ERROR; with ``root_only`` the local root's alone counts.

    A failed attempt that was retried has such a span, too.
    """

    name = "error"

    def __init__(self, *, root_only: bool = False) -> None:
        self._root_only = root_only

    def keeps(self, trace: TailTrace, /) -> bool:
        """Look at the status of the spans."""
        spans = (trace.root,) if self._root_only else trace.spans
        return any(span is not None and span.status.status_code is StatusCode.ERROR for span in spans)


class KeepSlow:
    """Keeps a trace that took longer than ``seconds``.

    Raises:
        ConfigError: ``seconds`` is negative, or no number.
    """

    name = "slow"

    def __init__(self, seconds: float) -> None:
        self._seconds = number("KeepSlow.seconds", seconds, 0, None)

    def keeps(self, trace: TailTrace, /) -> bool:
        """Compare its duration."""
        return trace.duration > self._seconds


class KeepMatching:
    """Keeps a trace with a span whose attribute ``key`` is one of ``values``; without values: is set."""

    name = "attribute"

    def __init__(self, key: str, *values: Any) -> None:
        self._key = key
        self._values = values

    def keeps(self, trace: TailTrace, /) -> bool:
        """Look at the attributes of the spans."""
        found = [span.attributes[self._key] for span in trace.spans if self._key in (span.attributes or ())]  # type: ignore[index]
        return any(value in self._values for value in found) if self._values else bool(found)


class KeepInterrupted:
    """Keeps a trace in which a run or a task was interrupted: it waits for an answer."""

    name = "interrupted"

    def keeps(self, trace: TailTrace, /) -> bool:
        """Look at how runs and tasks ended."""
        for span in trace.spans:
            attributes = span.attributes or {}
            ends = attributes.get(semconv.GRAPH_RUN_END), attributes.get(semconv.GRAPH_TASK_END)
            if End.INTERRUPTED.value in ends:
                return True
        return False


#: OpenTelemetry's consistent probability sampling compares 56 bits of randomness with a threshold.
_RANDOM_BITS: Final = 56


class KeepRatio:
    """Keeps this share of all traces, the same ones everywhere: consistent by trace id.

    It compares as OpenTelemetry's threshold samplers do (tracestate ``ot=rv:...`` if it is there, else
    the lower 56 bits of the trace id): of two ratios the smaller keeps a subset of the larger, in
    other processes and in a Collector, too. The SDK's ``TraceIdRatioBased`` is not one of them.

    Raises:
        ConfigError: ``ratio`` is not between 0 and 1.
    """

    name = "ratio"

    def __init__(self, ratio: float) -> None:
        number("KeepRatio.ratio", ratio, 0, 1)
        self._threshold = (1 << _RANDOM_BITS) - round(ratio * (1 << _RANDOM_BITS))

    def keeps(self, trace: TailTrace, /) -> bool:
        """Compare its randomness."""
        return self._randomness(trace) >= self._threshold

    def _randomness(self, trace: TailTrace) -> int:
        context = trace.spans[0].context if trace.spans else None
        state = "" if context is None else context.trace_state.get("ot") or ""
        for field in state.split(";"):
            key, _, value = field.partition(":")
            if key == "rv" and len(value) == _RANDOM_BITS // 4 and set(value) <= set("0123456789abcdef"):
                return int(value, 16)
        return trace.trace_id & ((1 << _RANDOM_BITS) - 1)


class KeepRate:
    """Keeps at most ``per_second`` traces a second, the first ones; saves up one second's worth.

    Raises:
        ConfigError: ``per_second`` is not above 0.
    """

    name = "rate_limit"

    def __init__(self, per_second: float) -> None:
        rate = number("KeepRate.per_second", per_second, 0, None)
        if not rate:
            raise ConfigError("KeepRate.per_second: 0 keeps nothing; leave the policy out")
        self._bucket = TokenBucket(rate, max(1.0, rate))

    def keeps(self, trace: TailTrace, /) -> bool:
        """Take a token, if there is one."""
        return self._bucket.take()

    def after_fork(self) -> None:
        """Replace what a thread of the parent may hold."""
        self._bucket.after_fork()


def number(field: str, value: float, least: float, most: float | None) -> float:
    """Return ``value``.

    Raises:
        ConfigError: it is no number from ``least`` to ``most``.
    """
    known: Any = value
    if (
        isinstance(known, bool)
        or not isinstance(known, int | float)
        or not known >= least
        or (most is not None and known > most)
    ):
        bounds = f"{least} or more" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{field}: {value!r} can't be meant; give a number, {bounds}")
    return value


def named(policy: Any) -> tuple[str, Callable[[TailTrace], bool]]:
    """Return what a policy is called, and the function that decides.

    Raises:
        ConfigError: ``policy`` is none.
    """
    keeps: Any = getattr(policy, "keeps", policy)
    is_one: bool = callable(policy) or hasattr(policy, "keeps")
    if not is_one or isinstance(policy, type):
        raise ConfigError(
            f"TailSamplingProcessor.policies: {policy!r} is no policy; give objects such as KeepErrors(), "
            "or functions of one TailTrace"
        )
    name = getattr(policy, "name", None) or getattr(policy, "__name__", type(policy).__name__)
    return str(name), keeps
