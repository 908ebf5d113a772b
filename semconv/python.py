"""``otel_stream/semconv.py``: every name as a constant, already in the formatter's form."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from semconv.model import Attribute, Boundaries, EventGroup, MetricGroup, SpanGroup
from semconv.resolve import Registry

_WIDTH: Final = 110

_HEAD: Final = '''\
"""Every span, log event, attribute and metric name that leaves the process.

Generated from ``semconv/registry`` by ``make semconv``: change it there. A leaf: plain constants,
importable by anyone. What OpenTelemetry's GenAI conventions name is taken from there (``gen_ai.*``);
what they do not know, such as supersteps, tasks and stream parts, is ``graph.*``; what is about the
export itself is ``otel_stream.*``. The one place where their names moved between versions is
:class:`GenAINames`, chosen by :func:`genai_names`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: Instrumentation scope of everything that is emitted here.
SCOPE: Final = "otel_stream"
#: Schema of the names below, as the registry's manifest has it.
SCHEMA_URL: Final = "https://otel-stream.example/schemas/0.1.0"
'''

_METRIC: Final = '''

class Metric(NamedTuple):
    """Name, unit (UCUM), description and, for a histogram, bucket boundaries of an instrument."""

    name: str
    unit: str
    description: str
    boundaries: tuple[float, ...] = ()


'''

_GENAI: Final = '''

class GenAINames(NamedTuple):
    """Names that differ between versions of the GenAI conventions; None where a version has none."""

    #: Whether they are those since 0.1.0.
    latest: bool
    #: Attribute that holds the name of the graph.
    graph_attribute: str
    #: Attribute that counts the tokens put into a cache.
    cache_write: str
    run_duration: Metric
    call_duration: Metric
    embeddings_duration: Metric
    time_to_first_chunk: Metric
    time_per_output_chunk: Metric
    #: Tokens by type, before; by call and in sum, since.
    token_usage: Metric | None
    call_input_tokens: Metric | None
    call_output_tokens: Metric | None
    #: Those that a call read which makes embeddings.
    embeddings_tokens: Metric | None
    input_tokens: Metric | None
    output_tokens: Metric | None
    cache_read_tokens: Metric | None
    cache_write_tokens: Metric | None
    reasoning_tokens: Metric | None
    agent_inferences: Metric | None
    agent_tools: Metric | None


'''

_CALLS: Final = "gen_ai.client.operation"
_INFERENCE: Final = "gen_ai.client.inference"
_EMBEDDINGS: Final = "gen_ai.client.embeddings"

#: The fields of ``GenAINames`` after the first: before and since 0.1.0.
VERSIONS: Final[tuple[tuple[str, str | None, str | None], ...]] = (
    ("name of the graph", "gen_ai.workflow.name", "gen_ai.agent.name"),
    (
        "tokens put into a cache",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
    ),
    ("duration of a run", "gen_ai.invoke_workflow.duration", "gen_ai.invoke_agent.duration"),
    ("duration of a model's call", f"{_CALLS}.duration", f"{_INFERENCE}.duration"),
    ("duration of a call for embeddings", f"{_CALLS}.duration", f"{_EMBEDDINGS}.duration"),
    ("time to the first chunk", f"{_CALLS}.time_to_first_chunk", f"{_INFERENCE}.time_to_first_chunk"),
    ("time between chunks", f"{_CALLS}.time_per_output_chunk", f"{_INFERENCE}.time_per_output_chunk"),
    ("tokens of a call", "gen_ai.client.token.usage", None),
    ("tokens that a call read", None, f"{_INFERENCE}.operation.input_tokens"),
    ("tokens that a call wrote", None, f"{_INFERENCE}.operation.output_tokens"),
    ("tokens that a call for embeddings read", None, f"{_EMBEDDINGS}.operation.input_tokens"),
    ("tokens read, in sum", None, f"{_INFERENCE}.usage.input_tokens"),
    ("tokens written, in sum", None, f"{_INFERENCE}.usage.output_tokens"),
    ("tokens from a cache, in sum", None, f"{_INFERENCE}.usage.cache_read.input_tokens"),
    ("tokens put into a cache, in sum", None, f"{_INFERENCE}.usage.cache_write.input_tokens"),
    ("tokens of reasoning, in sum", None, f"{_INFERENCE}.usage.reasoning.output_tokens"),
    ("calls of models by a run of an agent", None, "gen_ai.invoke_agent.inference_calls"),
    ("calls of tools by a run of an agent", None, "gen_ai.invoke_agent.tool_calls"),
)

_CHOICE: Final = '''

def genai_names(opt_in: str) -> GenAINames:
    """Choose the names by the value of ``OTEL_SEMCONV_STABILITY_OPT_IN``, a comma-separated list.

    ``gen_ai_latest_experimental`` in it means the newest names known here, 0.1.0.
    """
    chosen = {word.strip() for word in opt_in.split(",")}
    return _SINCE_0_1_0 if "gen_ai_latest_experimental" in chosen else _BEFORE_0_1_0
'''


def write(registry: Registry) -> str:
    """Return the module's source."""
    return "".join(_parts(registry))


def _parts(registry: Registry) -> Iterator[str]:
    yield _HEAD
    yield _section("spans: the name, or its first word")
    for span in registry.spans.values():
        yield from _constant(span_constant(span.group), span_word(span.group), _shape(span.group))
    yield _section("attributes")
    for attribute in registry.attributes.values():
        yield from _constant(_upper(attribute.id), attribute.id, _about(attribute))
    yield _section("events")
    yield "#: Log event of every built-in stream mode.\nEVENT_BY_MODE: Final[dict[str, str]] = {\n"
    for event in registry.events.values():
        if event.group.ours.stream_mode is not None:
            yield f'    "{event.group.ours.stream_mode}": "{event.group.name}",\n'
    yield "}\n"
    for event in registry.events.values():
        if event.group.ours.stream_mode is None:
            yield from _constant(event_constant(event.group), event.group.name, event.group.brief)
    yield _section("metrics").rstrip("\n") + "\n"
    yield _METRIC
    metrics = [metric.group for metric in registry.metrics.values()]
    for boundaries in _shared(metrics):
        yield from _buckets(boundaries)
    yield "\n"
    for metric in metrics:
        if metric.ours.genai is None:
            yield _call(f"{metric_constant(metric)}: Final = Metric(", _metric_arguments(metric), "", ")\n")
    yield _GENAI
    yield _versions(registry, metrics)
    yield _CHOICE


# -- names of constants ----------------------------------------------------------------------------


def span_constant(group: SpanGroup) -> str:
    """``span.graph.run`` -> ``SPAN_RUN``."""
    return "SPAN_" + group.id.rpartition(".")[2].upper()


def span_word(group: SpanGroup) -> str:
    """Return the first word of the span's name, which is the operation."""
    return (group.ours.span_name or "").partition(" ")[0]


def event_constant(group: EventGroup) -> str:
    """``graph.route`` -> ``EVENT_ROUTE``."""
    return group.ours.constant or "EVENT_" + _upper(group.name.partition(".")[2])


def metric_constant(group: MetricGroup) -> str:
    """``graph.node.duration`` -> ``NODE_DURATION``."""
    return group.ours.constant or _upper(group.metric_name.partition(".")[2])


def _upper(name: str) -> str:
    return name.replace(".", "_").upper()


# -- lines -----------------------------------------------------------------------------------------


def _section(title: str) -> str:
    return f"\n# -- {title} ".ljust(100, "-") + "\n\n"


def _constant(name: str, value: str, comment: str) -> Iterator[str]:
    yield _comment(comment)
    secret = "  # noqa: S105 - a count of words" if "TOKEN" in name and "TOKENS" not in name else ""
    yield f'{name}: Final = "{value}"{secret}\n'


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, initial_indent="#: ", subsequent_indent="#: ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _shape(group: SpanGroup) -> str:
    return f"``{group.ours.span_name}``: {group.brief}"


def _about(attribute: Attribute) -> str:
    members = f" One of {', '.join(attribute.values)}." if attribute.values else ""
    return f"{attribute.type_name}. {attribute.brief}{members}"


def _shared(metrics: list[MetricGroup]) -> list[Boundaries]:
    found: dict[str, Boundaries] = {}
    for metric in metrics:
        boundaries = metric.ours.boundaries
        if boundaries is None:
            continue
        if found.setdefault(boundaries.name, boundaries) != boundaries:
            raise ValueError(f"{metric.id}: there are other boundaries that are called {boundaries.name}")
    return list(found.values())


def _buckets(boundaries: Boundaries) -> Iterator[str]:
    yield _comment(boundaries.why)
    numbers = [repr(int(n) if n == int(n) else n) for n in boundaries.values]
    one_line = f"_{boundaries.name.upper()}: Final = ({', '.join(numbers)})\n"
    if len(one_line) <= _WIDTH + 1:
        yield one_line
    else:
        # Not one number a line: the list is read as a whole.
        rows = textwrap.wrap(", ".join(numbers) + ",", _WIDTH - 4)
        yield f"# fmt: off\n_{boundaries.name.upper()}: Final = (\n"
        yield "".join(f"    {row}\n" for row in rows)
        yield ")\n# fmt: on\n"


def _metric_arguments(metric: MetricGroup) -> list[str]:
    arguments = [f'"{metric.metric_name}"', f'"{metric.unit}"', f'"{metric.brief}"']
    if metric.ours.boundaries is not None:
        arguments.append(f"_{metric.ours.boundaries.name.upper()}")
    return arguments


def _call(opening: str, arguments: list[str], indent: str, closing: str) -> str:
    """Lay a call out as the formatter does: on one line, else its arguments on one, else each on its own."""
    inside = indent + "    "
    joined = ", ".join(arguments)
    if len(indent + opening + joined + closing.rstrip("\n")) <= _WIDTH:
        return indent + opening + joined + closing
    if len(inside + joined) <= _WIDTH:
        return f"{indent}{opening}\n{inside}{joined}\n{indent}{closing}"
    each = "".join(f"{inside}{argument},\n" for argument in arguments)
    return f"{indent}{opening}\n{each}{indent}{closing}"


def _versions(registry: Registry, metrics: list[MetricGroup]) -> str:
    known = {metric.metric_name: metric for metric in metrics}
    sided = {name for name, metric in known.items() if metric.ours.genai is not None}
    named = {name for _, before, since in VERSIONS for name in (before, since)}
    if sided - named:
        raise ValueError(
            f"{', '.join(sorted(sided - named))}: say in semconv/python.py what it is instead of"
        )
    lines = []
    for side, title in ((0, "_BEFORE_0_1_0"), (1, "_SINCE_0_1_0")):
        lines.append(f"{title}: Final = GenAINames(\n    {side == 1},\n")
        for row in VERSIONS:
            name = row[1 + side]
            if name in known:
                lines.append(_call("Metric(", _metric_arguments(known[name]), "    ", "),\n"))
            else:
                lines.append(f"    {None if name is None else _upper(registry.attributes[name].id)},\n")
        lines.append(")\n")
    return "".join(lines)
