"""Histograms that look up once what a set of attributes that never changes adds up to."""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from threading import Lock, RLock
from time import time_ns
from typing import Any, Final, TypeAlias

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram as ApiHistogram
from opentelemetry.metrics import Meter as ApiMeter
from opentelemetry.sdk.metrics import Histogram, Meter, MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes
from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
from opentelemetry.sdk.metrics._internal.exemplar.exemplar_reservoir import (
    AlignedHistogramBucketExemplarReservoir,
)
from opentelemetry.trace import TraceFlags
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.util.types import Attributes

from otel_stream import semconv
from otel_stream.forking import in_child
from otel_stream.telemetry.scope import FixedAttributes

#: Adds an amount that was measured at a time in a context, and takes it for an exemplar if it is sampled.
_Add: TypeAlias = Callable[[float, int, Context, bool], None]
#: The same of a measurement.
_Aggregate: TypeAlias = Callable[["_Clean", bool], None]
#: Does so with many durations in nanoseconds; the measurement says the rest of each.
_AggregateMany: TypeAlias = Callable[[Sequence[int], "_Clean", bool], None]
_SECONDS: Final = 1e-9


class _Clean:
    """What aggregations read of a measurement; its attributes need no cleaning."""

    __slots__ = ("attributes", "context", "instrument", "time_unix_nano", "value")

    def __init__(
        self, value: float, time: int, instrument: Histogram, context: Context, attributes: FixedAttributes
    ) -> None:
        self.value = value
        self.time_unix_nano = time
        self.instrument = instrument
        self.context = context
        self.attributes = attributes


class LeanHistogram(ApiHistogram):
    """Records into the aggregations of the SDK's ``histogram``.

    Only measurements with ``FixedAttributes`` and a context are shortened, and of those the ones whose
    aggregation exists and lives on: a first one, a view that selects attributes, and a reader of deltas,
    which starts anew at each collection, go the SDK's way.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        #: Durations that have not been added up yet, with their attributes.
        self._noted: list[tuple[FixedAttributes, list[int]]] = []
        self.forget()
        in_child(self.forget)
        consumer: Any = histogram._measurement_consumer
        self._consumer = consumer
        exemplars = consumer._sdk_config.exemplar_filter
        is_default = type(exemplars) is TraceBasedExemplarFilter
        self._sampled = _trace_based if is_default else exemplars.should_sample

    def forget(self) -> None:
        """Look everything up again: in a forked child nothing has been added up yet."""
        #: By the identity of attributes, which are kept for that: how to add to what they have added up to.
        self._known: dict[int, tuple[FixedAttributes, tuple[_Add, ...], tuple[_AggregateMany, ...]]] = {}
        for _, noted in self._noted:
            noted.clear()

    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Record ``amount``, as the SDK does."""
        known = self._known.get(id(attributes))
        if known is None or not context or not 0 <= amount < inf:
            self._histogram.record(amount, attributes, context)
            if known is None and type(attributes) is FixedAttributes:
                self._look_up(attributes)
            return
        now = time_ns()
        sampled = self._sampled(amount, now, attributes, context)
        for add in known[1]:
            add(amount, now, context, sampled)

    def record_nanoseconds(self, durations: Sequence[int], attributes: Attributes, context: Context) -> None:
        """Record ``durations``, none of which is negative, in seconds, as one after the other would be."""
        known = self._known.get(id(attributes))
        if known is None or self._sampled is not _trace_based:
            for duration in durations:
                self.record(duration * _SECONDS, attributes, context)
            return
        if not durations:
            return
        now = time_ns()
        measurement = _Clean(0, now, self._histogram, context, known[0])
        sampled = _trace_based(0, now, attributes, context)
        for aggregate in known[2]:
            aggregate(durations, measurement, sampled)

    def noting(self, attributes: FixedAttributes) -> Callable[[int], None] | None:
        """Return what takes note of a duration, in nanoseconds, that is an exemplar of nothing.

        It is added up with others, by ``add_up`` at the latest.
        None: which measurements are exemplars is not decided by their traces alone.
        """
        if self._sampled is not _trace_based:
            return None
        noted: list[int] = []
        self._noted.append((attributes, noted))
        append, add = noted.append, self._add_noted

        def note(duration: int) -> None:
            append(duration)
            if len(noted) > _MANY:
                add(attributes, noted)

        return note

    def add_up(self) -> None:
        """Add up what was noted until now: to be called before it is collected."""
        for attributes, noted in tuple(self._noted):
            if noted:
                self._add_noted(attributes, noted)

    def _add_noted(self, attributes: FixedAttributes, noted: list[int]) -> None:
        taken = []
        with suppress(IndexError):  # other threads add to it, and may take from it, too
            for _ in range(len(noted)):
                taken.append(noted.pop())  # noqa: PERF401 - what was taken is there, whatever comes next
        self.record_nanoseconds(taken, attributes, _NOWHERE)

    def _look_up(self, attributes: FixedAttributes) -> None:
        key = _hash_attributes(attributes)
        found: list[_Add] = []
        many: list[_AggregateMany] = []
        for storage in self._consumer._reader_storages.values():
            for match in storage._get_or_init_view_instrument_match(self._histogram):
                is_plain = not match._reset_on_collect and match._view._attribute_keys is None
                aggregation = match._attributes_aggregation.get(key) if is_plain else None
                into = match if aggregation is None else aggregation
                found.append(_adder(into, self._histogram, attributes))
                many.append(_adder_of_many(into))
        self._known[id(attributes)] = attributes, tuple(found), tuple(many)


def _aggregate_of(into: Any) -> _Aggregate:
    """Return how an aggregation, or a match that has many, takes a measurement."""
    found: _Aggregate = into.aggregate if hasattr(into, "aggregate") else into.consume_measurement
    return found


def _is_plain(into: Any) -> bool:
    """Whether it counts in buckets, and keeps the last of each as its exemplar."""
    if type(into) is not _ExplicitBucketHistogramAggregation:
        return False
    reservoir: Any = into._reservoir
    aligned = type(reservoir) is AlignedHistogramBucketExemplarReservoir
    return aligned and tuple(reservoir._boundaries) == into._boundaries


def _adder(into: Any, instrument: Histogram, attributes: FixedAttributes) -> _Add:
    """Return how to add an amount to what ``into``, an aggregation or a match that has many, has added up."""
    if _is_plain(into):
        return _adder_to_buckets(into, attributes)
    aggregate = _aggregate_of(into)

    def add(amount: float, now: int, context: Context, sampled: bool) -> None:
        aggregate(_Clean(amount, now, instrument, context, attributes), sampled)

    return add


def _adder_to_buckets(aggregation: Any, attributes: FixedAttributes) -> _Add:
    """Return what does as the aggregation does, and looks for the bucket once instead of twice."""
    boundaries, lock, extremes = aggregation._boundaries, aggregation._lock, aggregation._record_min_max
    kept, keeping = aggregation._reservoir._reservoir_storage, aggregation._reservoir._lock

    def add(amount: float, now: int, context: Context, sampled: bool) -> None:
        place = bisect_left(boundaries, amount)
        with lock:
            counts = aggregation._value
            if counts is None:
                counts = aggregation._value = aggregation._get_empty_bucket_counts()
            counts[place] += 1
            aggregation._sum += amount
            if extremes:
                aggregation._min = min(aggregation._min, amount)
                aggregation._max = max(aggregation._max, amount)
        if sampled:
            with keeping:
                kept[place].offer(amount, now, attributes, context)

    return add


def _adder_of_many(into: Any) -> _AggregateMany:
    """Return how to add many durations to the same."""
    if _is_plain(into):
        return partial(_add_to_buckets, into, [*map(_longest_of, into._boundaries)])
    return partial(_add_each, _aggregate_of(into))


def _longest_of(seconds: float) -> int:
    """Return the most nanoseconds that are no more than so many seconds."""
    return bisect_right(range(_LONGEST), seconds, key=_SECONDS.__rmul__) - 1


def _add_each(aggregate: _Aggregate, durations: Sequence[int], measurement: _Clean, sampled: bool) -> None:
    for duration in durations:
        measurement.value = duration * _SECONDS
        aggregate(measurement, sampled)


def _add_to_buckets(
    aggregation: Any, limits: Sequence[int], durations: Sequence[int], measurement: _Clean, sampled: bool
) -> None:
    """Add them up under one lock; of each bucket the last is its exemplar, as if they came singly."""
    least, most = min(durations), max(durations)
    place = bisect_left(limits, least)
    if place == bisect_left(limits, most):  # as those between chunks often are: all in one
        sizes, buckets = {place: len(durations)}, [durations]
    else:
        ordered = sorted(durations)
        ends = [*map(partial(bisect_right, ordered), limits), len(ordered)]
        found = map(operator.sub, ends, (0, *ends))
        sizes = {place: size for place, size in enumerate(found) if size}
        buckets = [ordered[ends[place] - size : ends[place]] for place, size in sizes.items()]
    with aggregation._lock:
        counts = aggregation._value
        if counts is None:
            counts = aggregation._value = aggregation._get_empty_bucket_counts()
        for place, size in sizes.items():
            counts[place] += size
        aggregation._sum += sum(durations) * _SECONDS
        if aggregation._record_min_max:
            aggregation._min = min(aggregation._min, least * _SECONDS)
            aggregation._max = max(aggregation._max, most * _SECONDS)
    if sampled:
        for duration in _last_of_each(durations, buckets):
            measurement.value = duration * _SECONDS
            aggregation._sample_exemplar(measurement, True)


def _last_of_each(durations: Sequence[int], buckets: Sequence[Sequence[int]]) -> Iterator[int]:
    """Return the last of ``durations`` that is in each of ``buckets``, which all have some."""
    if len(buckets) == 1:
        yield durations[-1]
        return
    backwards = [*reversed(durations)]
    for bucket in buckets:
        if len(bucket) <= _FEW:
            yield backwards[min(map(backwards.index, bucket))]
        else:  # of many the last is soon found
            least, most = bucket[0], bucket[-1]
            yield next(duration for duration in backwards if least <= duration <= most)


#: More nanoseconds than anything lasts.
_LONGEST: Final = 2**62
#: As many durations are noted before they are added up.
_MANY: Final = 1024
#: Where no span is current; not empty, as nobody is to look for one.
_NOWHERE: Final = Context({"otel-stream": "noted"})
#: As many durations are looked up one by one.
_FEW: Final = 8


def _trace_based(_amount: float, _time: int, _attributes: Attributes, context: Context) -> bool:
    """Do what the filter of that name does."""
    span: Any = context.get(_SPAN_KEY)
    return span is not None and bool(span.get_span_context().trace_flags & TraceFlags.SAMPLED)


class LeanMeter:
    """The SDK's ``meter``, except for its histograms."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meter, name)

    def create_histogram(self, *args: Any, **kwargs: Any) -> ApiHistogram:
        """Create a histogram of the SDK, and return a lean way into it."""
        histogram = self._meter.create_histogram(*args, **kwargs)
        if isinstance(histogram, Histogram) and histogram._is_enabled():
            return LeanHistogram(histogram)
        return histogram


class LeanMeterProvider(MeterProvider):
    """The SDK's provider; its meter for graph runs has lean histograms.

    A forked child begins anew: it has measured nothing yet, and the SDK's locks may be held by threads that
    it does not have (the SDK renews those of the provider alone).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        consumer = self._measurement_consumer
        consumer._lock = Lock()
        for reader, storage in consumer._reader_storages.items():
            storage._lock = RLock()
            # What has been added up, with a lock for each, is made again by the next measurement.
            storage._instrument_view_instrument_matches = {}
            reader._export_lock = Lock()  # type: ignore[attr-defined]
        for meter in self._meters.values():
            if isinstance(meter, Meter):
                meter._instrument_registration_lock = Lock()

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> ApiMeter:
        meter = super().get_meter(name, *args, **kwargs)
        if name == semconv.SCOPE and isinstance(meter, Meter):
            return LeanMeter(meter)  # type: ignore[return-value]
        return meter
