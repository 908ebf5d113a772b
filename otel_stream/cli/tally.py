"""What the parts of a run add up to, for a display: which nodes run, how often they were retried.

Pure: no clock, no output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from otel_stream.config import MODES, Custom, StreamConfig
from otel_stream.events import AttemptEnded, Event, SuperstepEnded
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.statistics import ReceiverStatistics


@dataclass(slots=True)
class NodeTally:
    """The tasks of one node, by where they are."""

    started: int = 0
    done: int = 0
    failed: int = 0
    retries: int = 0

    @property
    def running(self) -> int:
        """Return how many have started and not ended."""
        return self.started - self.done - self.failed


def note(event: Event) -> dict[str, Any] | None:
    """Say what no built-in mode shows by itself: a retry, and the end of a superstep."""
    if isinstance(event, AttemptEnded) and event.retry_after is not None:
        return {"retry": event.task.node, "attempt": event.attempt, "error": str(event.error)}
    if isinstance(event, SuperstepEnded):
        return {"superstep": event.step, "nested": event.run.parent is not None}
    return None


#: The display's own view of the run, apart from what the user asked for: it must not lose anything.
CONFIG = StreamConfig(
    modes=("tasks", "custom", "messages", Custom(note, "run", (AttemptEnded, SuperstepEnded))),
    subgraphs=True,
    include_end=True,
    name="display",
)


class Account(NamedTuple):
    """What became of the parts of a receiver, and its modes in the order of the documentation."""

    modes: tuple[str, ...]
    statistics: ReceiverStatistics

    @classmethod
    def of(cls, receiver: StreamReceiver, before: Account | None = None) -> Account:
        """Return the account of this moment, with what there was ``before`` the run was resumed."""
        statistics = receiver.statistics()
        whole = statistics if before is None else before.statistics + statistics
        return cls(tuple(mode for mode in MODES if mode in receiver.config.modes), whole)


@dataclass(slots=True)
class Tally:
    """Adds up parts of :data:`CONFIG`'s modes, in the order in which nodes were first seen."""

    nodes: dict[str, NodeTally] = field(default_factory=dict)
    supersteps: int = 0
    nested_supersteps: int = 0
    files: int = 0
    audited: int = 0
    findings: int = 0
    queued: int = 0
    inspected: int = 0
    #: What was worked on last.
    place: str = ""
    #: Who wrote the report.
    author: str = ""
    trace_id: str | None = None
    #: What it waits for a human to answer.
    interrupts: tuple[Any, ...] = ()

    def add(self, part: StreamPart) -> None:
        """Take note of one part."""
        self.trace_id = self.trace_id or part.trace_id
        if part.type == "tasks":
            self._task(part.data)
        elif part.type == "custom":
            self._progress(part.data)
        elif part.type == "run":
            self._run(part.data)
        elif part.type == "end" and not part.ns:
            self.interrupts = tuple(part.data.get("interrupts") or ())

    @property
    def questions(self) -> tuple[Any, ...]:
        """Return what it asks."""
        return tuple(one.value for one in self.interrupts)

    @property
    def retries(self) -> int:
        """Return the retries of all nodes."""
        return sum(node.retries for node in self.nodes.values())

    def progress(self) -> Iterator[tuple[str, int, int]]:
        """Yield what is to be done in phases: what, how much is done, of how much."""
        yield "files audited", self.audited, self.files
        yield "functions inspected", self.inspected, self.queued

    def _node(self, name: str) -> NodeTally:
        return self.nodes.setdefault(name, NodeTally())

    def _task(self, data: dict[str, Any]) -> None:
        node = self._node(data["name"])
        if "result" not in data:
            node.started += 1
        elif data.get("interrupts"):
            node.started -= 1  # it waits, and starts again when it is answered
        elif data["error"] is None:
            node.done += 1
        else:
            node.failed += 1

    def _progress(self, data: dict[str, Any]) -> None:
        match data:
            case {"stage": "discover", "files": files}:
                self.files = files
            case {"stage": "audit", "file": file, "findings": findings}:
                self.audited += 1
                self.findings += findings
                self.place = file
            case {"stage": "rank", "queued": queued}:
                self.queued = queued
            case {"stage": "deepen", "place": place}:
                self.inspected += 1
                self.place = place
            case {"stage": "report", "author": author}:
                self.author = author
            case _:  # another graph's
                pass

    def _run(self, data: dict[str, Any]) -> None:
        if "retry" in data:
            self._node(data["retry"]).retries += 1
        elif data["nested"]:
            self.nested_supersteps += 1
        else:
            self.supersteps += 1
