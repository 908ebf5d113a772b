"""The run, read off what was exported, as somebody reads it who knows only docs/reference/telemetry.md.

Nothing of the engine is used, and of otel-stream only ``replay``, which tells the parts of the streams.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from otel_stream.replay import ReplayError, replay
from tests.truth.execution import Attempt, Execution, Run, Superstep, Task

Document = Mapping[str, Any]
_IDS = {"traceId", "spanId", "parentSpanId"}
_ERROR = 2
_SERVER = 2


class Span(NamedTuple):
    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    status: int
    about: dict[str, Any]
    links: tuple[tuple[str, str, dict[str, Any]], ...]
    #: Whether it is what a process makes of a call that came from another one.
    serves: bool

    @property
    def kind(self) -> str:
        """Its name without what it is called by: node, or graph."""
        return "attempt there" if self.name == "attempt" and self.serves else self.name.split(" ")[0]


class Log(NamedTuple):
    name: str
    time: int
    trace: str
    span: str
    about: dict[str, Any]


def document_of(message: Message) -> Document:
    """Return what OTLP's JSON says of a protobuf message: ids are hexadecimal."""

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: base64.b64decode(one).hex() if key in _IDS else shown(one) for key, one in value.items()
            }
        return [shown(one) for one in value] if isinstance(value, list) else value

    found: Document = shown(MessageToDict(message, use_integers_for_enums=True))
    return found


def spans_in(documents: Iterable[Document]) -> list[Span]:
    return [
        Span(
            one["name"],
            one["traceId"],
            one["spanId"],
            one.get("parentSpanId", ""),
            int(one["startTimeUnixNano"]),
            int(one.get("endTimeUnixNano", 0)),
            one.get("status", {}).get("code", 0),
            _attributes(one),
            tuple((link["traceId"], link["spanId"], _attributes(link)) for link in one.get("links", ())),
            one.get("kind") == _SERVER,
        )
        for one in _each(documents, "resourceSpans", "scopeSpans", "spans")
    ]


def logs_in(documents: Iterable[Document]) -> list[Log]:
    return [
        Log(
            one.get("eventName", ""),
            int(one["timeUnixNano"]),
            one.get("traceId", ""),
            one.get("spanId", ""),
            _attributes(one),
        )
        for one in _each(documents, "resourceLogs", "scopeLogs", "logRecords")
    ]


def _each(documents: Iterable[Document], *path: str) -> Iterable[Document]:
    for document in documents:
        found: list[Any] = [document]
        for key in path:
            found = [inner for outer in found for inner in outer.get(key, ())]
        yield from found


def _attributes(item: Document) -> dict[str, Any]:
    return {one["key"]: _value(one.get("value", {})) for one in item.get("attributes", ())}


def _value(value: Document) -> Any:
    for kind, found in value.items():
        if kind == "arrayValue":
            return tuple(_value(one) for one in found.get("values", ()))
        return int(found) if kind == "intValue" else found
    return None


class Rebuilder:
    """Puts together what belongs together, and keeps what is wrong with it."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = list(documents)
        self.spans = spans_in(self.documents)
        self.broken: list[str] = []
        for id, count in Counter(span.id for span in self.spans).items():
            if count > 1:
                self.broken.append(f"{count} spans end with the id {id}")
        self.by_id = {span.id: span for span in self.spans}
        self.below: dict[str, list[Span]] = defaultdict(list)
        #: By trace and task.
        self.there: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for span in sorted(self.by_id.values(), key=lambda span: span.start):
            self.below[span.parent].append(span)
            self._check(span)
            if span.kind == "attempt there":
                self.there[span.trace, span.about["graph.task.id"]].append(span)
        self.logs: dict[str, list[Log]] = defaultdict(list)
        for log in logs_in(self.documents):
            self.logs[log.span].append(log)
            if log.span not in self.by_id or self.by_id[log.span].trace != log.trace:
                self.broken.append(f"{log.name} is on a span that is not there")

    def _check(self, span: Span) -> None:
        around = self.by_id.get(span.parent)
        if span.end < span.start:
            self.broken.append(f"{span.name} never ends")
        if span.parent and around is None:
            self.broken.append(f"what is around {span.name} is not there")
        if around is not None and around.trace != span.trace:
            self.broken.append(f"{span.name} is in another trace than {around.name}")
        # LangChain tells nobody of a call that is cancelled, which ends with its node then.
        end = span.start if span.kind == "chat" else span.end
        if around is not None and not around.start <= span.start <= end <= around.end:
            self.broken.append(f"{span.name} is not within {around.name}")
        kind = None if around is None else around.kind
        if kind not in _AROUND[span.kind]:
            self.broken.append(f"{span.name} is in {kind}")
        end = span.about.get("graph.run.end") or span.about.get("graph.superstep.end")
        end = end or span.about.get("graph.task.end") or ("error" if "error.type" in span.about else "ok")
        if (span.status == _ERROR) != (end in _FAILURES):
            self.broken.append(f"{span.name} ended {end} with status {span.status}")

    # -- the tree ----------------------------------------------------------------------------------

    def execution(self) -> Execution:
        roots = tuple(self._run(span) for span in self.below[""] if span.kind == "invoke_workflow")
        return Execution(roots, self._parts(), tuple(self.broken))

    def _children(self, span: Span, kind: str) -> list[Span]:
        return [one for one in self.below[span.id] if one.kind == kind]

    def _run(self, span: Span) -> Run:
        about = span.about
        waits = [log.about for log in self._logs(span, "graph.interrupt")]
        return Run(
            about["graph.run.id"],
            about["gen_ai.workflow.name"],
            _path(about),
            about.get("gen_ai.conversation.id"),
            about.get("graph.run.resumed", False),
            about.get("graph.run.end", "?"),
            about.get("error.type"),
            about.get("graph.interrupt.ids", ()),
            self._resumes(span),
            about.get("graph.resume.interrupt.ids", ()),
            tuple(one.get("graph.interrupt.ids", ()) for one in waits),
            tuple(self._superstep(one) for one in self._children(span, "superstep")),
        )

    def _resumes(self, span: Span) -> tuple[str, tuple[str, ...]] | None:
        """Follow the link, and check that who can't follow links finds the same by attribute."""
        found = [link for link in span.links if link[2].get("graph.link.kind") == "resume"]
        told = (span.about.get("graph.resume.trace.id"), span.about.get("graph.resume.span.id"))
        if [link[:2] for link in found] != ([told] if told != (None, None) else []):
            self.broken.append(f"{span.name} has other links than it says")
        if not found:
            return None
        before = self.by_id.get(found[0][1])
        if before is None or before.trace != found[0][0]:
            self.broken.append(f"{span.name} links to a run that is not there")
            return None
        return before.about["graph.run.id"], _path(before.about)

    def _superstep(self, span: Span) -> Superstep:
        about = span.about
        tasks = [self._task(one, about["graph.superstep"]) for one in self._children(span, "invoke_node")]
        return Superstep(
            about["graph.superstep"],
            about["graph.superstep.width"],
            about.get("graph.superstep.end", "ok"),
            about.get("error.type"),
            tuple(sorted(tasks, key=lambda task: (task.node, task.id))),
        )

    def _task(self, span: Span, superstep: int) -> Task:
        about = span.about
        if about["graph.superstep"] != superstep:
            self.broken.append(f"{span.name} says that it is of superstep {about['graph.superstep']}")
        tries = self._children(span, "attempt")
        attempts = [_attempt(one) for one in tries]
        if about.get("graph.task.attempts", 1) != max(1, len(attempts)):
            self.broken.append(f"{span.name} has {len(attempts)} attempts and says something else")
        places = [(span, 1), *((one, attempt.number) for one, attempt in zip(tries, attempts, strict=True))]
        places += [(one, one.about["graph.task.attempt"]) for one in self._elsewhere(span, places)]
        inside = [(number, one) for place, number in places for one in self.below[place.id]]
        own = [(number, one) for number, one in inside if one.kind == "inside"]
        runs = [one for _, one in inside if one.kind == "invoke_workflow"]
        runs += [one for _, place in own for one in self._children(place, "invoke_workflow")]
        return Task(
            about["graph.task.id"],
            about["gen_ai.node.name"],
            about.get("graph.task.end", "ok"),
            about.get("error.type"),
            about.get("graph.task.cached", False),
            tuple(attempts),
            about.get("graph.interrupt.ids", ()),
            self._edges(span),
            tuple(
                (log.about["graph.route.source"], log.about["graph.route.targets"])
                for log in self._logs(span, "graph.route")
            ),
            tuple(sorted((number, int(one.name.split(" ")[1])) for number, one in own)),
            tuple(self._run(one) for one in sorted(runs, key=lambda run: run.start)),
        )

    def _elsewhere(self, span: Span, places: Sequence[tuple[Span, int]]) -> list[Span]:
        """Return what workers tell of the attempts of a task.

        They are below it; in a graph that is itself elsewhere, below what is told of the task around that.
        """
        found = self.there[span.trace, span.about["graph.task.id"]]
        found = [one for one in found if span.start <= one.start <= one.end <= span.end]
        numbers = {place.id: number for place, number in places}
        for one in found:
            number, above = one.about["graph.task.attempt"], self.by_id[one.parent]
            if above.kind == "inside":
                above = self.by_id[above.parent]
            around = above.about.get("graph.task.id")
            if above.id in numbers:
                right = above is span or numbers[above.id] == number
            else:
                right = above.kind == "attempt there" and around in self._tasks_around(span)
            if not right:
                self.broken.append(f"attempt {number} elsewhere of {span.name} is below {above.name}")
        if len({one.about["graph.task.attempt"] for one in found}) != len(found):
            self.broken.append(f"{span.name} has an attempt elsewhere twice")
        return found

    def _tasks_around(self, span: Span) -> set[str]:
        tasks = set()
        above = self.by_id.get(span.parent)
        while above is not None:
            tasks.add(above.about.get("graph.task.id", ""))
            above = self.by_id.get(above.parent)
        return tasks

    def _edges(self, span: Span) -> tuple[tuple[str, str], ...]:
        edges = []
        for trace, id, about in span.links:
            source = self.by_id.get(id)
            if source is None or source.trace != trace or source.kind != "invoke_node":
                self.broken.append(f"{span.name} links to a task that is not there")
            elif source.about["graph.task.id"] != about["graph.task.id"] or trace != span.trace:
                self.broken.append(f"{span.name} links to another task than it says")
            else:
                edges.append((about["graph.link.channel"], source.about["graph.task.id"]))
        return tuple(sorted(edges))

    def _logs(self, span: Span, name: str) -> list[Log]:
        return sorted((log for log in self.logs[span.id] if log.name == name), key=lambda log: log.time)

    # -- the streams -------------------------------------------------------------------------------

    def _parts(self) -> dict[str, tuple[Any, ...]]:
        try:
            found = replay([one for one in self.documents if "resourceLogs" in one])
        except ReplayError:
            return {}
        self.broken.extend(found.damaged)
        parts = {}
        for run in found.runs:
            self.broken.extend(f"{run.id}: {problem}" for problem in run.problems() if not run.withheld)
            self.broken.extend(f"{run.id}: {hole}" for hole in run.holes if run.withheld)
            ended = [span.about.get("graph.run.end") for span in self.spans if _is_root(span, run.id)]
            if ended != [run.end]:
                self.broken.append(
                    f"{run.id} ended {ended}, says its span, and {run.end}, say its log events"
                )
            known = [(part, part.to_json()) for part in run.parts] + [(part, None) for part in run.withheld]
            parts[run.id] = tuple(
                (part.seq, part.type, self._owner(part.span_id), json)
                for part, json in sorted(known, key=lambda one: one[0].seq or 0)
            )
        return parts

    def _owner(self, span_id: str | None) -> Any:
        """Say what a log event is on: a task by its id, or a run by its namespace."""
        span = self.by_id.get(span_id or "")
        if span is None:
            return None
        return span.about.get("graph.task.id") or _path(span.about)


_AROUND: dict[str, set[str | None]] = {
    "invoke_workflow": {None, "invoke_node", "attempt", "inside"},
    "superstep": {"invoke_workflow"},
    "invoke_node": {"superstep"},
    "attempt": {"invoke_node"},
    # The process that a node runs in makes one, too.
    "attempt there": {"invoke_node", "attempt", "attempt there", "inside"},
    "inside": {"invoke_node", "attempt", "attempt there"},
    # What a node says in messages is a call of a model.
    "chat": {"invoke_node", "attempt", "attempt there", "inside"},
}
_FAILURES = {"error", "timeout", "recursion_limit"}


def _attempt(span: Span) -> Attempt:
    about = span.about
    pause = about.get("graph.task.retry_delay")
    end = about.get("graph.task.end", "ok" if pause is None else "error")
    return Attempt(about["graph.task.attempt"], end, about.get("error.type"), pause)


def _path(about: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(about["graph.ns"].split("|")) if "graph.ns" in about else ()


def _is_root(span: Span, run: str) -> bool:
    return span.kind == "invoke_workflow" and not span.parent and span.about["graph.run.id"] == run
