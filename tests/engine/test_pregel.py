"""Graphs made by hand of nodes that subscribe to channels."""

import operator
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from engine import (
    START,
    BinaryOperatorAggregate,
    ChannelWriteEntry,
    EphemeralValue,
    InMemorySaver,
    LastValue,
    NodeBuilder,
    Pregel,
    StateGraph,
    Topic,
    interrupt,
)
from engine.types import Command
from otel_stream.config import StreamConfig
from tests.engine.samples import drained, thread


def chained() -> Pregel:
    """One node after another: what one writes triggers the next."""
    return Pregel(
        nodes={
            "add": NodeBuilder().subscribe_only("a").do(lambda a: a + 1).write_to("b"),
            "double": NodeBuilder()
            .subscribe_to("b")
            .read_from("a")
            .do(lambda x: x["a"] * x["b"])
            .write_to("c"),
        },
        channels={"a": LastValue(int), "b": LastValue(int), "c": LastValue(int)},
        input_channels="a",
        output_channels="c",
        checkpointer=InMemorySaver(),
        name="chained",
    )


def test_a_node_runs_in_the_superstep_after_its_channel_was_written() -> None:
    graph = chained()
    assert graph.invoke(2, thread()) == 6
    assert list(graph.stream(3, thread())) == [
        {"a": 3, "b": 4, "c": 6},
        {"a": 3, "b": 4, "c": 12},
    ]
    assert list(graph.stream(3, thread(), stream_mode="updates")) == [
        {"add": {"b": 4}},
        {"double": {"c": 12}},
    ]
    assert graph.get_state(thread()).values == {"a": 3, "b": 4, "c": 12}


async def test_it_is_streamed_and_told_of_as_any_graph() -> None:
    async with chained().open_stream(2, StreamConfig(modes=("updates", "tasks")), config=thread()) as stream:
        parts = await drained(stream)
    assert stream.result == 6
    assert [(part.type, part.data.get("name") or [*part.data]) for part in parts] == [
        ("tasks", "add"),
        ("updates", ["add"]),
        ("tasks", "add"),
        ("tasks", "double"),
        ("updates", ["double"]),
        ("tasks", "double"),
    ]


def test_what_goes_on_until_nothing_is_written_answers_with_what_was_written_last() -> None:
    grow = (
        NodeBuilder()
        .subscribe_only("text")
        .do(lambda text: text * 2 if len(text) < 10 else None)
        .write_to(ChannelWriteEntry("text", skip_none=True))
    )
    graph = Pregel(
        nodes={"grow": grow},
        channels={"text": EphemeralValue(str)},
        input_channels=["text"],
        output_channels=["text"],
    )
    assert graph.invoke({"text": "a"}) == {"text": "a" * 16}


def test_a_channel_that_nobody_has_written_triggers_nothing() -> None:
    graph = Pregel(
        nodes={
            "n": NodeBuilder().subscribe_only("a").do(lambda a: a).write_to("b"),
            "sum": NodeBuilder().subscribe_only("total").write_to("b"),
        },
        channels={
            "a": LastValue(int),
            "b": LastValue(int),
            "total": BinaryOperatorAggregate(int, operator.add),
        },
        input_channels="a",
        output_channels="b",
        checkpointer=InMemorySaver(),
    )
    assert graph.invoke(1, thread()) == 1
    assert graph.get_state(thread()).next == ()
    assert list(graph.stream(None, thread(), stream_mode="tasks")) == []


async def test_steps_of_a_node_are_called_in_turn_sync_or_async() -> None:
    async def slowly(x: int) -> int:
        return x + 1

    def configured(x: int, config: Any) -> list[Any]:
        return [x, config["configurable"]["thread_id"]]

    node = NodeBuilder().subscribe_only("a").do(lambda a: a * 10).do(slowly).do(configured).write_to("b")
    graph = Pregel(
        nodes={"n": node},
        channels={"a": LastValue(int), "b": Topic(Any)},
        input_channels="a",
        output_channels="b",
    )
    assert await graph.ainvoke(2, thread()) == [21, "1"]
    with pytest.raises(TypeError, match="async"):
        graph.invoke(2, thread())


def test_a_question_of_a_node_is_answered_like_that_of_any_other() -> None:
    graph = Pregel(
        nodes={"ask": NodeBuilder().subscribe_only("a").do(lambda a: [a, interrupt("sure?")]).write_to("b")},
        channels={"a": LastValue(Any), "b": LastValue(Any)},
        input_channels="a",
        output_channels="b",
        checkpointer=InMemorySaver(),
    )
    asked = graph.invoke(1, thread())
    assert [one.value for one in asked["__interrupt__"]] == ["sure?"]
    assert graph.invoke(Command(resume="yes"), thread()) == [1, "yes"]


def test_it_is_a_node_of_another_graph_and_what_a_state_graph_compiles_to_is_one() -> None:
    inner = Pregel(
        nodes={"n": NodeBuilder().subscribe_to("x").do(lambda s: s["x"] + 1).write_to("x2")},
        channels={"x": LastValue(int), "x2": LastValue(int)},
        input_channels=["x"],
        output_channels=["x2"],
    )
    outer = StateGraph(dict).add_node("inner", inner).add_edge(START, "inner").compile()
    assert outer.invoke({"x": 1}) == {"x2": 2}
    assert isinstance(outer, Pregel)
    assert next(outer.stream({"x": 1}, subgraphs=True))[1] == {"n": {"x2": 2}}


def test_it_is_drawn_as_its_channels_connect_it() -> None:
    edges = chained().get_graph().edges
    assert [(edge.source, edge.target) for edge in edges] == [
        ("__start__", "add"),
        ("add", "double"),
        ("double", "__end__"),
    ]


def a() -> NodeBuilder:
    return NodeBuilder().subscribe_only("a").write_to("b")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": {"n": a().do(len)}, "channels": {"b": LastValue(int)}}, "node 'n' reads channel 'a'"),
        ({"output_channels": "z"}, "'z' is named for input, output or streams"),
        ({"input_channels": "b"}, "no node subscribes to an input channel"),
        ({"nodes": {"n": len}}, "node 'n': expected a NodeBuilder, got builtin"),
        ({"channels": {"a": int, "b": LastValue(int)}}, "channel 'a': <class 'int'> is none"),
        ({"interrupt_before_nodes": ["m"]}, "Interrupt node `m` not found"),
        ({"stream_mode": "all"}, "all"),
        ({"no_such": 1}, "no_such"),
        ({"checkpointer": 5}, "checkpointer"),
    ],
)
def test_what_does_not_fit_together_is_refused_when_it_is_made(changes: dict[str, Any], said: str) -> None:
    fitting: dict[str, Any] = {
        "nodes": {"n": a()},
        "channels": {"a": LastValue(int), "b": LastValue(int)},
        "input_channels": "a",
        "output_channels": "b",
    }
    assert Pregel(**fitting).invoke(1) == 1
    with pytest.raises((ValueError, TypeError), match=said):
        Pregel(**(fitting | changes))


def test_a_node_is_given_the_value_of_one_channel_or_a_mapping_and_not_both() -> None:
    with pytest.raises(ValueError, match="use subscribe_to instead of subscribe_only"):
        a().read_from("c")
    with pytest.raises(ValueError, match="use subscribe_to for all of them"):
        NodeBuilder().subscribe_to("b").subscribe_only("a")


def test_an_input_of_several_channels_is_a_mapping(caplog: pytest.LogCaptureFixture) -> None:
    graph = Pregel(
        nodes={"n": a()},
        channels={"a": LastValue(int), "b": LastValue(int)},
        input_channels=["a"],
        output_channels=["b"],
    )
    assert graph.invoke({"a": 1, "q": 2}) == {"b": 1}
    assert "'q' is ignored" in caplog.text
    with pytest.raises(TypeError, match="Expected input to be a mapping of a, got int"):
        graph.invoke(1)


@pytest.mark.parametrize("kind", [Mock, MagicMock])
def test_a_mock_is_a_function_though_it_answers_to_any_name(kind: Any) -> None:
    called = kind(side_effect=lambda state: {"x": state["x"] + 1})
    graph = StateGraph(dict).add_node("n", called).add_edge(START, "n").compile()
    assert graph.invoke({"x": 1}) == {"x": 2}
    called.assert_called_once_with({"x": 1})


def test_a_channel_is_read_as_each_node_asks_for_it() -> None:
    given: dict[str, Any] = {}
    readers = {
        "value": NodeBuilder().subscribe_only("a").do(lambda x: given.update(value=x)),
        "mapping": NodeBuilder().subscribe_to("a").do(lambda x: given.update(mapping=x)),
    }
    channels = {"a": LastValue(int), "b": LastValue(int)}
    Pregel(nodes=readers, channels=channels, input_channels="a", output_channels="b").invoke(1)
    assert given == {"value": 1, "mapping": {"a": 1}}
