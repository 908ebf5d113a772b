"""The audit as a graph.

::

    discover ─► audit_file ─► rank ─┬─► report
                once per file:      │     ▲
                parse ─► measure    └─► deepen ─┐
                      ─► judge            ▲─────┘ until the budget is spent
"""

from __future__ import annotations

import os
from typing import Any

from ..api.builder import StateGraph

# Outside of this package one line does: from engine import END, START, InMemorySaver, RetryPolicy, StateGraph
from ..checkpoint import InMemorySaver
from ..policies import RetryPolicy
from ..types import END, START
from .chaos import Chaos, ChaosError
from .model import author
from .nodes import AuditNodes, FileNodes
from .sources import Target
from .state import Audit, AuditInput, FileAudit, FileOutcome
from .writer import Author

#: Files under work at once; more would only wait for each other, since analysis is work for a CPU.
CONCURRENCY = 8
#: Supersteps that are no ``deepen``, and some to spare.
_STEPS = 10


def build(*, chaos: Chaos | None = None, writer: Author | None = None) -> Any:
    """Compile the audit. ``writer`` defaults to a model if the environment names one."""
    chaos = chaos or Chaos()
    nodes = AuditNodes(chaos, writer or author(os.environ))
    retry = _retry(chaos)
    graph: StateGraph[Audit, None, AuditInput, Audit] = StateGraph(Audit, input_schema=AuditInput)
    graph.add_node("discover", nodes.discover, retry_policy=retry)
    graph.add_node("audit_file", build_file_audit(chaos))
    graph.add_node("rank", nodes.rank, retry_policy=retry)
    graph.add_node("deepen", nodes.deepen, retry_policy=retry)
    graph.add_node("report", nodes.report, retry_policy=retry)
    graph.add_edge(START, "discover")
    graph.add_conditional_edges("discover", nodes.each_file, ["audit_file"], quick=True)
    graph.add_edge("audit_file", "rank")
    graph.add_conditional_edges("rank", nodes.more, ["deepen", "report"], quick=True)
    graph.add_conditional_edges("deepen", nodes.more, ["deepen", "report"], quick=True)
    graph.add_edge("report", END)
    return graph.compile(checkpointer=InMemorySaver(), name="audit")


def build_file_audit(chaos: Chaos) -> Any:
    """Compile the subgraph that audits one file."""
    nodes = FileNodes(chaos)
    retry = _retry(chaos)
    graph: StateGraph[FileAudit, None, FileAudit, FileOutcome] = StateGraph(
        FileAudit, output_schema=FileOutcome
    )
    graph.add_node("parse", nodes.parse, retry_policy=retry)
    graph.add_node("measure", nodes.measure, retry_policy=retry)
    graph.add_node("judge", nodes.judge, retry_policy=retry)
    graph.add_edge(START, "parse")
    graph.add_conditional_edges("parse", nodes.readable, {"measure": "measure", "done": END})
    graph.add_edge("measure", "judge")
    graph.add_edge("judge", END)
    return graph.compile(name="audit_file")


def request(target: Target, *, limit: int, budget: int) -> AuditInput:
    """Return the input of the graph."""
    return AuditInput(root=target.root, paths=list(target.paths), limit=limit, budget=budget)


def config(budget: int, thread: str = "audit") -> dict[str, Any]:
    """Return the config to run it with."""
    return {
        "configurable": {"thread_id": thread},
        "max_concurrency": CONCURRENCY,
        "recursion_limit": budget + _STEPS,
    }


def _retry(chaos: Chaos) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=0.01,
        max_interval=0.05,
        jitter=False,
        max_attempts=chaos.attempts,
        retry_on=ChaosError,
    )
