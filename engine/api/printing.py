"""``print_mode``: parts on standard output, for debugging, beside whatever else becomes of them."""

from __future__ import annotations

from typing import Any

from otel_stream.config import StreamConfig, parse_modes
from otel_stream.encoding import printable, shown
from otel_stream.events import Event
from otel_stream.parts import StreamPart, v1_payload
from otel_stream.stream.sink import Forwarder

from ..core.task import NodeTask
from ..executors import Executor
from ..graph.spec import GraphSpec
from ..run.loop import RunLoop
from ..types import Config
from .launch import launch
from .options import Asked
from .run_stream import audience, relay_outwards


class Printer(Forwarder):
    """Prints each part where it comes into being, and holds none."""

    def __init__(self, modes: Any, subgraphs: bool = False) -> None:
        super().__init__(StreamConfig(modes=parse_modes(modes), subgraphs=subgraphs, name="print"))

    def forward(self, part: StreamPart, event: Event | None) -> None:
        """Print ``part``."""
        where = f"\x1b[1;30;33m[graph={printable(shown(part.ns))}]\x1b[0m " if part.ns else ""
        text = printable(shown(v1_payload(part)))
        print(f"\x1b[1m[{printable(part.type)}]\x1b[0m {where}{text}")  # noqa: T201


def printers(asked: Asked, subgraphs: bool) -> tuple[Printer, ...]:
    """Return who prints what a run was asked to print: one, or nobody."""
    return (Printer(asked.printed, subgraphs),) if asked.printed else ()


def launch_printing(
    graph: GraphSpec,
    input: Any,
    config: Config | None,
    asked: Asked,
    executor: Executor,
    caller: NodeTask | None,
) -> RunLoop:
    """Make the loop of a run whose parts are printed; in a node they are shown to the run around it, too."""
    relay = relay_outwards(caller)
    heard = audience((*printers(asked, False), *(() if relay is None else (relay,))))
    loop = launch(graph, input, config, asked, executor, heard, caller=caller, detached=caller is not None)
    if relay is not None:
        relay.place(loop)
    return loop
