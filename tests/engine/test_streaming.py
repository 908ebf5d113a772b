"""Streams of runs: what each mode shows, to whom, and in which shape."""

import contextlib
from typing import Any

import anyio
import pytest

from engine import (
    Command,
    InMemorySaver,
    StreamWriter,
    interrupt,
)
from otel_stream import events as e
from otel_stream.config import MODES, Custom, StreamConfig
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from tests.engine.samples import brief, compiled, drained, nested, parts_of, thread, two_steps

# -- each mode -------------------------------------------------------------------------------------


async def test_values_show_the_whole_state_after_the_input_and_each_superstep() -> None:
    assert brief(await parts_of(two_steps(), "values")) == [
        ("values", {"log": []}),
        ("values", {"log": ["a"], "x": 1}),
        ("values", {"log": ["a", "b"], "x": 1}),
    ]


async def test_updates_show_what_each_node_returned() -> None:
    assert brief(await parts_of(two_steps(), "updates")) == [
        ("updates", {"a": {"log": ["a"], "x": 1}}),
        ("updates", {"b": {"log": ["b"]}}),
    ]


async def test_custom_shows_what_a_node_wrote() -> None:
    assert brief(await parts_of(two_steps(), "custom")) == [("custom", {"half": "way"})]


async def test_messages_show_the_chunk_and_where_it_comes_from() -> None:
    (part,) = await parts_of(two_steps(), "messages", config={"tags": ["t"], "metadata": {"k": "v"}})
    chunk, metadata = part.data
    assert (part.type, chunk) == ("messages", {"id": "m", "content": "hello"})
    assert metadata == {
        "k": "v",
        "tags": ["t"],
        "langgraph_step": 1,
        "langgraph_node": "a",
        "langgraph_triggers": ("branch:to:a",),
        "langgraph_path": ("__pregel_pull", "a"),
        "langgraph_checkpoint_ns": f"a:{part.task_id}",
        "checkpoint_ns": f"a:{part.task_id}",
    }


async def test_tasks_show_the_start_and_the_result_of_each_task() -> None:
    parts = await parts_of(two_steps(), "tasks")
    ids = [part.data["id"] for part in parts]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert [part.data for part in parts] == [
        {"id": ids[0], "name": "a", "input": {"log": []}, "triggers": ("branch:to:a",)},
        {"id": ids[0], "name": "a", "error": None, "result": {"log": ["a"], "x": 1}, "interrupts": []},
        {"id": ids[2], "name": "b", "input": {"log": ["a"], "x": 1}, "triggers": ("branch:to:b",)},
        {"id": ids[2], "name": "b", "error": None, "result": {"log": ["b"]}, "interrupts": []},
    ]


async def test_checkpoints_show_what_was_saved_and_what_comes_next() -> None:
    parts = await parts_of(two_steps(InMemorySaver()), "checkpoints", config=thread())
    assert [
        (p.data["metadata"]["source"], p.data["metadata"]["step"], p.data["next"], p.data["values"])
        for p in parts
    ] == [
        ("input", -1, ["__start__"], {"log": []}),
        ("loop", 0, ["a"], {"log": []}),
        ("loop", 1, ["b"], {"log": ["a"], "x": 1}),
        ("loop", 2, [], {"log": ["a", "b"], "x": 1}),
    ]
    saved = [part.data["config"] for part in parts]
    assert [part.data["parent_config"] for part in parts] == [None, *saved[:-1]]
    assert [[task["name"] for task in part.data["tasks"]] for part in parts] == [
        ["__start__"],
        ["a"],
        ["b"],
        [],
    ]


async def test_without_a_checkpointer_there_are_no_checkpoints_to_show() -> None:
    assert await parts_of(two_steps(), "checkpoints") == []


async def test_debug_shows_checkpoints_and_tasks_with_their_step_and_time() -> None:
    parts = await parts_of(two_steps(InMemorySaver()), ["tasks", "checkpoints", "debug"], config=thread())
    names = {"checkpoints": ("checkpoint",), "tasks": ("task", "task_result")}
    for mode, kinds in names.items():
        plain = [part.data for part in parts if part.type == mode]
        wrapped = [part.data for part in parts if part.type == "debug" and part.data["type"] in kinds]
        assert [data["payload"] for data in wrapped] == plain
        assert all(data.keys() == {"step", "timestamp", "type", "payload"} for data in wrapped)
    assert [part.data["step"] for part in parts if part.type == "debug"] == [-1, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.clause("S-FIL-3")
async def test_a_mode_of_ones_own_shows_what_its_function_makes_of_an_event() -> None:
    mode = Custom(lambda event: event.task.node, "started", events=(e.TaskStarted,))
    assert brief(await parts_of(two_steps(), mode)) == [("started", "a"), ("started", "b")]
    choosy = Custom(lambda event: event.end.value if isinstance(event, e.RunEnded) else None, "ends")
    assert brief(await parts_of(two_steps(), choosy)) == [("ends", "ok")]


# -- several modes, several receivers --------------------------------------------------------------


async def test_several_modes_at_once_are_each_mode_alone_interleaved() -> None:
    saver = InMemorySaver()

    async def of(modes: Any, name: str) -> list[StreamPart]:
        return await parts_of(two_steps(saver), modes, config={"configurable": {"thread_id": name}})

    def comparable(parts: list[StreamPart]) -> list[Any]:
        return [
            (p.type, p.node, p.step, p.data if p.type in ("values", "updates", "custom") else None)
            for p in parts
        ]

    together = await of(list(MODES), "all")
    for mode in MODES:
        alone = await of(mode, mode)
        assert comparable([part for part in together if part.type == mode]) == comparable(alone)
        assert (alone == []) is (mode == "tools")  # it calls none


@pytest.mark.clause("S-ORD-1", "S-ORD-2", "S-ORD-3")
async def test_the_parts_of_a_superstep_come_in_langgraphs_order() -> None:
    parts = await parts_of(two_steps(InMemorySaver()), list(MODES), config=thread())
    shown = [(p.type, p.node) for p in parts if p.type != "debug"]
    assert shown == [
        ("checkpoints", None),
        ("values", None),
        ("checkpoints", None),
        ("tasks", "a"),
        ("custom", "a"),
        ("messages", "a"),
        ("updates", "a"),
        ("tasks", "a"),
        ("values", None),
        ("checkpoints", None),
        ("tasks", "b"),
        ("updates", "b"),
        ("tasks", "b"),
        ("values", None),
        ("checkpoints", None),
    ]
    assert [part.seq for part in parts] == list(range(len(parts)))


async def test_several_receivers_of_one_run_get_what_each_asked_for() -> None:
    configs = [StreamConfig(modes=mode) for mode in ("values", "updates", "custom")]
    configs.append(StreamConfig(modes=("values", "updates", "custom"), include_metadata=False))
    got: dict[int, list[StreamPart]] = {}

    async def read(index: int, receiver: StreamReceiver) -> None:
        got[index] = await drained(receiver)

    async with (
        two_steps().open_stream({"log": []}, *configs) as stream,
        anyio.create_task_group() as group,
    ):
        for index, receiver in enumerate(stream.receivers):
            group.start_soon(read, index, receiver)
    assert stream.result == {"log": ["a", "b"], "x": 1}
    for index, mode in enumerate(("values", "updates", "custom")):
        assert brief(got[index]) == [pair for pair in brief(got[3]) if pair[0] == mode]
    numbers = sorted(part.seq for index in range(3) for part in got[index] if part.seq is not None)
    assert numbers == list(range(len(got[3])))
    assert {(part.seq, part.run_id, part.node) for part in got[3]} == {(None, None, None)}


async def test_a_part_says_where_it_comes_from() -> None:
    (part,) = await parts_of(two_steps(), "custom", config={"tags": ["t"], "run_id": "run-7"})
    assert (part.run_id, part.graph, part.step, part.node, part.attempt, part.tags, part.ns) == (
        "run-7",
        "g",
        1,
        "a",
        1,
        ("t",),
        (),
    )
    assert part.time_unix_nano is not None
    assert (part.trace_id, part.span_id) == (None, None)  # nobody traces


@pytest.mark.clause("S-FIL-1")
async def test_a_filter_and_a_sampler_decide_for_their_receiver_alone() -> None:
    choosy = StreamConfig(modes="updates", filter=lambda part: part.node == "b")
    plain = StreamConfig(modes="updates")
    async with two_steps().open_stream({"log": []}, choosy, plain) as stream:
        await stream.wait()
        one, other = [await drained(receiver) for receiver in stream.receivers]
        shown = stream.receivers[0].statistics()
    assert [part.node for part in one] == ["b"]
    assert [part.node for part in other] == ["a", "b"]
    assert (shown.offered, shown.delivered, shown.filtered) == (2, 1, 1)


# -- subgraphs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["custom", "updates", "values", "tasks", "messages"])
async def test_parts_of_subgraphs_are_told_apart_by_their_path(mode: str) -> None:
    parts = await parts_of(nested(), mode, subgraphs=True)
    graphs = {len(part.ns): part.graph for part in parts}
    for part in parts:
        assert [level.partition(":")[0] for level in part.ns] == ["outer", "m"][: len(part.ns)]
    expected = {2: "inner"} if mode in ("custom", "messages") else {0: "g", 1: "middle", 2: "inner"}
    assert graphs == expected


@pytest.mark.parametrize("mode", MODES)
async def test_without_subgraphs_there_are_no_parts_of_them(mode: str) -> None:
    parts = await parts_of(nested(), mode)
    assert {part.ns for part in parts} <= {()}


@pytest.mark.clause("S-ORD-2")
async def test_the_parts_of_a_subgraph_come_before_its_nodes_update() -> None:
    parts = await parts_of(nested(), ["updates", "custom"], subgraphs=True)
    assert [(len(part.ns), part.type, part.node) for part in parts] == [
        (2, "custom", "i"),
        (2, "updates", "i"),
        (1, "updates", "m"),
        (0, "updates", "outer"),
    ]


async def test_the_namespace_names_the_tasks_it_runs_in() -> None:
    parts = await parts_of(nested(), ["tasks"], subgraphs=True)
    ids = {part.data["name"]: part.data["id"] for part in parts}
    deepest = next(part for part in parts if part.data["name"] == "i")
    assert deepest.ns == (f"outer:{ids['outer']}", f"m:{ids['m']}")


async def test_who_wants_subgraphs_does_not_change_what_others_get() -> None:
    configs = StreamConfig(modes="updates", subgraphs=True), StreamConfig(modes="updates")
    async with nested().open_stream({"log": []}, *configs) as stream:
        await stream.wait()
        deep, flat = [await drained(receiver) for receiver in stream.receivers]
    assert [part.node for part in deep] == ["i", "m", "outer"]
    assert [part.node for part in flat] == ["outer"]


# -- graphs that a node streams itself ---------------------------------------------------------------


async def _by_astream(inner: Any, seen: list[Any]) -> None:
    seen.extend([part async for part in inner.astream({"log": []}, stream_mode=["updates", "custom"])])


async def _by_open_stream(inner: Any, seen: list[Any]) -> None:
    async with inner.open_stream({"log": []}, StreamConfig(modes=["updates", "custom"])) as stream:
        seen.extend([(part.type, part.data) async for part in stream])


@pytest.mark.clause("S-DEL-1")
@pytest.mark.parametrize("way", [_by_astream, _by_open_stream])
async def test_what_a_node_streams_itself_is_shown_outside_as_a_subgraph(way: Any) -> None:
    seen: list[Any] = []

    async def node(state: Any) -> dict[str, Any]:
        await way(nested(), seen)
        return {"log": ["node"]}

    config = StreamConfig(modes=["updates", "custom"], subgraphs=True)
    flat = StreamConfig(modes=["updates", "custom"])
    async with compiled(node=node).open_stream({"log": []}, config, flat) as stream:
        parts, outside = await drained(stream.receivers[0]), await drained(stream.receivers[1])
    told = [([level.partition(":")[0] for level in part.ns], part.type, part.node) for part in parts]
    assert told == [
        (["node", "outer", "m"], "custom", "i"),
        (["node", "outer", "m"], "updates", "i"),
        (["node", "outer"], "updates", "m"),
        (["node"], "updates", "outer"),
        ([], "updates", "node"),
    ]
    assert seen == [(parts[3].type, parts[3].data)]  # whoever streams it did not ask for subgraphs
    assert [part.node for part in outside] == ["node"]
    numbers = [part.seq for part in parts if part.seq is not None]
    assert numbers == sorted(set(numbers))
    assert {part.run_id for part in parts} == {stream.run_id}


def test_what_a_sync_node_streams_itself_is_shown_outside_too() -> None:
    def node(state: Any) -> None:
        assert list(two_steps().stream({"log": []}, stream_mode="values"))[-1] == {"log": ["a", "b"], "x": 1}

    parts = compiled(node=node).stream({"log": []}, stream_mode=["updates", "custom"], subgraphs=True)
    assert [([level.partition(":")[0] for level in ns], mode) for ns, mode, _ in parts] == [
        (["node"], "custom"),
        (["node"], "updates"),
        (["node"], "updates"),
        ([], "updates"),
    ]


async def test_who_reads_outside_holds_up_what_a_node_streams_itself() -> None:
    """The inner consumer is quick; the outer one has room for two."""

    async def chatty(state: Any, writer: Any) -> None:
        for number in range(20):
            await writer.write(number)

    async def node(state: Any) -> None:
        async with compiled(a=chatty).open_stream({"log": []}, StreamConfig(modes="custom")) as stream:
            assert [part.data for part in await drained(stream.receivers[0])] == list(range(20))

    config = StreamConfig(modes="custom", subgraphs=True, buffer_size=2)
    async with compiled(node=node).open_stream({"log": []}, config) as stream:
        assert [part.data async for part in stream] == list(range(20))
        assert stream.receivers[0].statistics().high_water <= 2 + 1


# -- LangGraph's shapes ----------------------------------------------------------------------------

SHAPES: list[tuple[Any, bool, str, Any]] = [
    ("updates", False, "v1", {"a": {"log": ["a"], "x": 1}}),
    (None, False, "v1", {"a": {"log": ["a"], "x": 1}}),
    (["updates"], False, "v1", ("updates", {"a": {"log": ["a"], "x": 1}})),
    (("updates",), False, "v1", ("updates", {"a": {"log": ["a"], "x": 1}})),
    ("updates", True, "v1", ((), {"a": {"log": ["a"], "x": 1}})),
    (["updates"], True, "v1", ((), "updates", {"a": {"log": ["a"], "x": 1}})),
    *(
        (modes, subgraphs, "v2", {"type": "updates", "ns": (), "data": {"a": {"log": ["a"], "x": 1}}})
        for modes in ("updates", ["updates"])
        for subgraphs in (False, True)
    ),
]


@pytest.mark.parametrize(("modes", "subgraphs", "version", "first"), SHAPES)
async def test_what_is_yielded_has_langgraphs_shape(
    modes: Any, subgraphs: bool, version: str, first: Any
) -> None:
    asked: dict[str, Any] = {"stream_mode": modes, "subgraphs": subgraphs, "version": version}
    yielded = [item async for item in two_steps().astream({"log": []}, **asked)]
    assert yielded[0] == first
    assert len(yielded) == 2
    assert list(two_steps().stream({"log": []}, **asked)) == yielded


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_stream_and_astream_yield_the_same(subgraphs: bool, version: str) -> None:
    modes = ["values", "updates", "custom"]
    asked: dict[str, Any] = {"stream_mode": modes, "subgraphs": subgraphs, "version": version}

    def anonymous(item: Any) -> Any:
        ns, rest = (
            (item["ns"], {**item, "ns": None})
            if version == "v2"
            else (item[0] if subgraphs else (), item[-2:])
        )
        return [level.partition(":")[0] for level in ns], rest

    async_items = [anonymous(item) async for item in nested().astream({"log": []}, **asked)]
    assert [anonymous(item) for item in nested().stream({"log": []}, **asked)] == async_items
    assert any(ns for ns, _ in async_items) is subgraphs


async def test_v2_values_say_what_the_run_waits_for_beside_the_state() -> None:
    made = compiled(a=lambda state: {"x": interrupt("x?")}, checkpointer=InMemorySaver())
    shown = [part async for part in made.astream({"log": []}, thread(), stream_mode="values", version="v2")]
    assert [(part["data"], [i.value for i in part["interrupts"]]) for part in shown] == [
        ({"log": []}, []),
        ({"log": []}, ["x?"]),
    ]
    resumed = [part async for part in made.astream(Command(resume=5), thread(), stream_mode="values")]
    assert resumed == [{"log": []}, {"log": [], "x": 5}]


async def test_v1_values_and_updates_hold_the_interrupts_themselves() -> None:
    made = compiled(a=lambda state: {"x": interrupt("x?")}, checkpointer=InMemorySaver())
    shown = [item async for item in made.astream({"log": []}, thread(), stream_mode=["values", "updates"])]
    (waiting,) = shown[-1][1]["__interrupt__"]
    assert sorted(shown, key=lambda item: item[0]) == [
        ("updates", {"__interrupt__": (waiting,)}),
        ("values", {"log": []}),
        ("values", {"log": [], "__interrupt__": (waiting,)}),
    ]
    assert waiting.value == "x?"


async def test_a_run_advances_only_as_its_caller_iterates() -> None:
    ran: list[str] = []

    def node(name: str) -> Any:
        def run(state: Any) -> dict[str, Any]:
            ran.append(name)
            return {"log": [name]}

        return run

    made = compiled(a=node("a"), b=node("b"), c=node("c"))
    progress = []
    async with contextlib.aclosing(made.astream({"log": []})) as parts:
        async for _ in parts:
            progress.append(list(ran))  # noqa: PERF401 - how far it is at each part
    assert progress == [["a"], ["a", "b"], ["a", "b", "c"]]
    ran.clear()
    assert [list(ran) for _ in made.stream({"log": []})] == progress


async def test_custom_parts_arrive_while_their_node_still_runs() -> None:
    read = anyio.Event()

    async def node(state: Any, writer: StreamWriter) -> None:
        writer("now")
        await read.wait()

    shown = []
    async for part in compiled(a=node).astream({"log": []}, stream_mode=["custom", "updates"]):
        shown.append(part)
        read.set()
    assert shown == [("custom", "now"), ("updates", {"a": None})]
