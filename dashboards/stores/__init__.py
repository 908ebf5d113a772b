"""What the dashboards ask of the stores of traces and log events, whichever pair of them there is.

Metrics are Prometheus' in either case. What a store cannot answer, its panel says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from dashboards.panels import HALF, HEIGHT, Panel
from dashboards.stores.collector import Way

Kind = Literal["task", "run"]


class Find(NamedTuple):
    """Which runs are looked for, and which attributes of them are shown where a store can."""

    failed: bool = False
    #: At least the duration that is typed in.
    slow: bool = False
    #: How they ended; "" is anyhow.
    end: str = ""
    #: Those that went on from the trace that is typed in.
    resumed: bool = False
    #: Those of the conversation that is typed in.
    of_conversation: bool = False
    #: Those whose calls of models cost something.
    priced: bool = False
    shown: tuple[str, ...] = ()


class Stores(Protocol):
    """A store of traces, and one of log events."""

    #: What folders and tags are called.
    name: str
    #: What people call the store of traces, and that of log events.
    titles: tuple[str, str]
    #: The command that starts them with the Collector in front of them.
    start: str
    #: How the Collector reaches them.
    way: Way
    #: Grafana's types of data source, by the variable that chooses one.
    sources: Mapping[str, str]

    def variables(self) -> Sequence[Any]:
        """Return the variables that questions about traces need beyond those of the dashboard."""
        ...

    # -- traces -----------------------------------------------------------------------------------------

    def runs(self, title: str, description: str, find: Find, *, sorted_by: str = "") -> Panel:
        """List runs; each leads to the run explorer."""

    def tasks(
        self, title: str, description: str, *shown: str, failed: bool = False, sorted_by: str = ""
    ) -> Panel:
        """List the newest tasks of the chosen nodes; each leads to its run."""

    def task_durations(self, title: str, description: str) -> Panel:
        """Draw the 95th percentile of tasks' durations, measured on traces."""

    def trace(self, title: str, description: str) -> Panel:
        """Show the trace that is typed in."""

    def graph(self, title: str, description: str) -> Panel:
        """Show the spans of that trace as a graph."""

    def spans(self, title: str, description: str, kind: Kind, *shown: str, height: int = HEIGHT) -> Panel:
        """List those spans of that trace that are a task, or a run."""

    # -- log events -------------------------------------------------------------------------------------

    def counted(
        self, title: str, description: str, event: str, *by: str, span: int = HALF, height: int = HEIGHT
    ) -> Panel:
        """Draw the number of log events of this name, or of any name, by attributes."""

    def weighed(self, title: str, description: str, by: str) -> Panel:
        """Draw the bytes per second of log events that have this attribute, by it."""

    def events(self, title: str, description: str, *names: str) -> Panel:
        """List the log events of the trace that is typed in: of these names, or all."""
