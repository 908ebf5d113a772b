"""``print_mode``: parts on standard output, for debugging, beside whatever else becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stream.config import StreamConfig, parse_modes
from otel_stream.events import Event
from otel_stream.parts import StreamPart, v1_payload
from otel_stream.stream.sink import Forwarder

from ..executors import Executor
from ..run.loop import RunLoop
from ..types import Config
from .launch import Options, caller_of, launch
from .run_stream import audience, relay_outwards

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph


class Printer(Forwarder):
    """Prints each part where it comes into being, and holds none."""

    def __init__(self, modes: Any, subgraphs: bool = False) -> None:
        super().__init__(StreamConfig(modes=parse_modes(modes), subgraphs=subgraphs, name="print"))

    def forward(self, part: StreamPart, event: Event | None) -> None:
        """Print ``part``."""
        where = f"\x1b[1;30;33m[graph={part.ns}]\x1b[0m " if part.ns else ""
        print(f"\x1b[1m[{part.type}]\x1b[0m {where}{v1_payload(part)!r}")  # noqa: T201


def printers(options: Options, subgraphs: bool) -> tuple[Printer, ...]:
    """Return who prints what a run was asked to print: one, or nobody."""
    return (Printer(options.printed, subgraphs),) if options.printed else ()


def launch_printing(
    graph: CompiledStateGraph, input: Any, config: Config | None, options: Options, executor: Executor
) -> RunLoop:
    """Make the loop of a run whose parts are printed; in a node they are shown to the run around it, too."""
    caller = caller_of(graph, config)
    relay = relay_outwards(caller)
    heard = audience((*printers(options, False), *(() if relay is None else (relay,))))
    loop = launch(graph, input, config, options, executor, heard, detached=caller is not None)
    if relay is not None:
        relay.place(loop)
    return loop
