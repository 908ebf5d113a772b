"""Whatever the text of a name, the run works."""

import os

import pytest

from engine import START, Command, InMemorySaver, StateGraph, interrupt

ODD = [os.fsdecode(b"caf\xe9.pdf"), "\ud800", "a\nb", "\x1b[2J", "\u202e", "x" * 10_000, "😀", "'\"{}"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_node_of_any_name_runs_waits_and_goes_on(name):
    asked = []

    def node(state):
        asked.append(interrupt({"question": name}))
        return {name: "done"}

    graph = StateGraph(dict).add_node(name, node).add_edge(START, name)
    compiled = graph.compile(checkpointer=InMemorySaver(), name=name)
    config = {"configurable": {"thread_id": name}, "tags": [name]}
    modes = ["values", "updates", "tasks", "debug", "checkpoints"]
    parts = list(compiled.stream({"x": 1}, config, stream_mode=modes))
    assert any(mode == "tasks" and data["name"] == name for mode, data in parts)
    assert compiled.invoke(Command(resume="yes"), config)[name] == "done"
    assert asked == ["yes"]
