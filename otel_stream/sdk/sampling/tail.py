"""Tail sampling inside the process: what happened decides what is exported.

Rules of this file
------------------
1. Policies and the next processors are called without a lock, and nothing they raise gets further.
2. Whoever brings an item that makes a trace due decides it, there and then; a thread of our own comes
   only for what is due by the clock.
3. Whatever came in is kept, dropped or held, and counted so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from threading import Event, Thread
from typing import Any
from weakref import WeakMethod

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags, get_current_span

from otel_stream.config import ConfigError
from otel_stream.forking import in_child
from otel_stream.sdk.mishaps import Mishaps
from otel_stream.sdk.sampling.tail_buffer import Claim, Limits, TraceBuffer
from otel_stream.sdk.sampling.tail_policies import PolicyLike, TailTrace, named, number
from otel_stream.sdk.sampling.tail_statistics import NONE_LEFT, TailStatistics, show
from otel_stream.sdk.versions import ReadWriteLogRecord, wants, with_record

_SAMPLED = TraceFlags.SAMPLED


class TailSamplingProcessor(SpanProcessor):
    """Holds back the spans of a trace and its log events until it is known whether they are worth keeping.

    Add the processor itself to the ``TracerProvider`` and its ``logs`` to the ``LoggerProvider``, instead
    of the two it is given. A trace is decided when its local root span has ended (the last one, if it
    has several at a time), and by what is known so far: after ``decision_wait``, when memory is full (the
    oldest trace first), and by a flush or shutdown. The first policy that keeps it wins; without one it is
    dropped. What comes later follows the decision, as long as it is remembered; a new local root of a
    trace that was dropped is decided anew.

    What the head sampler left out does not come here; what it only recorded is handed on as it comes.
    A policy that raises is not asked again, and the trace it raised for is kept; if none is left, all are.

    Args:
        next_span_processor: gets the spans that are kept, such as a ``BatchSpanProcessor``; also every
            ``on_start``, when it happens.
        next_log_processor: gets the log records that are kept, and those of no trace, such as a
            ``BatchLogRecordProcessor``.
        policies: objects such as ``KeepErrors()``, or functions of one ``TailTrace``.
        decision_wait: seconds after the first item of a trace when it is decided at the latest.
        max_traces: how many traces may wait.
        max_items: how many spans and log records may wait, in all traces together.
        max_items_per_trace: and in one trace.
        max_decisions: how many decisions are remembered, the youngest ones.
        meter_provider: where the decisions are counted; the global one by default.

    Raises:
        ConfigError: no policies, something that is none, or a number that can't be meant.
    """

    def __init__(
        self,
        next_span_processor: SpanProcessor,
        next_log_processor: LogRecordProcessor,
        policies: Sequence[PolicyLike],
        *,
        decision_wait: float = 60.0,
        max_traces: int = 10_000,
        max_items: int = 100_000,
        max_items_per_trace: int = 20_000,
        max_decisions: int = 50_000,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        where = "TailSamplingProcessor"
        if not policies:
            raise ConfigError(f"{where}.policies: {policies!r} keeps nothing; give at least one policy")
        self._policies = tuple(named(policy) for policy in policies)
        self._objects = tuple(policies)
        limits = Limits(
            number(f"{where}.decision_wait", decision_wait, 0.001, threading.TIMEOUT_MAX),
            number(f"{where}.max_traces", max_traces, 1, None),
            number(f"{where}.max_items", max_items, 1, None),
            number(f"{where}.max_items_per_trace", max_items_per_trace, 1, None),
            number(f"{where}.max_decisions", max_decisions, 0, None),
        )
        self._wait = limits.wait
        self._buffer = TraceBuffer(limits)
        self.next_spans = next_span_processor
        self.next_logs = next_log_processor
        self._start_next = _overridden(next_span_processor, "on_start")
        self._ending_next = _overridden(next_span_processor, "_on_ending")
        self._mishap = Mishaps("The processor after a TailSamplingProcessor")
        self._stop = Event()
        self._watch: Thread | None = None
        #: For the ``LoggerProvider``.
        self.logs: LogRecordProcessor = _Logs(self)
        show(lambda: self._buffer.account, lambda: self._buffer.traces, meter_provider)
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._buffer.after_fork()
        self._watch = None
        self._stop = Event()
        for policy in self._objects:
            renew = getattr(policy, "after_fork", None)
            if renew is not None:
                renew()

    # -- what comes in ------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Take note of a local root, and tell the next processor of any span."""
        if self._start_next is not None:
            try:
                self._start_next(span, parent_context)
            except Exception as error:  # noqa: BLE001 - it would reach the program that is observed
                self._mishap(error)
        about = span.context
        if about is None or not about.trace_flags & _SAMPLED:
            return
        parent = span.parent
        # The first span of a trace that is seen here counts as a root, too: its parent is another provider's.
        if parent is None or parent.is_remote or self._buffer.is_new(about.trace_id):
            if self._watch is None:
                self._start_watch()
            claims = self._buffer.root_started(about.trace_id, about.span_id)
            if claims:
                self._decide(claims)

    def _on_ending(self, span: Span) -> None:
        if self._ending_next is not None:
            try:
                self._ending_next(span)
            except Exception as error:  # noqa: BLE001 - as above
                self._mishap(error)

    def on_end(self, span: ReadableSpan) -> None:
        """Hold ``span`` until its trace is decided, or do with it what was decided."""
        context = span.context
        if context is not None and context.trace_flags & _SAMPLED:
            handed_on, claims = self._buffer.hold(context.trace_id, span, None)
            if claims:
                self._decide(claims)
            if not handed_on:
                return
        self._pass_on([span], ())

    def on_log(self, record: ReadWriteLogRecord) -> None:
        """Do the same for a log record; it comes here from ``logs``."""
        about = record.log_record
        if about.trace_id and (about.trace_flags or 0) & _SAMPLED:
            if self._watch is None:
                self._start_watch()  # of a trace whose root is in another process, maybe
            handed_on, claims = self._buffer.hold(about.trace_id, None, _own_copy(record))
            if claims:
                self._decide(claims)
            if not handed_on:
                return
        self._pass_on((), [record])

    # -- decisions ----------------------------------------------------------------------------

    def _decide(self, claims: list[Claim]) -> None:
        for claim in claims:
            policy = None
            try:
                policy = self._judge(claim)
            finally:
                # Whatever interrupts a policy, the trace must not stay claimed.
                self._carry_out(claim, policy)

    def _judge(self, claim: Claim) -> str | None:
        """Return the name of the first policy that keeps the trace, None if it is to be dropped."""
        trace = TailTrace(claim.trace_id, claim.spans, claim.logs, complete=claim.trace.complete)
        policies = self._policies
        for policy in policies:
            name, keeps = policy
            try:
                if keeps(trace):
                    return name
            except Exception as error:  # noqa: BLE001 - user code
                self._cut_off(policy, error)
                return name  # what it would have said is unknown: better one trace too many
        return None if policies else NONE_LEFT

    def _cut_off(self, policy: tuple[str, Any], error: Exception) -> None:
        with self._buffer.lock:
            if policy not in self._policies:
                return  # another thread was faster
            self._policies = tuple(one for one in self._policies if one is not policy)
            self._buffer.account.broken[policy[0]] += 1
        Mishaps(f"The tail sampling policy {policy[0]!r}, which is not asked again,")(error)

    def _carry_out(self, claim: Claim, policy: str | None) -> None:
        kept = policy is not None
        if kept:
            self._pass_on(claim.spans, claim.logs)
        self._buffer.decided(claim, policy)
        while True:
            spans, logs = self._buffer.settle(claim, kept=kept)
            if not spans and not logs:
                return
            if kept:
                self._pass_on(spans, logs)
            self._buffer.passed(spans, logs, kept=kept)

    def _pass_on(self, spans: Sequence[ReadableSpan], logs: Sequence[ReadWriteLogRecord]) -> None:
        for span in spans:
            try:
                self.next_spans.on_end(span)
            except Exception as error:  # noqa: BLE001 - it would reach the program that is observed
                self._mishap(error)
        for log in logs:
            try:
                self.next_logs.on_emit(log)
            except Exception as error:  # noqa: BLE001 - as above
                self._mishap(error)

    def _start_watch(self) -> None:
        with self._buffer.lock:
            if self._watch is not None:
                return
            arguments = WeakMethod(self._expire), self._stop, self._wait
            self._watch = Thread(target=_watch, args=arguments, name="otel-stream-tail", daemon=True)
        try:
            self._watch.start()
        except RuntimeError:
            return  # the interpreter is shutting down, and that will decide what waits

    def _expire(self) -> float:
        claims, pause = self._buffer.expired()
        self._decide(claims)
        return pause

    # -- the end ------------------------------------------------------------------------------

    def settle(self, timeout: float) -> bool:
        """Decide all that waits by what is known; return whether that was done within ``timeout`` seconds."""
        self._decide(self._buffer.all())
        return self._buffer.wait_for_others(timeout)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Decide what waits by what is known, and flush the next span processor."""
        return _flush(self, self.next_spans, timeout_millis)

    def shutdown(self) -> None:
        """Decide what waits by what is known, and shut the next span processor down."""
        with self._buffer.lock:
            first, self._buffer.closed = not self._buffer.closed, True
        if first:
            self._stop.set()
            self.settle(_PATIENCE)
            self.next_spans.shutdown()

    def statistics(self) -> TailStatistics:
        """Return what was decided so far, and what waits."""
        buffer = self._buffer
        with buffer.lock:
            return buffer.account.statistics(buffer.held, buffer.traces, self._mishap.count)

    def wants(self, context: Context | None) -> bool:
        """Return whether a log record in ``context`` may be kept."""
        return self._buffer.verdict(get_current_span(context).get_span_context().trace_id) is not False


#: Seconds that a shutdown waits for other threads to hand on what they decided.
_PATIENCE = 5.0


def _flush(
    tail: TailSamplingProcessor, next: SpanProcessor | LogRecordProcessor, timeout_millis: int
) -> bool:
    deadline = time.monotonic() + timeout_millis / 1000
    settled = tail.settle(timeout_millis / 1000)
    rest = max(0, int((deadline - time.monotonic()) * 1000))
    return next.force_flush(rest) is not False and settled


def _overridden(processor: SpanProcessor, method: str) -> Any:
    """Return a method that does something, None if it is the one of the base class."""
    mine = getattr(type(processor), method, None)
    return None if mine is getattr(SpanProcessor, method, None) else getattr(processor, method)


def _watch(expire: WeakMethod[Any], stop: Event, pause: float) -> None:
    while not stop.wait(pause):
        method = expire()
        if method is None:
            return
        pause = method()
        del method  # or it would keep the processor alive during the next wait


def _own_copy(record: ReadWriteLogRecord) -> ReadWriteLogRecord:
    """Copy ``record`` as flatly as the SDK's batch processor does: later processors may change theirs."""
    inner = object.__new__(type(record.log_record))
    vars(inner).update(vars(record.log_record))
    return with_record(record, inner)


class _Logs(LogRecordProcessor):
    """The other end of a tail sampler: for log records."""

    def __init__(self, tail: TailSamplingProcessor) -> None:
        self._tail = tail
        self._closed = False

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._tail.on_log(log_record)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        return self._tail.wants(context) and wants(
            self._tail.next_logs,
            context=context,
            instrumentation_scope=instrumentation_scope,
            severity_number=severity_number,
            event_name=event_name,
        )

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._tail.settle(_PATIENCE)
            self._tail.next_logs.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return _flush(self._tail, self._tail.next_logs, timeout_millis)
