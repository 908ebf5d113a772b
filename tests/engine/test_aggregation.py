"""Aggregated updates of a real run are what its graph's own rules make of them."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from engine import END, START, Overwrite, StateGraph, StreamWriter, add_messages
from engine.channels import BinaryOperatorAggregate, LastValue, Topic
from otel_stream import Aggregate, StreamConfig
from tests.engine.samples import compiled, read_into


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    messages: Annotated[list[Any], add_messages]
    count: int


def counting() -> Any:
    """Three rounds of one node that writes to every kind of key."""

    def count(state: State, writer: StreamWriter) -> Any:
        n = state.get("count", 0)
        for part in range(4):
            writer((n, part))
        message = {"role": "user", "id": "same" if n else "first", "content": f"{n}"}
        return {"log": [f"{n}"], "messages": [message], "count": n + 1}

    graph = StateGraph(State)
    graph.add_node("count", count)
    graph.add_edge(START, "count")
    graph.add_conditional_edges("count", lambda state: END if state["count"] == 3 else "count")
    return graph.compile(name="g")


async def streamed(graph: Any, **settings: Any) -> list[Any]:
    async with graph.open_stream({"log": []}, StreamConfig(**settings)) as stream:
        return [part async for part in stream]


async def test_updates_are_merged_with_the_graphs_own_reducers() -> None:
    (part,) = await streamed(counting(), modes="updates", aggregate=Aggregate(60.0))
    update = part.data["count"]
    assert (update["log"], update["count"]) == (["0", "1", "2"], 3)
    assert [(message.id, message.content) for message in update["messages"]] == [
        ("first", "0"),
        ("same", "2"),
    ]
    assert (part.node, part.step, part.aggregate.count) == ("count", 3, 3)


async def test_a_window_of_a_superstep_holds_what_its_nodes_wrote() -> None:
    parts = await streamed(counting(), modes="custom", aggregate=Aggregate("superstep"))
    assert [(part.step, part.data) for part in parts] == [
        (n + 1, [(n, part) for part in range(4)]) for n in range(3)
    ]


async def test_the_error_of_the_run_comes_after_what_was_aggregated() -> None:
    def fail(state: State, writer: StreamWriter) -> Any:
        writer("last words")
        raise ZeroDivisionError("mine")

    config = StreamConfig(modes="custom", aggregate=Aggregate(9), include_end=True)
    got: list[Any] = []
    async with compiled(fail=fail).open_stream({"log": []}, config) as stream:
        with pytest.raises(ZeroDivisionError, match="mine"):
            await read_into(got, stream.receivers[0])
    assert [(part.type, part.weight) for part in got] == [("custom", 1), ("end", 1)]


@pytest.mark.parametrize(
    ("channel", "old", "new", "merged"),
    [
        (LastValue(int), 1, 2, 2),
        (Topic(int), 1, 2, [1, 2]),
        (Topic(int), [1], [2, 3], [1, 2, 3]),
        (BinaryOperatorAggregate(int, operator.add), 1, 2, 3),
        (BinaryOperatorAggregate(int, operator.add), 1, Overwrite(5), Overwrite(5)),
        (BinaryOperatorAggregate(int, operator.add), Overwrite(5), 2, Overwrite(7)),
        (BinaryOperatorAggregate(dict, operator.or_), {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ],
)
def test_two_writes_become_the_one_that_does_the_same(channel: Any, old: Any, new: Any, merged: Any) -> None:
    assert channel.merge(old, new) == merged
