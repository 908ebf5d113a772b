"""What a unit learns from its spans and log events: its name, thread, state and sums."""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from otel_stream import semconv
from otel_stream.view.items import Log, Span

#: Units that are kept in memory between commits.
_KEPT: Final = 20_000
#: What is kept of a question, in characters.
_QUESTION: Final = 500
#: Operations of GenAI's conventions whose tokens are theirs; an agent's are the sum of its models'.
_ASKING: Final = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
_FAILED: Final = 2

_COLUMNS: Final = (
    "id", "key", "trace", "trace_id", "listed", "name", "thread", "service", "started", "ended", "state",
    "root", "steps", "errors", "tokens", "spans", "logs", "question", "resumes",
    "answered", "seen", "version", "indexed", "dropped",
)  # fmt: skip
_INSERT: Final = f"INSERT INTO unit VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_SET: Final = ", ".join(f"{name} = ?" for name in _COLUMNS[1:])
_UPDATE: Final = f"UPDATE unit SET {_SET} WHERE id = ?"  # noqa: S608
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM unit"  # noqa: S608


class Unit:
    """A row of the table; its columns are described there."""

    __slots__ = ("fresh", *_COLUMNS)

    def __init__(self, *columns: Any, fresh: bool = False) -> None:
        self.fresh = fresh
        self.id: int
        self.key: str
        self.trace: int
        self.trace_id: str
        self.listed: int
        self.name: str
        self.thread: str | None
        self.service: str
        self.started: int
        self.ended: int | None
        self.state: str
        self.root: str
        self.steps: int
        self.errors: int
        self.tokens: int
        self.spans: int
        self.logs: int
        self.question: str | None
        self.resumes: str | None
        self.answered: str | None
        self.seen: int
        self.version: int
        self.indexed: int
        self.dropped: int
        for name, value in zip(_COLUMNS, columns, strict=True):
            setattr(self, name, value)

    def row(self) -> tuple[Any, ...]:
        """Return the columns."""
        return tuple(getattr(self, name) for name in _COLUMNS)


class Units:
    """The units that the writer changes. Nothing is written before ``save``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._kept: OrderedDict[str, Unit] = OrderedDict()
        self._changed: dict[str, Unit] = {}
        (self._last,) = connection.execute("SELECT coalesce(max(id), 0) FROM unit").fetchone()

    def trace(self, trace_id: str, service: str, start: int) -> Unit:
        """Return the unit of a trace, a new one if there is none."""
        unit = self._known(trace_id)
        if unit is None:
            unit = self._new(trace_id, None, trace_id, service, start)
        return self._change(unit)

    def run(self, run_id: str, trace_id: str, graph: str, service: str, start: int) -> Unit:
        """Return the unit of a graph's run, a new one if there is none; then its trace is not listed."""
        unit = self._known(run_id)
        if unit is None:
            trace = self.trace(trace_id or run_id, service, start)
            trace.listed = 0
            unit = trace if trace.key == run_id else self._new(run_id, trace.id, trace_id, service, start)
            unit.listed = 1
            unit.name = graph
        return self._change(unit)

    def answered(self, key: str, by: str) -> None:
        """Take note that the run ``key`` waits no longer: another one goes on with it."""
        unit = self._known(key)
        if unit is not None:
            self._change(unit).answered = by

    def save(self, version: int) -> None:
        """Write what was changed, as changed by the commit ``version``."""
        now = time.time_ns()
        new: list[tuple[Any, ...]] = []
        old: list[tuple[Any, ...]] = []
        for unit in self._changed.values():
            unit.version, unit.seen = version, now
            if unit.fresh:
                new.append(unit.row())
                unit.fresh = False
            else:
                old.append((*unit.row()[1:], unit.id))
        self._connection.executemany(_INSERT, new)
        self._connection.executemany(_UPDATE, old)
        self._changed.clear()
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Keep nothing in memory: what was saved was not written after all, or was deleted."""
        self._kept.clear()
        self._changed.clear()
        (self._last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM unit").fetchone()

    def _known(self, key: str) -> Unit | None:
        unit = self._kept.get(key)
        if unit is None:
            row = self._connection.execute(f"{_SELECT} WHERE key = ?", (key,)).fetchone()
            if row is not None:
                unit = self._kept[key] = Unit(*row)
        return unit

    def _new(self, key: str, trace: int | None, trace_id: str, service: str, start: int) -> Unit:
        self._last += 1
        id = self._last
        unit = Unit(
            id, key, id if trace is None else trace, trace_id, 1, "", None, service, start, None, "running",
            "", 0, 0, 0, 0, 0, None, None, None, 0, 0, 0, 0,
            fresh=True,
        )  # fmt: skip
        self._kept[key] = unit
        return unit

    def _change(self, unit: Unit) -> Unit:
        self._changed[unit.key] = unit
        self._kept.move_to_end(unit.key)
        return unit


def learn_from_span(units: Units, trace: Unit, span: Span) -> None:
    """Take from a new span what the list tells of its trace, and of its run if it is a run's."""
    attributes = span.attributes
    trace.spans += 1
    # An attempt that fails and is made again is a retry; that of a task which fails is told by the task.
    trace.errors += span.status == _FAILED and not (span.name == "attempt" and span.scope == "otel_stream")
    trace.started = min(trace.started, span.start)
    if attributes.get("gen_ai.operation.name") in _ASKING:
        for name in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"):
            count = attributes.get(name)
            trace.tokens += count if type(count) is int and 0 <= count < 2**40 else 0
    if not span.parent or span.parent == span.trace:
        trace.root, trace.name = span.id, span.name
        if span.end is not None:
            trace.ended = span.end
            trace.state = "error" if span.status == _FAILED else "ok"
    elif not trace.name:
        trace.name = span.name
    run_id = attributes.get(semconv.GRAPH_RUN_ID)
    if run_id is not None and semconv.GRAPH_NS not in attributes and span.name.startswith("invoke_workflow"):
        _learn_from_root(units, str(run_id), span)


def _learn_from_root(units: Units, run_id: str, span: Span) -> None:
    attributes = span.attributes
    names = map(attributes.get, ("gen_ai.workflow.name", "gen_ai.agent.name", semconv.GRAPH_NAME))
    graph = next(filter(None, names), span.name)
    unit = units.run(run_id, span.trace, str(graph), span.service, span.start)
    unit.started, unit.root = span.start, span.id
    thread, resumes = attributes.get("gen_ai.conversation.id"), attributes.get(semconv.GRAPH_RESUME_RUN_ID)
    unit.thread = unit.thread if thread is None else str(thread)
    if resumes is not None:
        unit.resumes = str(resumes)
        units.answered(unit.resumes, run_id)
    if span.end is not None:
        unit.ended = span.end
        unit.state = str(attributes.get(semconv.GRAPH_RUN_END, "error" if span.status == _FAILED else "ok"))
        _learn_of_drops(unit, attributes)


def _learn_of_drops(unit: Unit, attributes: Mapping[str, Any]) -> None:
    dropped = attributes.get(semconv.GRAPH_RUN_DROPPED)
    unit.dropped = dropped if type(dropped) is int and 0 <= dropped < 2**40 else unit.dropped


def learn_from_log(unit: Unit, log: Log) -> None:
    """Take from a new log event of a run what the list tells of it."""
    attributes = log.attributes
    unit.logs += 1
    unit.started = min(unit.started, log.time)
    step = attributes.get(semconv.GRAPH_SUPERSTEP)
    ended = semconv.GRAPH_RUN_END in attributes  # tells the superstep that would have come next
    if type(step) is int and not ended and semconv.GRAPH_NS not in attributes and unit.steps < step < 2**40:
        unit.steps = step
    thread = attributes.get("gen_ai.conversation.id")
    if thread is not None:
        unit.thread = str(thread)
    if semconv.GRAPH_NS in attributes:
        return
    if semconv.GRAPH_RUN_END in attributes:
        unit.state, unit.ended = str(attributes[semconv.GRAPH_RUN_END]), log.time
        unit.root = unit.root or log.span
        _learn_of_drops(unit, attributes)
    asked = attributes.get(semconv.GRAPH_VALUES_INTERRUPTS)
    if asked:
        unit.question = str(asked)[:_QUESTION]
