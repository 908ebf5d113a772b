"""Spans whose lists, locks and bounded attributes come into being when somebody touches them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from time import time_ns
from types import MappingProxyType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, Span, Tracer, TracerProvider, _Span
from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, get_current_span
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.util.types import AnyValue, Attributes

from otel_stream import semconv
from otel_stream.forking import in_child
from otel_stream.sdk.sampling.samplers import ForcedSampler

_logger = logging.getLogger(__name__)

#: A lower limit might be reached by attributes of ours.
_ENOUGH_ATTRIBUTES: Final = 64
#: Attributes that a link of ours has at most.
_MOST_OF_A_LINK: Final = 4
_SAMPLED: Final = TraceFlags.SAMPLED
#: Nothing, where the API does not know it.
_RANDOM: Final = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
_FAILED: Final = Status(StatusCode.ERROR)
#: Values of these types need no cleaning.
_CLEAN: Final = frozenset({str, int, bool, float})
#: Kinds of the spans of ours.
_OURS: Final = frozenset({SpanKind.INTERNAL, SpanKind.CLIENT})


class _WhenTouched:
    """A field of the SDK's span that is made when it is first read, and is an ordinary one from then on."""

    def __init__(self, make: Callable[[LeanSpan], Any]) -> None:
        self._make = make
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, span: LeanSpan, owner: type) -> Any:
        # Should two threads make one each, the first that is stored is everybody's.
        return vars(span).setdefault(self._name, self._make(span))


class _WhenOthersSetThem(_WhenTouched):
    """The attributes: those that are given while they are made are added to them."""

    def __get__(self, span: LeanSpan, owner: type) -> Any:
        given = span._given
        made = super().__get__(span, owner)
        if span._given is not given:
            with suppress(TypeError):  # it has ended meanwhile
                made.update({key: value for key, value in span._given.items() if key not in given})
        return made


def _bounded(span: LeanSpan) -> BoundedAttributes:
    limits = span._limits
    return BoundedAttributes(
        limits.max_span_attributes,
        span._given,
        immutable=span._end_time is not None,
        max_value_len=limits.max_span_attribute_length,
    )


class LeanSpan(Span):
    """The SDK's span, given clean attributes in a dictionary of its own, and nothing made in advance.

    To processors it is both the span that starts and the readable one that has ended: nothing about
    it can be changed after its end. Every tracer has a subclass, which holds what its spans share.
    """

    _given_links: Sequence[Link]
    #: Whether no attribute of a link of ours is beyond a limit.
    _links_fit = True
    _limits: Any
    _resource: Any
    _span_processor: Any

    _end_time = None
    _status = Status(StatusCode.UNSET)
    _kind = SpanKind.INTERNAL
    _instrumentation_info = None
    _instrumentation_scope = None
    _sampler = None
    _trace_config = None
    _record_exception = True
    _set_status_on_exception = True
    _record_end_metrics = None

    _lock = _WhenTouched(lambda _: Lock())
    _attributes = _WhenOthersSetThem(_bounded)
    _events = _WhenTouched(lambda span: BoundedList(span._limits.max_events))
    #: What happened that needs no cleaning: name, attributes, time. Once the list above exists, all is there.
    _happened = _WhenTouched(lambda _: [])
    _links = _WhenTouched(lambda span: span._new_links(span._given_links))

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: dict[str, AnyValue],
        links: Sequence[Link],
        start_time: int,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        if kind is not SpanKind.INTERNAL:
            self._kind = kind
        self._name = name
        self._context = context
        self._parent = parent
        self._given = attributes
        self._given_links = links
        self._start_time = start_time

    @property
    def attributes(self) -> Mapping[str, AnyValue]:
        return MappingProxyType(vars(self).get("_attributes", self._given))

    @property
    def events(self) -> Sequence[Event]:
        if "_happened" in vars(self):
            self._list_what_happened()
        return super().events if "_events" in vars(self) else ()

    def _list_what_happened(self) -> None:
        happened, listed = self._happened, self._events
        with suppress(IndexError):
            while True:  # another thread may do the same: each of them is listed by one
                listed.append(self._event(*happened.pop(0)))

    def _event(self, name: str, attributes: Mapping[str, AnyValue], time: int) -> Event:
        limits = self._limits
        bounded = BoundedAttributes(
            limits.max_event_attributes, attributes, immutable=True, max_value_len=limits.max_attribute_length
        )
        return Event(name, bounded, time)

    @property
    def links(self) -> Sequence[Link]:
        # Given ones are as clean as the attributes.
        return super().links if self._has_own_links() else tuple(self._given_links)

    def _has_own_links(self) -> bool:
        """Tell whether the links differ from those that were given: touched, or beyond a limit."""
        given, most = self._given_links, self._limits.max_links
        return (
            "_links" in vars(self)
            or (most is not None and len(given) > most)
            or (bool(given) and not self._links_fit)
        )

    @property
    def dropped_attributes(self) -> int:
        return super().dropped_attributes if "_attributes" in vars(self) else 0

    @property
    def dropped_events(self) -> int:
        return super().dropped_events if self.events or "_events" in vars(self) else 0

    @property
    def dropped_links(self) -> int:
        return super().dropped_links if self._has_own_links() else 0

    def get_span_context(self) -> SpanContext:
        return self._context  # type: ignore[return-value] # it always has one

    def add_own(self, attributes: Mapping[str, AnyValue]) -> None:
        """Add attributes of ours, at the end. What others set goes the SDK's way: bounded, and locked."""
        own = vars(self)
        if own.keys().isdisjoint(_NOT_OURS) and all(map(_is_clean, attributes.values())):
            given = self._given
            if not given.keys().isdisjoint(attributes):  # the SDK puts what is set again last
                given = {key: value for key, value in given.items() if key not in attributes}
            # A new one: another thread may be about to copy the old one, and then it has not got these.
            self._given = {**given, **attributes}
            if "_attributes" not in own:
                return
        self.set_attributes(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        is_live = timestamp and self._end_time is None
        if is_live and type(attributes) is dict and all(type(one) in _CLEAN for one in attributes.values()):
            self._happened.append((name, {**attributes}, timestamp))
            if "_events" in vars(self):
                self._list_what_happened()
        else:
            _ = self.events  # what happened before is listed before
            super().add_event(name, attributes, timestamp)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        own = vars(self)
        if status is StatusCode.ERROR and description is None and own.keys().isdisjoint(_SETTLED):
            self._status = _FAILED
        else:
            super().set_status(status, description)

    def end(self, end_time: int | None = None) -> None:
        own = vars(self)
        end_time = time_ns() if end_time is None else end_time
        # Storing it is one step that only one thread can be the first to take: the SDK needs a lock.
        if "_end_time" in own or own.setdefault("_end_time", end_time) is not end_time:
            _logger.warning("Calling end() on an ended span.")
            return
        if "_attributes" in own:
            own["_attributes"]._immutable = True
        processor = self._span_processor
        processor._on_ending(self)
        processor.on_end(self)


#: What is among a span's own fields once its attributes are no longer ours alone to set.
_NOT_OURS: Final = frozenset({"_attributes", "_end_time"})


def _is_clean(value: AnyValue) -> bool:
    return type(value) in _CLEAN or (type(value) is tuple and all(type(one) is str for one in value))


#: What is among a span's own fields once its status is no longer a matter of course.
_SETTLED: Final = frozenset({"_status", "_end_time"})


class FoldableSpan(LeanSpan):
    """A lean span that is never exported if it is shorter than ``least`` and nobody has needed it.

    Needed is a span that somebody has written to, or asked for its ids: for a child, a link or a log
    record. Processors see it start when it ends, and not at all if it is ``folded``.
    """

    least = 0
    folded = False
    _needed = False
    _parent_context: Context | None = None

    def get_span_context(self) -> SpanContext:
        self._needed = True
        return super().get_span_context()

    def add_own(self, attributes: Mapping[str, AnyValue]) -> None:
        self._needed = True
        super().add_own(attributes)

    def end(self, end_time: int | None = None) -> None:
        own = vars(self)
        end_time = time_ns() if end_time is None else end_time
        needed = self._needed or not own.keys().isdisjoint(_TOUCHED)
        if not needed and "_end_time" not in own and end_time - own["_start_time"] < self.least:
            own["_end_time"] = end_time
            self.folded = True
            return
        if "_end_time" not in own:
            self._span_processor.on_start(self, self._parent_context)
        super().end(end_time)


#: What is among a span's own fields once somebody has written to it.
_TOUCHED: Final = frozenset({"_attributes", "_events", "_happened", "_links", "_status"})


class LeanTracer(trace.Tracer):
    """Starts lean spans where they are given attributes and a time; every other as the SDK's ``tracer`` does.

    Below sampled spans of this process there is nothing to ask; everywhere else the sampler is.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._new_id = tracer.id_generator.generate_span_id
        self._is_random = getattr(tracer.id_generator, "is_trace_id_random", lambda: False)
        self._processor = tracer.span_processor
        shared = {
            "_resource": tracer.resource,
            "_limits": tracer._span_limits,
            "_links_fit": _links_fit(tracer._span_limits),
            "_instrumentation_scope": tracer._instrumentation_scope,
            "_span_processor": tracer.span_processor,
        }
        self._span: Callable[..., LeanSpan] = type("LeanSpan", (LeanSpan,), shared)
        self._foldable: Callable[..., FoldableSpan] = type("FoldableSpan", (FoldableSpan,), shared)
        #: Spans of this process: the SDK's, from whichever tracer, and ours.
        self._local = frozenset({_Span, self._span, self._foldable})
        in_child(self._follow_resource)

    def _follow_resource(self) -> None:
        # A forked process is an instance of its own: the SDK gives it another resource.
        for kind in (self._span, self._foldable):
            kind._resource = self._tracer.resource  # type: ignore[attr-defined]

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span. ``attributes`` become the span's own: they are neither copied nor cleaned."""
        if type(attributes) is not dict or not start_time or kind not in _OURS:
            return self._tracer.start_span(name, context, kind, attributes, links, start_time)
        above: Any = None if context is None else context.get(_SPAN_KEY)
        parent = above._context if type(above) in self._local and above._end_time is None else None
        if parent is None or not parent.trace_flags & _SAMPLED:
            return self._ask(name, context, kind, attributes, links or (), start_time)
        span = self._span(name, self._below(parent), parent, attributes, links or (), start_time, kind)
        self._processor.on_start(span, context)
        return span

    def _ask(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: dict[str, AnyValue],
        links: Sequence[Link],
        start_time: int,
    ) -> trace.Span:
        """Start what the sampler wants, of a span at the top of what happens in this process."""
        above = get_current_span(context).get_span_context()
        parent = above if above.is_valid else None
        trace_id = self._tracer.id_generator.generate_trace_id() if parent is None else parent.trace_id
        sampler = self._tracer.sampler
        answer = sampler.should_sample(context, trace_id, name, kind, attributes, links)
        is_random = self._is_random() if parent is None else parent.trace_flags & _RANDOM
        is_sampled = answer.decision is Decision.RECORD_AND_SAMPLE
        flags = (_SAMPLED if is_sampled else 0) | (_RANDOM if is_random else 0)
        place = SpanContext(trace_id, self._new_id(), False, TraceFlags(flags), answer.trace_state)
        if answer.decision is Decision.DROP:
            return trace.NonRecordingSpan(place)
        if answer.attributes == attributes:
            span = self._span(name, place, parent, attributes, links, start_time, kind)
        else:
            span = self._span(name, place, parent, dict(answer.attributes), links, start_time, kind)
            span._attributes.keys()  # cleans what the sampler has added
        self._processor.on_start(span, context)
        return span

    def _below(self, parent: SpanContext) -> SpanContext:
        """Return the ids of a new span in the trace of ``parent``, which is a valid one of this process."""
        trace_id, _, _, flags, state, _ = parent
        # Its own __new__ checks what is right by construction here.
        return tuple.__new__(SpanContext, (trace_id, self._new_id(), False, flags, state, True))

    def start_foldable_span(
        self,
        name: str,
        context: Context,
        attributes: dict[str, AnyValue],
        links: Sequence[Link],
        start_time: int,
        least: int,
    ) -> tuple[trace.Span, SpanContext]:
        """Start a span that may be folded if it is shorter than ``least`` nanoseconds.

        Returns the span, and its ids for those who may know them without needing the span.
        """
        parent = get_current_span(context).get_span_context()
        about = self._below(parent)
        span = self._foldable(name, about, parent, attributes, links, start_time)
        span.least, span._parent_context = least, context
        return span, about

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the SDK does."""
        return self._tracer.start_as_current_span(*args, **kwargs)


class LeanTracerProvider(TracerProvider):
    """The SDK's provider; its tracer for graph runs makes lean spans where those are the same.

    Runs that ask for it are always sampled (``ForcedSampler``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sampler = ForcedSampler(self.sampler)

    def get_tracer(self, instrumenting_module_name: str, *args: Any, **kwargs: Any) -> trace.Tracer:
        tracer = super().get_tracer(instrumenting_module_name, *args, **kwargs)
        if instrumenting_module_name == semconv.SCOPE and isinstance(tracer, Tracer) and _is_plain(tracer):
            return LeanTracer(tracer)
        return tracer


def _links_fit(limits: Any) -> bool:
    most = limits.max_link_attributes
    return (most is None or most >= _MOST_OF_A_LINK) and limits.max_attribute_length is None


def _is_plain(tracer: Tracer) -> bool:
    """Return whether children of sampled spans are always sampled, and nothing is counted or cut."""
    sampler, limits = tracer.sampler, tracer._span_limits
    if type(sampler) is ForcedSampler:  # it has a say in roots alone
        sampler = sampler.inner
    if type(sampler).should_sample is ParentBased.should_sample:
        sampler = sampler._local_parent_sampled  # type: ignore[attr-defined]
    return (
        sampler is ALWAYS_ON
        and limits.max_span_attribute_length is None
        and (limits.max_span_attributes is None or limits.max_span_attributes >= _ENOUGH_ATTRIBUTES)
        and isinstance(tracer._tracer_metrics, NoOpTracerMetrics)
        and tracer._is_enabled()
    )
