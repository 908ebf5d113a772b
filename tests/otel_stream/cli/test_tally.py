"""Parts add up to what a display shows."""

from contextvars import Context
from typing import Any

from otel_stream.cli.tally import NodeTally, Tally, note
from otel_stream.config import MODES
from otel_stream.events import AttemptEnded, End, Run, SuperstepEnded, Task, TaskStarted
from otel_stream.stream.modes import StreamPart


def part(mode: str, data: Any, trace_id: str | None = None) -> StreamPart:
    return StreamPart(mode, (), data, trace_id=trace_id)


def started(node: str) -> StreamPart:
    return part("tasks", {"id": "1", "name": node, "input": {}, "triggers": ()})


def ended(node: str, error: Exception | None = None) -> StreamPart:
    return part("tasks", {"id": "1", "name": node, "error": error, "result": {}, "interrupts": []})


def added(*parts: StreamPart) -> Tally:
    tally = Tally()
    for one in parts:
        tally.add(one)
    return tally


def test_a_node_runs_from_its_start_to_its_result() -> None:
    tally = added(
        started("b"), started("a"), started("a"), ended("a"), started("a"), ended("a", ValueError())
    )
    assert tally.nodes == {"b": NodeTally(started=1), "a": NodeTally(started=3, done=1, failed=1)}
    assert list(tally.nodes) == ["b", "a"]
    assert [node.running for node in tally.nodes.values()] == [1, 1]


def test_progress_follows_what_the_nodes_say() -> None:
    tally = added(
        part("custom", {"stage": "discover", "files": 2, "bytes": 9}),
        part("custom", {"stage": "audit", "file": "a.py", "number": 1, "of": 2, "findings": 3}),
        part("custom", {"stage": "rank", "queued": 4}),
        part("custom", {"stage": "deepen", "place": "a.py:3", "function": "f", "queued": 3}),
        part("custom", {"stage": "report", "author": "m"}),
        part("custom", {"anything": "else"}),
        part("custom", "or no mapping at all"),
    )
    assert list(tally.progress()) == [("files audited", 1, 2), ("functions inspected", 1, 4)]
    assert (tally.findings, tally.place, tally.author) == (3, "a.py:3", "m")


def test_retries_and_supersteps_come_from_events_no_built_in_mode_shows() -> None:
    run = Run("r", "audit", context=Context())
    task = Task(run, "parse", 2, id="t")
    nested = Run("s", "audit_file", context=Context(), parent=task)
    failed = AttemptEnded(task, 1, ValueError("no"), 0.01, 0)
    events = [
        (failed, {"retry": "parse", "attempt": 1, "error": "no"}),
        (AttemptEnded(task, 2, None, None, 0), None),
        (SuperstepEnded(run, 2, End.OK, frozenset(), 0), {"superstep": 2, "nested": False}),
        (SuperstepEnded(nested, 1, End.OK, frozenset(), 0), {"superstep": 1, "nested": True}),
        (TaskStarted(task, 0), None),
    ]
    assert [note(event) for event, _ in events] == [data for _, data in events]
    tally = added(*(part("run", data) for _, data in events if data))
    assert (tally.retries, tally.supersteps, tally.nested_supersteps) == (1, 1, 1)
    assert "run" not in MODES


def test_the_first_trace_id_is_the_runs() -> None:
    tally = added(
        part("values", {}), part("values", {}, trace_id="a" * 32), part("values", {}, trace_id="b" * 32)
    )
    assert tally.trace_id == "a" * 32
