"""What can be read off the telemetry of one peer: the same questions to all, answered from the bytes.

Every answer is a short text computed from spans, links, attributes, events and log records. Where a peer
has a form of its own (a name, a key, JSON inside an attribute), any of them counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.peers import graphs
from benchmarks.peers.exported import Exported, Span

#: Words by which the end of a stream that was left could be told from a failure or a success.
LEFT = re.compile("GeneratorExit|abandon|cancel|closed|incomplete", re.IGNORECASE)
TASKS = [(name, number) for number, names in enumerate(graphs.SUPERSTEPS) for name in names]


class Nodes:
    """The spans of the scene's nodes, by name, in the order in which they started."""

    def __init__(self, scene: Exported) -> None:
        candidates = [span for span in scene.spans if not any(_is(span, router) for router in graphs.ROUTERS)]
        self.spans = {name: self._of(name, candidates) for name in {name for name, _ in TASKS}}
        #: Spans of the attempts that failed are no tasks of their own.
        self.tasks = {
            name: [span for span in spans if name != "flaky" or span.status != "error"]
            for name, spans in self.spans.items()
        }

    @staticmethod
    def _of(name: str, candidates: list[Span]) -> list[Span]:
        named = [span for span in candidates if name in re.split(r"\W+", span.name)]
        found = named or [span for span in candidates if _is(span, name)]
        return [span for span in found if not any(above in found for above in span.ancestors())]

    def task(self, name: str, which: int) -> Span | None:
        """Return the span of a node's first, second... task."""
        spans = self.tasks[name]
        return spans[which] if which < len(spans) else None


def _is(span: Span, name: str) -> bool:
    """Whether a span is about a node or function of this name: by its own name, or an attribute of it."""
    return name in re.split(r"\W+", span.name) or any(
        value == name and ("node" in key or "name" in key) for key, value in span.attributes
    )


def spans_of_tasks(scenes: Mapping[str, Exported]) -> str:
    """Return how many tasks of the scene have a span."""
    nodes = Nodes(scenes["plain"])
    wanted = {name: sum(name == other for other, _ in TASKS) for name in nodes.spans}
    return _of(sum(min(len(nodes.tasks[name]), number) for name, number in wanted.items()), len(TASKS))


def traces(scenes: Mapping[str, Exported]) -> str:
    """Return how many traces one run is, without the user's own span."""
    ids = {span.trace_id for span in scenes["plain"].spans if span.name != graphs.USER_SPAN}
    return str(len(ids))


def supersteps(scenes: Mapping[str, Exported]) -> str:
    """Return whether supersteps are spans, or at least numbers on the spans of tasks."""
    nodes = Nodes(scenes["plain"])
    groups = {frozenset(id(child) for child in span.children) for span in scenes["plain"].spans}
    wanted = []
    seen: dict[str, int] = {}
    for names in graphs.SUPERSTEPS:
        members = [nodes.task(name, seen.get(name, 0)) for name in names]
        seen |= {name: seen.get(name, 0) + 1 for name in names}
        wanted.append(frozenset(id(span) for span in members) if None not in members else None)
    spans = sum(group is not None and group in groups for group in wanted)
    if spans:
        return f"spans: {_of(spans, len(graphs.SUPERSTEPS))}"
    numbered = _numbered(nodes)
    return f"a number on {_of(numbered, len(TASKS))} tasks" if numbered else "no"


def _numbered(nodes: Nodes) -> int:
    seen: dict[str, int] = {}
    count = 0
    for name, number in TASKS:
        span = nodes.task(name, seen.get(name, 0))
        seen[name] = seen.get(name, 0) + 1
        # Peers may count from 0 or from 1.
        if span is not None and {str(number), str(number + 1)} & {
            str(value) for value in span.values("step")
        }:
            count += 1
    return count


def edges(scenes: Mapping[str, Exported]) -> str:
    """Return how many executed edges stand in the trace, and how."""
    nodes = Nodes(scenes["plain"])
    links = named = 0
    for before, after in graphs.EDGES:
        source, target = nodes.task(*before), nodes.task(*after)
        if source is None or target is None:
            continue
        if any(source.span_id == span_id for _, span_id in target.links) or any(
            value == source.span_id for _, value in target.attributes
        ):
            links += 1
        elif any(before[0] in re.split(r"\W+", str(value)) for value in target.values("trigger")):
            named += 1
    told = [f"links: {_of(links, len(graphs.EDGES))}"] * bool(links)
    told += [f"by name in triggers: {_of(named, len(graphs.EDGES))}"] * bool(named)
    return "; ".join(told) or "no"


def attempts(scenes: Mapping[str, Exported]) -> str:
    """Return what is told of the node that took two attempts."""
    spans = [below for span in Nodes(scenes["plain"]).spans["flaky"] for below in span.below()]
    numbers = {str(value) for span in spans for word in ("attempt", "retry") for value in span.values(word)}
    if {"1", "2"} <= numbers or {"0", "1"} <= numbers:
        return "numbered"
    count = len(Nodes(scenes["plain"]).spans["flaky"])
    return f"{count} spans, no number" if count > 1 else "no"


def stream(scenes: Mapping[str, Exported]) -> str:
    """Return how many events there are besides exceptions, and whether custom data is among them."""
    count = len(scenes["plain"].happenings())
    custom = "with" if scenes["plain"].received.mention(graphs.CUSTOM) else "without"
    return f"{count} events, {custom} custom data" if count else "no"


def user_span(scenes: Mapping[str, Exported]) -> str:
    """Return where a span ends up that the user opens inside a node."""
    scene = scenes["nested"]
    spans = [span for span in scene.spans if span.name == graphs.USER_SPAN]
    if len(spans) != 1:
        return "not exported"
    above = list(spans[0].ancestors())
    if any(_is(span, "beta") for span in above):
        return "in its node"
    if not above:
        return "in a trace of its own"
    return "below the caller's span" if above[0].name == "request" else "below the run"


def interrupt(scenes: Mapping[str, Exported]) -> str:
    """Return the statuses of the node that asks and of its run, and whether the word interrupt falls."""
    scene = scenes["waiting"]
    asking = [span for span in scene.spans if _is(span, "ask")]
    node = asking[-1].status if asking else "no span"
    texts = [text for span in scene.spans for text in span.texts()]
    texts += [event.name for event in scene.records]
    said = any("interrupt" in text.lower() for text in texts)
    return f"run {_root(scene)}, node {node}; {'said' if said else 'not said'}"


def resumed(scenes: Mapping[str, Exported]) -> str:
    """Return what leads from the resumed run to the one that waited."""
    first, second = scenes["waiting"], scenes["resumed"]
    before = {span.trace_id for span in first.spans}
    if any(trace_id in before for span in second.spans for trace_id, _ in span.links):
        return "link"
    if any(value in before for span in second.spans for _, value in span.attributes):
        return "trace id in an attribute"
    if before & {span.trace_id for span in second.spans}:
        return "the same trace"
    both = all(
        any(value == graphs.THREAD for span in scene.spans for _, value in span.attributes)
        for scene in (first, second)
    )
    return "thread id in both" if both else "no"


def left(scenes: Mapping[str, Exported]) -> str:
    """Return the status of a run whose consumer left its stream, and the word for it."""
    scene = scenes["broken"]
    roots = scene.roots()
    if not roots:
        return "no span"
    word = LEFT.search(" ".join(roots[0].texts()))
    return f"run {_root(scene)}" + (f" ({word[0]})" if word else "")


def exception_text(scenes: Mapping[str, Exported]) -> str:
    """Return whether the text of an exception is exported although content is off."""
    return _exported(scenes["failing"], graphs.REASON)


def exception_type(scenes: Mapping[str, Exported]) -> str:
    """Return whether the class of the exception is told with content off."""
    return "yes" if scenes["failing"].received.mention("Refused") else "no"


def state(scenes: Mapping[str, Exported]) -> str:
    """Return whether state is exported although content is off."""
    return _exported(scenes["plain"], graphs.STATE)


def metadata(scenes: Mapping[str, Exported]) -> str:
    """Return whether the metadata of the config is exported although content is off."""
    return _exported(scenes["plain"], graphs.METADATA)


def complaints(scenes: Mapping[str, Exported]) -> str:
    """Return how many warnings and errors were logged meanwhile."""
    return str(sum(len(scene.complaints) for scene in scenes.values()))


def metrics(scenes: Mapping[str, Exported]) -> str:
    """Return how many metrics there are."""
    return str(len({name for scene in scenes.values() for name in scene.received.metrics()}))


def _root(scene: Exported) -> str:
    roots = scene.roots()
    return roots[0].status if roots else "no span"


def _exported(scene: Exported, text: str) -> str:
    return "exported" if scene.received.mention(text) else "absent"


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


Question = Callable[[Mapping[str, Exported]], str]
#: What is asked with the export of content on.
WITH_CONTENT: dict[str, Question] = {
    "traces of one run": traces,
    "tasks with a span": spans_of_tasks,
    "supersteps": supersteps,
    "executed edges": edges,
    "attempts of a retried node": attempts,
    "stream events": stream,
    "user's span opened in a node": user_span,
    "interrupt": interrupt,
    "resumed run → the one before": resumed,
    "stream left by its consumer": left,
    "metrics": metrics,
    "warnings and errors logged": complaints,
}
#: What is asked with the export of content off.
WITHOUT_CONTENT: dict[str, Question] = {
    "exception's text, content off": exception_text,
    "exception's class, content off": exception_type,
    "state, content off": state,
    "metadata of the config, content off": metadata,
}


def answers(questions: Mapping[str, Question], scenes: Mapping[str, Exported]) -> dict[str, Any]:
    """Ask them all."""
    return {name: question(scenes) for name, question in questions.items()}
