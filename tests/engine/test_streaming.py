"""Streams of runs: what each mode shows, to whom, in which shape, and how a stream ends."""

import contextlib
import operator
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypedDict

import anyio
import pytest

from engine import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    InMemorySaver,
    RetryPolicy,
    RunControl,
    Send,
    StateGraph,
    StreamWriter,
    TimeoutPolicy,
    emit_message,
    interrupt,
)
from otel_stream import events as e
from otel_stream.config import MODES, Custom, OverflowPolicy, StreamConfig
from otel_stream.modes import StreamPart
from otel_stream.receiver import ReceiverOverflowError, StreamReceiver


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    x: int


def say(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda state: {"log": [name]}


def talk(state: Any, writer: StreamWriter) -> dict[str, Any]:
    """Write to every stream that a node can write to."""
    writer({"half": "way"})
    emit_message({"id": "m", "content": "hello"})
    return {"log": ["a"], "x": 1}


def graph(*, name: str = "g", **nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    made = StateGraph(State)
    previous = START
    for name_, node in nodes.items():
        made.add_node(name_, node).add_edge(previous, name_)
        previous = name_
    return made


def compiled(*, name: str = "g", checkpointer: Any = None, **nodes: Any) -> Any:
    return graph(**nodes).compile(checkpointer, name=name)


def thread() -> dict[str, Any]:
    return {"configurable": {"thread_id": "1"}}


async def drained(receiver: AsyncIterator[StreamPart]) -> list[StreamPart]:
    return [part async for part in receiver]


async def parts_of(
    made: Any, modes: Any, input: Any = None, config: Any = None, **settings: Any
) -> list[StreamPart]:
    """Run with one receiver and return all of its parts; the run must not fail."""
    stream_config = StreamConfig(modes=modes, **settings)
    async with made.open_stream(
        {"log": []} if input is None else input, stream_config, config=config
    ) as stream:
        return await drained(stream)


def brief(parts: list[StreamPart]) -> list[tuple[Any, ...]]:
    return [(part.type, part.data) for part in parts]


# -- each mode -------------------------------------------------------------------------------------


def two_steps(checkpointer: Any = None) -> Any:
    return compiled(a=talk, b=say("b"), checkpointer=checkpointer)


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
        assert alone != []


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

    async with two_steps().open_stream({"log": []}, *configs) as stream:
        async with anyio.create_task_group() as group:
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


def nested() -> Any:
    inner = compiled(name="inner", i=talk)
    middle = compiled(name="middle", m=inner)
    return compiled(outer=middle)


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
    (waiting,) = shown[-1][1]["__interrupt__"] if shown[-1][0] == "updates" else shown[-1][1]["__interrupt__"]
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
            progress.append(list(ran))
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


# -- the end ---------------------------------------------------------------------------------------


async def _forever(state: Any) -> None:
    await anyio.sleep_forever()


def _boom(state: Any) -> None:
    raise ValueError("kaboom")


def _control() -> RunControl:
    control = RunControl()
    control.request_drain("maintenance")
    return control


def _circle() -> Any:
    return graph(a=say("a")).add_edge("a", "a").compile(name="g")


def _impatient() -> Any:
    made = (
        StateGraph(State)
        .add_node("a", _forever, timeout=TimeoutPolicy(run_timeout=0.01))
        .add_edge(START, "a")
    )
    return made.compile(name="g")


ENDS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "ok": (two_steps, {}),
    "error": (lambda: compiled(a=_boom), {}),
    "interrupted": (
        lambda: compiled(a=lambda state: interrupt("?"), checkpointer=InMemorySaver()),
        {"config": thread()},
    ),
    "recursion_limit": (_circle, {"config": {"recursion_limit": 2}}),
    "timeout": (_impatient, {}),
    "drained": (two_steps, {"control": _control()}),
}


@pytest.mark.parametrize("end", ENDS)
async def test_every_run_ends_with_exactly_one_part_that_says_how(end: str) -> None:
    make, asked = ENDS[end]
    config = StreamConfig(modes="updates", include_end=True)
    seen: list[StreamPart] = []
    async with make().open_stream({"log": []}, config, **asked) as stream:
        with contextlib.suppress(Exception):
            async for part in stream:
                seen.append(part)
        with contextlib.suppress(Exception):
            await stream.wait()
    assert stream.end is not None
    assert stream.end.value == end
    assert [part.data["end"] for part in seen if part.type == "end"] == [end]
    assert seen[-1].type == "end"


@pytest.mark.parametrize("end", ["error", "recursion_limit", "timeout"])
async def test_iteration_and_result_raise_what_the_run_raised_after_the_last_part(end: str) -> None:
    make, asked = ENDS[end]
    async with make().open_stream({"log": []}, StreamConfig(modes="values"), **asked) as stream:
        seen = []
        with pytest.raises(Exception) as iterated:
            async for part in stream:
                seen.append(part)
        with pytest.raises(Exception) as awaited:
            await stream.wait()
    assert iterated.value is awaited.value
    with pytest.raises(type(awaited.value)):
        _ = stream.result
    assert seen[0].data == {"log": []}


async def test_an_interrupted_run_ends_normally_and_says_what_it_waits_for() -> None:
    make, asked = ENDS["interrupted"]
    async with make().open_stream({"log": []}, StreamConfig(modes="values"), **asked) as stream:
        parts = await drained(stream)
    assert [i.value for i in stream.interrupts] == ["?"]
    assert parts[-1].interrupts == stream.interrupts
    assert stream.result == {"log": []}


@pytest.mark.parametrize("leave", ["break", "error"])
async def test_who_leaves_early_abandons_the_run_and_its_nodes_are_cancelled(leave: str) -> None:
    started: list[str] = []
    cancelled: list[str] = []
    ends: list[str] = []

    async def last(state: Any) -> None:
        started.append("last")
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append("last")

    def note(event: Any) -> None:
        ends.append(event.end.value)

    config = StreamConfig(modes=["updates", Custom(note, "ends", events=(e.RunEnded,))])
    with contextlib.suppress(KeyError):
        async with compiled(a=say("a"), last=last).open_stream({"log": []}, config) as stream:
            async for _ in stream:
                if leave == "error":
                    raise KeyError("the consumer's own")
                break
    assert (ends, stream.end) == (["abandoned"], e.End.ABANDONED)
    assert cancelled == started


async def test_the_consumers_own_error_reaches_the_consumer() -> None:
    with pytest.raises(KeyError, match="own"):
        async with two_steps().open_stream({"log": []}, StreamConfig(modes="updates")) as stream:
            async for _ in stream:
                raise KeyError("own")


async def test_a_run_that_is_left_before_its_first_step_is_abandoned_too() -> None:
    ends: list[str] = []
    config = StreamConfig(
        modes=Custom(lambda event: ends.append(event.end.value), "ends", events=(e.RunEnded,))
    )
    async with two_steps().open_stream({"log": []}, config) as stream:
        pass
    assert (stream.end, ends) == (e.End.ABANDONED, ["abandoned"])


async def test_an_abandoned_run_has_no_result_and_says_so() -> None:
    async with compiled(a=_forever).open_stream({"log": []}, StreamConfig(modes="values")) as stream:
        async for _ in stream:
            break
    with pytest.raises(RuntimeError, match="^the run has no result: it was abandoned$"):
        _ = stream.result
    with pytest.raises(RuntimeError, match="^the run has no result: it was abandoned$"):
        await stream.wait()


async def test_the_result_is_there_only_after_the_end() -> None:
    async with compiled(a=_forever).open_stream({"log": []}, StreamConfig(modes="updates")) as stream:
        with pytest.raises(RuntimeError, match="^the run has not ended yet: iterate its stream to the end"):
            _ = stream.result


async def test_a_run_needs_no_reader_to_be_waited_for() -> None:
    async with two_steps().open_stream({"log": []}) as stream:
        assert await stream.wait() == {"log": ["a", "b"], "x": 1}
        assert await stream == stream.result


@pytest.mark.parametrize(
    "make",
    [
        two_steps,
        nested,
        lambda: compiled(a=say("a"), b=lambda state: None),
        lambda: compiled(a=lambda state: {"x": interrupt("?")}),
    ],
)
async def test_the_last_values_part_equals_the_result(make: Callable[[], Any]) -> None:
    async with make().open_stream({"log": []}, StreamConfig(modes="values")) as stream:
        parts = await drained(stream)
    assert parts[-1].data == stream.result
    assert parts[-1].data == make().invoke({"log": []}, version="v2").value


async def test_a_part_that_was_yielded_never_changes() -> None:
    def mutate(state: Any) -> dict[str, Any]:
        state["log"].append("sneaked in")
        return {"x": state.get("x", 0) + 1}

    parts = await parts_of(compiled(a=mutate, b=mutate), "values")
    assert [part.data["log"] for part in parts[:1]] == [[]]
    assert len({id(part.data["log"]) for part in parts}) == len(parts)


# -- slow consumers --------------------------------------------------------------------------------


def chatty(count: int = 10) -> Any:
    """One node that writes ``count`` parts and ends before anybody has read one."""

    def node(state: Any, writer: StreamWriter) -> dict[str, Any]:
        for number in range(count):
            writer(number)
        return {"log": ["done"]}

    return compiled(a=node)


def sums_up(receiver: StreamReceiver) -> bool:
    shown = receiver.statistics()
    return shown.offered == (
        shown.delivered + shown.dropped + shown.sampled_out + shown.filtered + shown.held
    ) and all(
        mode.offered == mode.delivered + mode.dropped + mode.sampled_out + mode.filtered + mode.held
        for mode in shown.by_mode.values()
    )


POLICIES: dict[str, tuple[list[Any], int]] = {
    "drop_oldest": ([("gap", 7), 7, 8, 9], 7),
    "drop_newest": ([("gap", 7), 0, 1, 2], 7),
    "coalesce": ([("gap", 7), 0, 1, 9], 7),
    "error": ([0, 1, 2], 1),
}


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_consumer_that_comes_late_gets_what_its_policy_kept(policy: str) -> None:
    expected, dropped = POLICIES[policy]
    config = StreamConfig(modes="custom", buffer_size=3, overflow=policy)
    async with chatty().open_stream({"log": []}, config) as stream:
        assert await stream.wait() == {"log": ["done"]}  # the run does not wait for it
        (receiver,) = stream.receivers
        assert sums_up(receiver)
        got: list[Any] = []
        with contextlib.suppress(ReceiverOverflowError):
            async for part in stream:
                got.append(("gap", part.data["dropped"]) if part.type == "gap" else part.data)
        shown = receiver.statistics()
    assert got == expected
    assert shown.dropped == dropped
    assert (shown.held, sums_up(receiver)) == (0, True)
    assert isinstance(receiver.failed, ReceiverOverflowError) is (policy == "error")


async def test_block_loses_nothing_and_the_run_waits_at_the_end_of_the_superstep() -> None:
    reached: list[str] = []

    def node(name: str) -> Any:
        def run(state: Any, writer: StreamWriter) -> dict[str, Any]:
            reached.append(name)
            for number in range(5):
                writer((name, number))
            return {"log": [name]}

        return run

    names = ("a", "b", "c")
    config = StreamConfig(modes="custom", buffer_size=2, overflow="block")
    got, pace = [], []
    async with compiled(**{name: node(name) for name in names}).open_stream({"log": []}, config) as stream:
        async for part in stream:
            got.append(part.data)
            pace.append(len(reached))
            assert stream.receivers[0].statistics().held <= 2 + 5  # its size and what one superstep emits
        shown = stream.receivers[0].statistics()
    assert got == [(name, number) for name in names for number in range(5)]
    # When the first part of a node is read, the node after the next one has not begun.
    assert [pace[5 * index] <= index + 2 for index in range(3)] == [True] * 3
    assert (shown.offered, shown.delivered, shown.dropped) == (15, 15, 0)


@pytest.mark.parametrize("policy", list(OverflowPolicy))
async def test_the_account_of_every_receiver_adds_up_at_every_part(policy: str) -> None:
    slow = StreamConfig(
        modes=["custom", "updates"], buffer_size=2, overflow=policy, filter=lambda part: part.data != 4
    )
    fast = StreamConfig(modes="custom")
    async with chatty(20).open_stream({"log": []}, slow, fast) as stream:
        one, other = stream.receivers
        with contextlib.suppress(ReceiverOverflowError):
            async for _ in one:
                assert sums_up(one)
                assert sums_up(other)
        await stream.wait()
        assert [part.data for part in await drained(other)] == list(range(20))
    assert sums_up(one)
    assert sums_up(other)
    assert one.statistics().filtered == (0 if policy == "error" and one.statistics().offered < 5 else 1)


@pytest.mark.parametrize("policy", [policy for policy in OverflowPolicy if policy != "block"])
async def test_a_receiver_that_nobody_reads_slows_nobody(policy: str) -> None:
    forgotten = StreamConfig(modes="custom", buffer_size=1, overflow=policy)
    async with chatty().open_stream({"log": []}, StreamConfig(modes="custom"), forgotten) as stream:
        assert [part.data async for part in stream] == list(range(10))
        assert stream.result == {"log": ["done"]}


async def test_a_run_that_waits_for_a_reader_who_left_goes_on() -> None:
    config = StreamConfig(modes="custom", buffer_size=1)
    async with compiled(a=_write_twice, b=_write_twice).open_stream({"log": []}, config) as stream:
        async for _ in stream:
            break
        stream.receivers[0].close()
        assert await stream.wait() == {"log": []}


def _write_twice(state: Any, writer: StreamWriter) -> None:
    writer(1)
    writer(2)


async def test_a_broken_mode_filter_or_consumer_breaks_no_run() -> None:
    def broken(_: Any) -> Any:
        raise KeyError("mine")

    configs = [
        StreamConfig(modes=Custom(broken, "broken")),
        StreamConfig(modes="updates", filter=broken),
        StreamConfig(modes="updates"),
    ]
    async with two_steps().open_stream({"log": []}, *configs) as stream:
        assert await stream.wait() == {"log": ["a", "b"], "x": 1}
        for receiver in stream.receivers[:2]:
            with pytest.raises(KeyError, match="mine"):
                await drained(receiver)
        assert len(await drained(stream.receivers[2])) == 2


# -- tasks are balanced in streams, too --------------------------------------------------------------


def _balanced(parts: list[StreamPart]) -> bool:
    starts = [part.data["id"] for part in parts if "triggers" in part.data]
    results = [part.data["id"] for part in parts if "result" in part.data]
    return sorted(starts) == sorted(results) and len(set(starts)) == len(starts) > 0


def _flaky() -> Any:
    tries: list[int] = []

    def node(state: Any) -> dict[str, Any]:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return {"log": ["flaky"]}

    return node


RETRY = RetryPolicy(initial_interval=0, jitter=False)
BALANCED: dict[str, Callable[[], Any]] = {
    "ok": two_steps,
    "subgraphs": nested,
    "retried": lambda: (
        StateGraph(State).add_node("a", _flaky(), retry_policy=RETRY).add_edge(START, "a").compile()
    ),
    "handled": lambda: (
        StateGraph(State)
        .add_node("a", _boom, error_handler=lambda state, error: {"log": ["saved"]})
        .add_edge(START, "a")
        .compile()
    ),
    "failed, with siblings": lambda: (
        StateGraph(State)
        .add_node("a", _boom)
        .add_node("b", _forever)
        .add_edge(START, "a")
        .add_edge(START, "b")
        .compile()
    ),
    "interrupted": lambda: compiled(a=lambda state: interrupt("?")),
    "packets": lambda: (
        StateGraph(State)
        .add_node("a", say("a"))
        .add_conditional_edges(START, lambda state: [Send("a", n) for n in range(4)], ["a"])
        .compile()
    ),
}


@pytest.mark.parametrize("case", BALANCED)
async def test_every_task_that_starts_has_one_result(case: str) -> None:
    parts: list[StreamPart] = []
    config = StreamConfig(modes="tasks", subgraphs=True)
    async with BALANCED[case]().open_stream({"log": []}, config) as stream:
        with contextlib.suppress(ValueError):
            async for part in stream:
                parts.append(part)
    assert _balanced(parts)


async def test_a_cached_task_has_a_start_and_a_result_and_its_update_says_so() -> None:
    made = graph().add_node("a", say("a"), cache_policy=CachePolicy()).add_edge(START, "a")
    cached = made.compile(cache=InMemoryCache())
    runs = [await parts_of(cached, ["tasks", "updates"]) for _ in range(2)]
    assert [_balanced([part for part in parts if part.type == "tasks"]) for parts in runs] == [True, True]
    assert [[part.data for part in parts if part.type == "updates"] for parts in runs] == [
        [{"a": {"log": ["a"]}}],
        [{"a": {"log": ["a"]}, "__metadata__": {"cached": True}}],
    ]
