"""Judge what was really emitted by the registry, as Weaver's live check does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from semconv.model import EventGroup, SpanGroup
from semconv.python import span_word
from semconv.resolve import Registry, Signal, Use

_SCOPE: Final = "otel_stream"

#: What the SDK makes of each kind of instrument: (type of its data, whether it only grows).
_INSTRUMENTS: Final = {
    "counter": ("Sum", True),
    "updowncounter": ("Sum", False),
    "histogram": ("Histogram", None),
    "gauge": ("Gauge", None),
}


class LiveCheck:
    """Every method gives the violations that it finds, one sentence each; none is good.

    ``latest``: whether the newest GenAI names are in force; names of the other side are violations.
    What another instrumentation scope emitted is none of our business.
    """

    def __init__(self, registry: Registry, *, latest: bool = False) -> None:
        self._registry = registry
        self._spans = {span_word(s.group): s for s in registry.spans.values()}
        self._in_force = "since" if latest else "before"
        #: Names of spans (first word), events, links and metrics that were seen.
        self.seen: set[str] = set()

    def spans(self, spans: Iterable[Any]) -> Iterator[str]:
        """Check finished spans, their links and their events."""
        for span in spans:
            if span.instrumentation_scope.name == _SCOPE:
                yield from self._span(span)

    def logs(self, logs: Iterable[Any]) -> Iterator[str]:
        """Check finished log records."""
        for log in logs:
            if log.instrumentation_scope.name == _SCOPE:
                yield from self._log(log.log_record)

    def metrics(self, data: Any) -> Iterator[str]:
        """Check ``MetricsData``, or None if nothing was measured."""
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                if scope.scope.name == _SCOPE:
                    for metric in scope.metrics:
                        yield from self._metric(metric)

    def _span(self, span: Any) -> Iterator[str]:
        word, _, rest = span.name.partition(" ")
        known = self._spans.get(word)
        if known is None or not _is_named(known, rest):
            yield f"span {span.name!r} is not in the registry"
            return
        self.seen.add(word)
        kind_since = known.group.ours.kind_since if self._in_force == "since" else None
        if span.kind.name.lower() != (kind_since or known.group.span_kind):
            yield f"span {span.name!r} is of kind {span.kind.name}"
        if (span.status.status_code.name == "ERROR") != ("error.type" in span.attributes):
            yield f"span {span.name!r}: its status and error.type disagree"
        yield from self._attributes(f"span {word}", known, span.attributes)
        for link in span.links:
            yield from self._link(word, known, link.attributes)
        for event in span.events:
            yield from self._span_event(event)

    def _link(self, word: str, span: Signal[SpanGroup], attributes: Mapping[str, Any]) -> Iterator[str]:
        kind = attributes.get("graph.link.kind")
        known = self._registry.links.get(str(kind))
        if known is None or known.group.ours.link_of not in (span.group.id, span.group.extends):
            yield f"span {word} has a link of kind {kind!r}, which is not in the registry"
            return
        self.seen.add(f"link:{kind}")
        yield from self._attributes(f"link {kind}", known, attributes)

    def _span_event(self, event: Any) -> Iterator[str]:
        known = self._event(event.name)
        if known is None:
            yield f"span event {event.name!r} is not in the registry"
        else:
            yield from self._attributes(f"span event {event.name}", known, event.attributes or {})

    def _event(self, name: str | None) -> Signal[EventGroup] | None:
        known = self._registry.events.get(name or "")
        if known is not None:
            self.seen.add(known.group.name)
        return known

    def _log(self, record: Any) -> Iterator[str]:
        known = self._event(record.event_name)
        if known is None or known.group.ours.span_event_only:
            yield f"log event {record.event_name!r} is not in the registry"
            return
        severity = record.severity_number.name if record.severity_number is not None else None
        if severity not in known.group.ours.severity or record.severity_text != severity:
            yield f"log event {record.event_name}: its severity is {severity} ({record.severity_text!r})"
        if isinstance(record.body, str) != (known.group.body is not None):
            yield f"log event {record.event_name}: its body is {type(record.body).__name__}"
        yield from self._attributes(f"log event {record.event_name}", known, record.attributes or {})

    def _metric(self, metric: Any) -> Iterator[str]:
        known = self._registry.metrics.get(metric.name)
        if known is None or known.group.ours.genai not in (None, self._in_force):
            yield f"metric {metric.name!r} is not in the registry"
            return
        group = known.group
        self.seen.add(metric.name)
        kind = (type(metric.data).__name__, getattr(metric.data, "is_monotonic", None))
        if kind != _INSTRUMENTS[group.instrument]:
            yield f"metric {metric.name} is no {group.instrument}: {kind}"
        if (metric.unit, metric.description) != (group.unit, group.brief):
            yield f"metric {metric.name} has unit {metric.unit!r} and description {metric.description!r}"
        for point in metric.data.data_points:
            buckets = group.ours.boundaries
            if buckets is not None and tuple(point.explicit_bounds) != buckets.values:
                yield f"metric {metric.name} has the buckets {point.explicit_bounds}"
            yield from self._attributes(f"metric {metric.name}", known, point.attributes)

    def _attributes(self, what: str, signal: Signal[Any], given: Mapping[str, Any]) -> Iterator[str]:
        for name, value in given.items():
            use = signal.uses.get(name) or _template(signal, name)
            if use is None or use.side not in (None, self._in_force):
                yield f"{what} has {name}, which the registry does not give it"
            elif not use.attribute.accepts(value):
                yield f"{what}: {name}={value!r} is not {use.attribute.type_name}"
        for name, use in signal.uses.items():
            in_force = use.side in (None, self._in_force)
            if use.ref.level == "required" and in_force and name not in given:
                yield f"{what} lacks {name}"


def _is_named(span: Signal[SpanGroup], rest: str) -> bool:
    """Tell whether ``rest`` follows the operation as it should: what need not be known may be left out."""
    _, brace, name = (span.group.ours.span_name or "").partition("{")
    use = span.uses.get(name.rstrip("}"))
    optional = use is not None and use.ref.level != "required" and use.side is None
    return bool(rest) == bool(brace) or (optional and not rest)


def _template(signal: Signal[Any], name: str) -> Use | None:
    """Return the attribute whose name ``name`` begins with, where that is a template of names."""
    uses = signal.uses.items()
    return next((use for start, use in uses if use.is_template and name.startswith(f"{start}.")), None)
