"""What is true at the moment of asking: what is in progress, and what waits for answers.

A counter that goes up and down costs as much as a span. So runs only count here, in steps that are atomic,
and the SDK asks when it collects.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Final, TypeAlias

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_stream import semconv
from otel_stream.forking import in_child
from otel_stream.telemetry.metrics.names import ERRORS, GRAPHS, Names
from otel_stream.telemetry.metrics.receivers import Receivers, show_receivers
from otel_stream.telemetry.scope import Attributes, FixedAttributes

#: Takes note of a duration in nanoseconds.
Note: TypeAlias = Callable[[int], None]

#: Interrupts that are remembered until they are answered; the oldest are forgotten first.
_MAX_WAITING: Final = 10_000


class Active:
    """How many of something are in progress: begun, and not ended. From any thread, without a lock."""

    __slots__ = ("_asking", "_begun", "_ended", "attributes", "begin", "end", "note")

    def __init__(
        self, attributes: FixedAttributes, noting: Callable[[FixedAttributes], Note | None] | None
    ) -> None:
        self.attributes = attributes
        #: Takes note of how long one of them took where that is an exemplar of nothing; None: it is recorded.
        self.note = None if noting is None else noting(attributes)
        self.reset()

    def reset(self) -> None:
        """Begin with none: in a forked child, where nothing of what began before goes on."""
        self._begun, self._ended = itertools.count(), itertools.count()
        self.begin, self.end = self._begun.__next__, self._ended.__next__
        self._asking = Lock()

    def now(self) -> int:
        """Return the number as it is now."""
        with self._asking:
            # Asking counts in both, which leaves their difference; in this order it can't be below 0.
            ended = next(self._ended)
            return next(self._begun) - ended


class Edges:
    """How often each edge was taken: counted in steps that are atomic, and told when the SDK asks."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Active, Active], _Count] = {}

    def reset(self) -> None:
        """Begin with none: in a forked child."""
        self._counts.clear()

    def taken(self, source: Active, target: Active) -> None:
        """Count an edge from node to node, which are of the same graph."""
        known = self._counts.get((source, target))
        if known is None:
            known = self._first(source, target)
        known.add()

    def _first(self, source: Active, target: Active) -> _Count:
        attributes: Attributes = {
            semconv.GRAPH_NAME: target.attributes[semconv.GRAPH_NAME],
            semconv.GRAPH_EDGE_FROM: source.attributes[semconv.GEN_AI_NODE_NAME],
            semconv.GRAPH_EDGE_TO: target.attributes[semconv.GEN_AI_NODE_NAME],
        }
        # Two threads may both make one; the first that is stored is everybody's.
        return self._counts.setdefault((source, target), _Count(attributes))

    def observed(self, _: CallbackOptions) -> Iterator[Observation]:
        """Yield what was counted since the process began."""
        for one in list(self._counts.values()):
            yield Observation(one.now(), one.attributes)


class _Count:
    """A number that only grows. From any thread, without a lock to add to it."""

    __slots__ = ("_asked", "_asking", "_counted", "add", "attributes")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self._counted = itertools.count()
        self.add = self._counted.__next__
        self._asking, self._asked = Lock(), 0

    def now(self) -> int:
        """Return the number as it is now."""
        with self._asking:
            # Asking counts, too.
            found = next(self._counted) - self._asked
            self._asked += 1
            return found


class Waiting:
    """Interrupts of this process that nobody has answered yet: id → graph and when they were raised."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with none: those that were raised before a fork are the parent's to show."""
        self._lock = Lock()
        self._since: dict[str, tuple[str, int]] = {}
        #: Graphs that have ever waited: they are shown with 0 once everything is answered.
        self.graphs: set[str] = set()

    def raised(self, graph: str, ids: Iterable[str], now: int) -> None:
        """Take note of interrupts that a run has ended at; ``now`` in nanoseconds since the epoch."""
        with self._lock:
            self.graphs.add(graph)
            for one in ids:
                self._since[one] = graph, now
            while len(self._since) > _MAX_WAITING:
                del self._since[next(iter(self._since))]

    def answered(self, ids: Iterable[str], now: int) -> list[float]:
        """Forget interrupts, and return how long each has waited, in seconds."""
        with self._lock:
            known = [self._since.pop(one, None) for one in ids]
        return [max(0, now - found[1]) * 1e-9 for found in known if found is not None]

    def by_graph(self) -> dict[str, tuple[int, float]]:
        """Return how many wait, and the age of the oldest in seconds, by graph."""
        now = time.time_ns()
        with self._lock:
            waiting = list(self._since.values())
        found: dict[str, tuple[int, float]] = {}
        for graph, since in waiting:
            number, age = found.get(graph, (0, 0.0))
            found[graph] = number + 1, max(age, (now - since) * 1e-9)
        return found


class Gauges:
    """The instruments of one meter that are asked."""

    def __init__(self, meter: Meter) -> None:
        self.receivers = Receivers()
        self.graph_names = Names(GRAPHS)
        self.error_types = Names(ERRORS)
        self.runs: dict[str, Active] = {}
        self.nodes: dict[tuple[str, str], Active] = {}
        self.edges = Edges()
        self.waiting = Waiting()
        #: Called before anything is collected.
        self.before: list[Callable[[], None]] = []
        in_child(self._after_fork)
        meter.create_observable_up_down_counter(
            semconv.RUN_ACTIVE.name, [self._runs], semconv.RUN_ACTIVE.unit, semconv.RUN_ACTIVE.description
        )
        meter.create_observable_up_down_counter(
            semconv.NODE_ACTIVE.name, [self._nodes], semconv.NODE_ACTIVE.unit, semconv.NODE_ACTIVE.description
        )
        name, unit, description, _ = semconv.EDGE_COUNT
        meter.create_observable_counter(name, [self.edges.observed], unit, description)
        name, unit, description, _ = semconv.INTERRUPT_WAITING
        meter.create_observable_up_down_counter(name, [self._interrupts], unit, description)
        name, unit, description, _ = semconv.INTERRUPT_AGE
        meter.create_observable_gauge(name, [self._ages], unit, description)
        show_receivers(meter, self.receivers)

    def _after_fork(self) -> None:
        for active in (*self.runs.values(), *self.nodes.values()):
            active.reset()
        self.edges.reset()
        self.waiting.reset()
        self.receivers.reset()

    def _runs(self, _: CallbackOptions) -> Iterator[Observation]:
        for do in self.before:  # the SDK asks gauges first
            do()
        return _observed(list(self.runs.values()))

    def _nodes(self, _: CallbackOptions) -> Iterator[Observation]:
        return _observed(list(self.nodes.values()))

    def _interrupts(self, _: CallbackOptions) -> Iterator[Observation]:
        waiting = self.waiting.by_graph()
        for graph in list(self.waiting.graphs):
            yield Observation(waiting.get(graph, (0, 0.0))[0], _named(graph))

    def _ages(self, _: CallbackOptions) -> Iterator[Observation]:
        waiting = self.waiting.by_graph()
        for graph in list(self.waiting.graphs):
            yield Observation(waiting.get(graph, (0, 0.0))[1], _named(graph))


def _observed(active: list[Active]) -> Iterator[Observation]:
    return (Observation(one.now(), one.attributes) for one in active)


def _named(graph: str) -> Attributes:
    return {semconv.GRAPH_NAME: graph}
