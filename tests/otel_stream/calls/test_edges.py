"""Which edges were taken, of graphs of either engine."""

from typing import Any

from langgraph.types import Command, Send

import engine
from tests.otel_stream.calls.conftest import State


def test_every_edge_that_is_taken_is_counted(watch: Any, graphs: Any) -> None:
    seen = watch()
    ours = graphs is engine
    send, command = (engine.Send, engine.Command) if ours else (Send, Command)
    made: Any = graphs.StateGraph(State).add_node("plan", lambda state: {"said": "x"})
    made.add_node("item", lambda state: None).add_node("join", lambda state: command(goto="end"))
    made.add_node("end", lambda state: None).add_edge(graphs.START, "plan").add_edge("item", "join")
    made.add_conditional_edges("plan", lambda state: [send("item", {}) for _ in range(3)], ["item"])
    graph = made.compile(name="triage")
    for _ in range(2):
        graph.invoke({"said": ""})
    told = seen()
    edges = told.sums("graph.edge.count", "graph.name", "graph.edge.from", "graph.edge.to")
    assert edges == {
        ("triage", "plan", "item"): 6,
        ("triage", "item", "join"): 2,
        ("triage", "join", "end"): 2,
    }
    assert told.violations() == []
