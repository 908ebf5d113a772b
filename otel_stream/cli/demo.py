"""``otel-stream demo``: the audit, as a program that can be run and shown."""

from __future__ import annotations

import importlib

from otel_stream.cli.options import DemoOptions, UsageError
from otel_stream.cli.running import Program


def load(options: DemoOptions) -> Program:
    """Build the graph and its input.

    Raises:
        UsageError: there is nothing to audit.
    """
    # By name, at run time: the graph is written against the engine, and otel_stream never imports it.
    # The program alone brings both together, as any program of a user does.
    chaos, graph, sources = (
        importlib.import_module(f"engine.demo.{name}") for name in ("chaos", "graph", "sources")
    )
    try:
        target = sources.target(options.path)
        sources.select(target.root, target.paths, options.limit)
    except sources.NothingToAudit as error:
        raise UsageError(str(error)) from None
    return Program(
        "otel-stream-demo",
        graph.build(chaos=chaos.Chaos(options.chaos, options.seed)),
        graph.request(target, limit=options.limit, budget=options.budget),
        graph.config(options.budget),
    )
