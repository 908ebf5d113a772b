"""``docs/reference/telemetry.md``: the registry as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from semconv.model import Attribute, MetricGroup, SpanGroup
from semconv.python import VERSIONS
from semconv.resolve import Registry, Signal, Use

_HEAD: Final = """\
# Telemetry reference

<!-- Generated from semconv/registry by `make semconv`: change it there. -->

Every span, log event, attribute and metric that otel-stream emits, under the instrumentation scope
`otel_stream`. Unless a table says otherwise, all of it is in development: names may change with a
minor version, and the changelog says so.

| namespace | what is in it |
|---|---|
| `gen_ai.*`, `error.*`, `exception.*` | names of OpenTelemetry's own conventions |
| `graph.*` | what they do not know: runs, supersteps, tasks, stream parts, checkpoints |
| `otel_stream.*` | the way out of the process: exporters and tail sampling |

"Required" means always there, "if" says when it is there and "recommended if" when it is worth having.
Attributes that are set when a span starts, so that a sampler can see them, are marked *at start*.
Metrics have the attributes listed and no others: what could grow without bound (ids, threads,
receivers) is never among them.

## Which GenAI names

The GenAI conventions renamed things in 0.1.0. `OTEL_SEMCONV_STABILITY_OPT_IN`, a comma-separated
list read when the first run starts, chooses; both sets are never emitted together.

| | by default | with `gen_ai_latest_experimental` |
|---|---|---|
"""

_CONVERSATION: Final = """
The operation is `invoke_workflow` and `gen_ai.conversation.id` is the run's `thread_id` under both.
"""

_EVENTS: Final = """
## Events

Log events, each on the span of its task or its run; `record_as` makes span events of them, too.
What they share stands here once; a table below an event is what it has besides.
"""


def write(registry: Registry) -> str:
    """Return the page's text."""
    return "".join(_parts(registry))


def _parts(registry: Registry) -> Iterator[str]:
    yield _HEAD
    yield _switch()
    yield _CONVERSATION
    yield "\n## Spans\n\nOf kind INTERNAL unless it says CLIENT.\n"
    for span in registry.spans.values():
        yield from _span(span, registry)
    yield _EVENTS
    for name in sorted(set(_shared(registry))):
        group = registry.groups[name]
        yield f"\n### {_anchor(name)}\n\n{group.brief}\n"
        yield from _also(group.extends)
        yield from _uses(registry.uses(group, inherited=False).values())
    for event in registry.events.values():
        group = event.group
        severity = " or ".join(group.ours.severity)
        where = "span event" if group.ours.span_event_only else f"log event, severity {severity}"
        yield f"\n### `{group.name}`\n\n{group.brief} ({where})\n"
        yield from _note(group.note)
        if group.body is not None:
            yield f"\nBody, a string: {group.body.brief}\n"
        yield from _also(group.extends)
        yield from _uses(registry.uses(group, inherited=False).values())
    yield "\n## Metrics\n"
    for file, groups in registry.files.items():
        metrics = [g for g in groups if isinstance(g, MetricGroup)]
        if metrics:
            yield f"\n### {_TITLES.get(file, file)}\n\n"
            yield from _metrics(registry, metrics)
    yield "\n## Attributes\n\n"
    yield from _table(
        ("attribute", "type", "what it says", "example"),
        (
            (f"`{a.id}`", _type(a), f"{a.brief} {a.note}".strip(), _example(a))
            for a in sorted(registry.attributes.values(), key=lambda a: a.id)
        ),
    )


_TITLES: Final = {
    "calls": "Calls of models, tools and retrievers",
    "checkpoint": "Checkpoints",
    "export": "Export",
    "gen_ai": "Runs, by GenAI's name",
    "node": "Nodes",
    "part": "Stream parts",
    "receiver": "Receivers",
    "run": "Runs",
    "superstep": "Supersteps",
    "tail": "Tail sampling",
}


def _switch() -> str:
    return "".join(f"| {what} | {_name(before)} | {_name(since)} |\n" for what, before, since in VERSIONS)


def _name(name: str | None) -> str:
    return "" if name is None else f"`{name}`"


def _span(span: Signal[SpanGroup], registry: Registry) -> Iterator[str]:
    group = span.group
    kind = "" if group.span_kind == "internal" else f" ({group.span_kind.upper()})"
    yield f"\n### `{group.ours.span_name}`{kind}\n\n{group.brief}\n"
    yield from _note(group.note)
    yield from _uses(span.uses.values())
    for kind, link in registry.links.items():
        if link.group.ours.link_of == group.id:
            yield f"\nLinks of kind `{kind}`: {link.group.brief}\n"
            yield from _uses(link.uses.values())


def _shared(registry: Registry) -> Iterator[str]:
    """Yield the groups that events have all of, those that such a group has all of included."""
    for event in registry.events.values():
        name = event.group.extends
        while name is not None:
            yield name
            name = registry.groups[name].extends


def _anchor(group: str) -> str:
    return f"Shared: {group.rpartition('.')[2]}"


def _also(group: str | None) -> Iterator[str]:
    if group is not None:
        title = _anchor(group)
        yield f"\nHas all of [{title}](#{title.lower().replace(': ', '-')}).\n"


def _note(note: str) -> Iterator[str]:
    if note:
        yield f"\n{note.strip()}\n"


def _uses(uses: Iterable[Use]) -> Iterator[str]:
    rows = [
        (
            f"`{use.attribute.id}`",
            _type(use.attribute),
            _level(use) + (", at start" if use.ref.sampling_relevant else ""),
            use.ref.brief or use.attribute.brief,
        )
        for use in uses
    ]
    if rows:
        yield "\n"
        yield from _table(("attribute", "type", "when", "what it says"), rows)


def _metrics(registry: Registry, metrics: list[MetricGroup]) -> Iterator[str]:
    yield from _table(
        ("metric", "instrument", "unit", "what it measures", "attributes"),
        (
            (
                f"`{m.metric_name}`",
                m.instrument,
                f"`{m.unit}`",
                m.brief,
                ", ".join(_short(use) for use in registry.metrics[m.metric_name].uses.values()),
            )
            for m in metrics
        ),
    )
    shown: dict[str, list[str]] = {}
    for m in metrics:
        if m.ours.boundaries is not None:
            numbers = ", ".join(f"{n:g}" if n < 1e6 else f"{n:.0f}" for n in m.ours.boundaries.values)
            shown.setdefault(f"{numbers}. {m.ours.boundaries.why}", []).append(f"`{m.metric_name}`")
    for buckets, names in shown.items():
        yield f"\nBuckets of {', '.join(names)}: {buckets}\n"


def _short(use: Use) -> str:
    return f"`{use.attribute.id}`" + ("" if use.ref.level == "required" else f" ({_level(use)})")


def _level(use: Use) -> str:
    if use.ref.condition:
        text = use.ref.condition.rstrip(".")
        when = f"if: {text[0].lower()}{text[1:]}"
        return when if use.ref.level == "conditionally_required" else f"recommended {when}"
    return {"opt_in": "opt-in"}.get(use.ref.level, use.ref.level)


def _type(attribute: Attribute) -> str:
    values = ", ".join(f"`{value}`" for value in attribute.values)
    return f"{values} and others" if attribute.ours.open else values or attribute.type_name


def _example(attribute: Attribute) -> str:
    return "" if not attribute.examples else f"`{_text(attribute.examples[0])}`"


def _text(example: Any) -> str:
    if isinstance(example, list | tuple):
        return "[" + ", ".join(f'"{one}"' for one in example) + "]"
    return str(example)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n"
