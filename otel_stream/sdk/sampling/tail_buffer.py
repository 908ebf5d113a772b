"""Traces that wait for their decision, within bounds of memory; what is late, and what was decided.

Every method takes the lock and calls nobody else's code under it. A trace that is due is *claimed*: by
one thread, with what is known of it. What comes until it is *settled* is given to that same thread, so a
trace keeps its order.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Condition, RLock
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from otel_stream.sdk.sampling.tail_statistics import Account
from otel_stream.sdk.versions import ReadWriteLogRecord


class Limits(NamedTuple):
    """Seconds from the first item of a trace until it is due at the latest, and bounds of memory."""

    wait: float
    traces: float
    items: float
    items_per_trace: float
    verdicts: float


class Waiting:
    """A trace that is not settled."""

    __slots__ = ("complete", "deadline", "deciding", "logs", "roots", "spans")

    def __init__(self, deadline: float) -> None:
        self.spans: list[ReadableSpan] = []
        self.logs: list[ReadWriteLogRecord] = []
        #: Ids of local roots that are open: a trace that calls itself through the network has several.
        self.roots: set[int] = set()
        self.deadline = deadline
        #: Whether they have all ended.
        self.complete = False
        #: Whether a thread has claimed it.
        self.deciding = False


class Claim(NamedTuple):
    """A trace that one thread is to decide, with what was known of it, and what made it due."""

    trace_id: int
    trace: Waiting
    spans: list[ReadableSpan]
    logs: list[ReadWriteLogRecord]
    roots: frozenset[int]
    cause: str


class TraceBuffer:
    """Traces between their first item and their decision."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: Trace id -> whether it was kept; the youngest ones.
        self._verdicts: OrderedDict[int, bool] = OrderedDict()
        #: After the shutdown nothing waits any more.
        self.closed = False
        self._reset({})

    def _reset(self, traces: dict[int, Waiting]) -> None:
        # Re-entrant: a finalizer may end a span in the middle of anything.
        self.lock = RLock()
        self._settled = Condition(self.lock)
        #: In the order of their first items, which is also that of their deadlines.
        self._traces = traces
        #: Items in the traces, and those on their way out of them.
        self._waiting = self._passing = 0
        self.account = Account()

    def after_fork(self) -> None:
        """Leave to the parent what waits; a local root that is open will end here, too."""
        open_ones = {trace_id: trace for trace_id, trace in self._traces.items() if trace.roots}
        for trace in open_ones.values():
            trace.spans, trace.logs = [], []
            trace.complete = trace.deciding = False
        self._reset(open_ones)

    @property
    def held(self) -> int:
        """Items that are neither handed on nor dropped yet."""
        return self._waiting + self._passing

    @property
    def traces(self) -> int:
        """Traces that are not settled."""
        return len(self._traces)

    def verdict(self, trace_id: int) -> bool | None:
        """Return whether a trace was kept, None if that is not decided, or not known any more."""
        return self._verdicts.get(trace_id)

    # -- what comes in ------------------------------------------------------------------------

    def is_new(self, trace_id: int) -> bool:
        """Return whether nothing is known of a trace."""
        return trace_id not in self._traces and trace_id not in self._verdicts

    def root_started(self, trace_id: int, span_id: int) -> list[Claim]:
        """Wait for the end of a local root, even if its trace was dropped before; return what is due."""
        claims: list[Claim] = []
        with self.lock:
            if self.closed or self._verdicts.get(trace_id) is True:
                return claims
            self._verdicts.pop(trace_id, None)
            trace = self._traces.get(trace_id)
            if trace is None:
                claims = self._excess(self._limits.traces - 1)
                trace = self._open(trace_id)
            trace.roots.add(span_id)
        return claims

    def hold(
        self, trace_id: int, span: ReadableSpan | None, log: ReadWriteLogRecord | None
    ) -> tuple[bool, list[Claim]]:
        """Keep an item; return whether it is to be handed on instead, and what is due by now."""
        claims: list[Claim] = []
        with self.lock:
            trace = self._traces.get(trace_id)
            if trace is None:
                kept = True if self.closed else self._verdicts.get(trace_id)
                if kept is not None:
                    self.account.passed(span is not None, log is not None, kept=kept, late=True)
                    return kept, claims
                claims = self._excess(self._limits.traces - 1)
                trace = self._open(trace_id)
            self._waiting += 1
            if log is not None:
                trace.logs.append(log)
            elif span is not None:
                trace.spans.append(span)
                about = span.context
                if about is not None and about.span_id in trace.roots:
                    trace.roots.remove(about.span_id)
                    trace.complete = not trace.roots
            if not trace.deciding:
                if trace.complete:
                    claims.append(self._claim(trace_id, trace, "complete"))
                elif len(trace.spans) + len(trace.logs) >= self._limits.items_per_trace:
                    claims.append(self._claim(trace_id, trace, "full"))
            if self._waiting > self._limits.items:
                claims += self._excess(self._limits.traces)
        return False, claims

    def _open(self, trace_id: int) -> Waiting:
        trace = self._traces[trace_id] = Waiting(time.monotonic() + self._limits.wait)
        return trace

    # -- what is due --------------------------------------------------------------------------

    def _claim(self, trace_id: int, trace: Waiting, cause: str) -> Claim:
        trace.deciding = True
        return Claim(trace_id, trace, *self._take(trace), frozenset(trace.roots), cause)

    def _take(self, trace: Waiting) -> tuple[list[ReadableSpan], list[ReadWriteLogRecord]]:
        spans, logs = trace.spans, trace.logs
        trace.spans, trace.logs = [], []
        self._waiting -= len(spans) + len(logs)
        self._passing += len(spans) + len(logs)
        return spans, logs

    def _excess(self, max_traces: float) -> list[Claim]:
        """Claim the oldest traces until the others are within the limits."""
        claims: list[Claim] = []
        excess = len(self._traces) - max_traces
        if excess <= 0 and self._waiting <= self._limits.items:
            return claims
        for trace_id, trace in self._traces.items():
            if len(claims) >= excess and self._waiting <= self._limits.items:
                break
            if not trace.deciding:
                claims.append(self._claim(trace_id, trace, "full"))
        return claims

    def expired(self) -> tuple[list[Claim], float]:
        """Return what has waited too long, and the seconds until something else may have."""
        now = time.monotonic()
        claims: list[Claim] = []
        with self.lock:
            for trace_id, trace in self._traces.items():
                if trace.deadline > now:
                    return claims, trace.deadline - now
                if not trace.deciding:
                    claims.append(self._claim(trace_id, trace, "timeout"))
        return claims, self._limits.wait  # nothing that comes from now on is due before

    def all(self) -> list[Claim]:
        """Return all that waits."""
        with self.lock:
            return [
                self._claim(trace_id, trace, "flush")
                for trace_id, trace in self._traces.items()
                if not trace.deciding
            ]

    # -- what was decided ---------------------------------------------------------------------

    def decided(self, claim: Claim, policy: str | None) -> None:
        """Take note that ``claim`` was carried out."""
        with self.lock:
            self._passed(claim.spans, claim.logs, kept=policy is not None)
            self.account.decisions[policy, claim.cause] += 1

    def settle(self, claim: Claim, *, kept: bool) -> tuple[list[ReadableSpan], list[ReadWriteLogRecord]]:
        """Return what has come meanwhile, for :meth:`passed`; if nothing has, remember the decision."""
        trace = claim.trace
        with self.lock:
            spans, logs = self._take(trace)
            if spans or logs:
                return spans, logs
            trace.deciding = False
            if trace.roots - claim.roots and not kept:
                trace.complete = False  # another local root has started: what it brings is not decided
            elif self._traces.pop(claim.trace_id, None) is not None:
                self._verdicts[claim.trace_id] = kept
                self._verdicts.move_to_end(claim.trace_id)
                while len(self._verdicts) > self._limits.verdicts:
                    self._verdicts.popitem(last=False)
            self._settled.notify_all()
        return spans, logs

    def passed(self, spans: list[ReadableSpan], logs: list[ReadWriteLogRecord], *, kept: bool) -> None:
        """Take note that what :meth:`settle` returned has been handed on or dropped."""
        with self.lock:
            self._passed(spans, logs, kept=kept, late=True)

    def _passed(
        self, spans: list[ReadableSpan], logs: list[ReadWriteLogRecord], *, kept: bool, late: bool = False
    ) -> None:
        self._passing -= len(spans) + len(logs)
        self.account.passed(len(spans), len(logs), kept=kept, late=late)

    def wait_for_others(self, timeout: float) -> bool:
        """Wait until no thread is about to hand on what it decided; return whether that is so."""
        with self.lock:
            return self._settled.wait_for(
                lambda: not any(trace.deciding for trace in self._traces.values()), timeout
            )
