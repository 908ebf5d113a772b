"""The saver in memory: it does what LangGraph's does, and no later change rewrites history."""

import operator
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver as LangGraphBase
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

import engine
from engine.channels import whole
from engine.checkpoint import InMemorySaver, MemorySaver, empty_checkpoint


def at(thread: str = "1", ns: str = "", checkpoint: str | None = None) -> dict[str, Any]:
    place = {"thread_id": thread, "checkpoint_ns": ns}
    return {"configurable": place if checkpoint is None else {**place, "checkpoint_id": checkpoint}}


def make(name: str, values: dict[str, Any], versions: dict[str, Any]) -> Any:
    return {
        **empty_checkpoint(),
        "id": name,
        "channel_values": values,
        "channel_versions": versions,
        "versions_seen": {"n": dict(versions)},
    }


def put(
    saver: Any, name: str, values: dict[str, Any], parent: str | None = None, **place: str
) -> dict[str, Any]:
    versions = {channel: int(name) for channel in values}
    return saver.put(
        at(**place, checkpoint=parent), make(name, values, versions), {"step": int(name)}, versions
    )


# -- beside LangGraph's saver ------------------------------------------------------------------------

threads, namespaces = st.sampled_from(["1", "2"]), st.sampled_from(["", "sub:1"])
ids = st.sampled_from([f"{n:03}" for n in range(6)])
payloads = st.recursive(st.integers(0, 9) | st.text(max_size=2) | st.none(), st.lists, max_leaves=3)
channels = st.sampled_from(["x", "y", "__error__", "__interrupt__", "__resume__", "__scheduled__"])
filters = st.none() | st.dictionaries(st.sampled_from(["step", "user"]), st.integers(0, 2), max_size=2)
metadata = st.dictionaries(st.sampled_from(["step", "user", "thread_id"]), st.integers(0, 2), max_size=2)

puts = st.tuples(
    st.just("put"),
    st.builds(at, threads, namespaces, st.none() | ids),
    st.builds(
        lambda name, values, more: make(name, values, {**dict.fromkeys(values, 1), **more}),
        ids,
        st.dictionaries(st.sampled_from("xyz"), payloads, max_size=3),
        st.dictionaries(st.sampled_from("xyz"), st.integers(1, 3), max_size=2),
    ),
    metadata,
    st.dictionaries(st.sampled_from("xyz"), st.integers(1, 3), max_size=3),
)
writes = st.tuples(
    st.just("put_writes"),
    st.builds(at, threads, namespaces, ids),
    st.lists(st.tuples(channels, payloads), max_size=3),
    st.sampled_from(["t1", "t2"]),
    st.sampled_from(["", "~a", "~b"]),
)
gets = st.tuples(st.just("get_tuple"), st.builds(at, threads, namespaces, st.none() | ids))
deletions = st.tuples(st.just("delete_thread"), threads)
bounds = st.fixed_dictionaries(
    {
        "filter": filters,
        "before": st.none() | st.builds(at, checkpoint=ids),
        "limit": st.none() | st.integers(-1, 3),
    }
)


def anywhere(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


lists = st.tuples(
    st.just("list"),
    st.builds(at, threads, namespaces, st.none() | ids) | st.builds(anywhere, threads) | st.none(),
    bounds,
)


def do(saver: Any, name: str, *args: Any) -> Any:
    if name == "list":
        config, options = args
        found = saver.list(config, **options)
        # The order of namespaces is not promised, only that of checkpoints in each.
        return sorted(
            found,
            key=lambda t: (t.config["configurable"]["thread_id"], t.config["configurable"]["checkpoint_ns"]),
        )
    return getattr(saver, name)(*args)


def _names_one_namespace(config: dict[str, Any] | None) -> bool:
    return config is not None and "checkpoint_ns" in config["configurable"]


@settings(max_examples=100, deadline=None)
@given(st.lists(puts | writes | gets | lists | deletions, max_size=15))
def test_every_call_answers_what_langgraphs_saver_answers(calls: list[tuple[Any, ...]]) -> None:
    ours, theirs = InMemorySaver(), LangGraphSaver()
    for call in calls:
        if call[0] == "list" and call[2]["limit"] is not None and not _names_one_namespace(call[1]):
            continue  # which threads, and which of their namespaces, come first is not promised
        assert do(ours, *call) == do(theirs, *call), call


class OurSaverForLangGraph(InMemorySaver, LangGraphBase):  # type: ignore[misc]
    """LangGraph asks for an instance of its base class."""


class State(TypedDict):
    log: Annotated[list[Any], operator.add]


def conversation(saver: Any) -> list[Any]:
    """A run with a fan-out, an interrupt, a failure, a fork and an update, and the history it leaves."""
    failures = [ValueError("first time")]

    def fan(state: State) -> list[Send]:
        return [Send("work", {"log": [n]}) for n in (1, 2)]

    def work(state: State) -> State:
        return {"log": [["worked", state["log"]]]}

    def ask(state: State) -> State:
        return {"log": [interrupt("name?")]}

    def fail(state: State) -> State:
        if failures:
            raise failures.pop()
        return {"log": ["survived"]}

    graph = (
        StateGraph(State)
        .add_node("plan", lambda state: {"log": ["planned"]})
        .add_node("work", work)
        .add_node("ask", ask)
        .add_node("fail", fail)
        .add_edge(START, "plan")
        .add_conditional_edges("plan", fan, ["work"])
        .add_edge("work", "ask")
        .add_edge("ask", "fail")
        .compile(checkpointer=saver)
    )
    config = anywhere("1")
    graph.invoke({"log": ["in"]}, config)
    with pytest.raises(ValueError, match="first time"):
        graph.invoke(Command(resume="Ada"), config)
    graph.invoke(None, config)
    past = [*graph.get_state_history(config)][-3]
    graph.update_state(past.config, {"log": ["rewritten"]})
    graph.invoke(None, config)
    return [
        (
            s.values,
            s.next,
            s.metadata,
            [(t.name, t.error, [i.value for i in t.interrupts], t.result) for t in s.tasks],
        )
        for s in graph.get_state_history(config)
    ]


def test_langgraph_runs_on_our_saver_as_on_its_own() -> None:
    assert conversation(OurSaverForLangGraph()) == conversation(LangGraphSaver())


def test_values_may_be_kept_as_bytes_of_a_serializer() -> None:
    saver = InMemorySaver(serde=JsonPlusSerializer())
    put(saver, "1", {"x": [1]})
    saver.put_writes(at(checkpoint="1"), [("x", {1})], "task")
    found = saver.get_tuple(at())
    assert found is not None
    assert (found.checkpoint["channel_values"], found.pending_writes) == ({"x": [1]}, [("task", "x", {1})])
    [stored] = saver._threads["1"][""].values.values()
    assert stored == ("msgpack", b"\x91\x01")


# -- history stays what it was -----------------------------------------------------------------------


def test_a_change_to_what_was_put_does_not_reach_what_is_stored() -> None:
    saver = InMemorySaver()
    value, note, write = {"list": [1]}, {"parents": {"": "0"}}, [1]
    checkpoint = make("1", {"x": value}, {"x": 1})
    saver.put(at(), checkpoint, note, {"x": 1})
    saver.put_writes(at(checkpoint="1"), [("x", write)], "task")
    value["list"].append(2)
    note["parents"]["late"] = "1"
    write.append(2)
    checkpoint["channel_versions"]["y"] = 9
    checkpoint["versions_seen"]["n"]["y"] = 9
    found = saver.get_tuple(at())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"x": {"list": [1]}}
    assert found.checkpoint["channel_versions"] == {"x": 1}
    assert found.checkpoint["versions_seen"] == {"n": {"x": 1}}
    assert found.metadata == {"parents": {"": "0"}}
    assert found.pending_writes == [("task", "x", [1])]


def test_a_change_to_what_was_got_does_not_reach_what_is_stored() -> None:
    saver = InMemorySaver()
    put(saver, "1", {"x": [1]})
    saver.put_writes(at(checkpoint="1"), [("x", [1])], "task")
    for _ in range(2):
        found = saver.get_tuple(at())
        assert found is not None
        assert found.checkpoint["channel_values"] == {"x": [1]}
        assert found.checkpoint["channel_versions"] == {"x": 1}
        assert found.metadata == {"step": 1}
        assert found.pending_writes == [("task", "x", [1])]
        found.checkpoint["channel_values"]["x"].append(2)
        found.checkpoint["channel_versions"]["x"] = 9
        found.metadata["step"] = 9
        found.pending_writes[0][2].append(2)


def test_forks_of_one_checkpoint_keep_their_own_values() -> None:
    saver = InMemorySaver()
    start = saver.get_next_version(None, None)
    saver.put(at(), make("1", {"x": "start"}, {"x": start}), {}, {"x": start})
    for name, value in (("2", "left"), ("3", "right")):
        version = saver.get_next_version(start, None)
        saver.put(at(checkpoint="1"), make(name, {"x": value}, {"x": version}), {}, {"x": version})
    assert [t.checkpoint["channel_values"] for t in saver.list(at())] == [
        {"x": "right"},
        {"x": "left"},
        {"x": "start"},
    ]


@pytest.mark.parametrize("current", [None, 0, 1, 5, 1_000_000])
def test_the_next_version_is_greater_and_never_given_twice(current: int | None) -> None:
    saver = InMemorySaver()
    versions = [saver.get_next_version(current, None) for _ in range(10)]
    assert versions == sorted(set(versions))
    assert min(versions) > (current or 0)


def test_a_value_is_stored_once_however_many_checkpoints_show_it() -> None:
    saver = InMemorySaver()
    saver.put(at(), make("1", {"big": [0] * 10, "n": 1}, {"big": 1, "n": 1}), {}, {"big": 1, "n": 1})
    for n in range(2, 6):
        saver.put(at(), make(str(n), {"big": [0] * 10, "n": n}, {"big": 1, "n": n}), {}, {"n": n})
    assert [t.checkpoint["channel_values"] for t in saver.list(at(), limit=1)] == [{"big": [0] * 10, "n": 5}]
    assert sorted(saver._threads["1"][""].values) == [("big", 1), *[("n", n) for n in range(1, 6)]]


def test_writes_put_again_change_nothing_but_the_special_ones() -> None:
    saver = InMemorySaver()
    put(saver, "1", {})
    for n in (1, 2):
        saver.put_writes(at(checkpoint="1"), [("x", n), ("__interrupt__", n), ("y", n)], "task")
    saver.put_writes(at(checkpoint="1"), [("x", 3)], "other")
    found = saver.get_tuple(at())
    assert found is not None
    assert found.pending_writes == [
        ("other", "x", 3),
        ("task", "__interrupt__", 2),
        ("task", "x", 1),
        ("task", "y", 1),
    ]


def test_an_error_is_kept_as_text_so_that_it_holds_no_frame() -> None:
    saver = InMemorySaver()
    put(saver, "1", {})
    saver.put_writes(at(checkpoint="1"), [("__error__", ValueError("no"))], "task")
    found = saver.get_tuple(at())
    assert found is not None
    assert found.pending_writes == [("task", "__error__", "ValueError('no')")]


# -- threads, namespaces, lifetimes ------------------------------------------------------------------


def test_a_copied_thread_goes_its_own_way() -> None:
    saver = InMemorySaver()
    put(saver, "1", {"x": 1})
    put(saver, "1", {"y": 1}, ns="sub:1")
    saver.put_writes(at(checkpoint="1"), [("x", 2)], "task")
    saver.copy_thread("1", "copy")
    put(saver, "2", {"x": 2}, parent="1")
    saver.put_writes(at(checkpoint="1"), [("x", 3)], "late")
    saver.delete_thread("1")
    assert list(saver.list(at())) == []
    found = [*saver.list(anywhere("copy"))]
    assert [(t.config, t.checkpoint["channel_values"], t.pending_writes) for t in found] == [
        (at("copy", "", "1"), {"x": 1}, [("task", "x", 2)]),
        (at("copy", "sub:1", "1"), {"y": 1}, []),
    ]


def test_looking_for_a_thread_does_not_create_it() -> None:
    saver = InMemorySaver()
    assert saver.get_tuple(at()) is None
    assert [*saver.list(at())] == []
    saver.delete_thread("1")
    assert saver._threads == {}


def test_listing_goes_on_while_checkpoints_come_and_go() -> None:
    saver = InMemorySaver()
    for name in "123":
        put(saver, name, {"x": int(name)})
    listing = saver.list(at())
    first = next(listing)
    put(saver, "4", {"x": 4})
    saver.delete_thread("1")
    assert [t.checkpoint["id"] for t in (first, *listing)] == ["3", "2", "1"]


def test_threads_that_write_at_once_lose_nothing() -> None:
    saver = InMemorySaver()
    put(saver, "1", {})

    def write(task: str) -> Callable[[], None]:
        def run() -> None:
            for n in range(200):
                saver.put_writes(at(checkpoint="1"), [("x", n)], f"{task}-{n:03}")
                put(saver, f"{n + 2:03}", {"x": n}, thread=task)

        return run

    workers = [threading.Thread(target=write(task)) for task in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = saver.get_tuple(at())
    assert found is not None
    assert found.pending_writes == [(f"{task}-{n:03}", "x", n) for task in "abcd" for n in range(200)]
    assert [len([*saver.list(at(task))]) for task in "abcd"] == [200] * 4


async def test_async_methods_answer_without_a_thread_of_their_own() -> None:
    here = threading.get_ident()
    touched: set[int] = set()

    class Traced(InMemorySaver):
        def __getattribute__(self, name: str) -> Any:
            touched.add(threading.get_ident())
            return super().__getattribute__(name)

    async with Traced() as saver:
        named = await saver.aput(at(), make("1", {"x": 1}, {"x": 1}), {}, {"x": 1})
        await saver.aput_writes(named, [("x", 2)], "task")
        await saver.acopy_thread("1", "2")
        await saver.adelete_thread("1")
        assert await saver.aget_tuple(at()) is None
        assert [t.pending_writes async for t in saver.alist(at("2"))] == [[("task", "x", 2)]]
    assert touched == {here}


def test_it_is_a_context_manager_that_keeps_everything() -> None:
    with MemorySaver() as saver:
        put(saver, "1", {})
    assert saver.get(at()) is not None


@pytest.mark.parametrize("config", [{}, {"configurable": {}}, {"configurable": None}])
def test_a_config_without_a_thread_is_an_error_that_says_so(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        InMemorySaver().put(config, make("1", {}, {}), {}, {})
    assert str(caught.value) == (
        'config["configurable"]["thread_id"] is missing: name the thread whose checkpoints are meant, '
        'as in {"configurable": {"thread_id": "1"}}'
    )


def test_writes_need_a_checkpoint_to_belong_to() -> None:
    with pytest.raises(ValueError) as caught:
        InMemorySaver().put_writes(at(), [("x", 1)], "task")
    assert str(caught.value) == (
        'config["configurable"]["checkpoint_id"] is missing: name the checkpoint to write to'
    )


@pytest.mark.parametrize("reducer", [operator.add, engine.add_messages])
def test_a_checkpoint_holds_items_as_they_were_written(reducer: Any) -> None:
    class State(TypedDict):
        messages: Annotated[list[Any], reducer]

    def change(state: State) -> dict[str, Any]:
        state["messages"][0].content = "changed in place"
        return {"messages": [AIMessage("new", id="2")]}

    saver, place = InMemorySaver(), {"configurable": {"thread_id": "1"}}
    graph = (
        engine.StateGraph(State)
        .add_node("change", change)
        .add_edge(engine.START, "change")
        .compile(checkpointer=saver)
    )
    result = graph.invoke({"messages": [HumanMessage("as written", id="1")]}, place)
    assert [message.content for message in result["messages"]] == ["changed in place", "new"]
    stored = graph.get_state(place).values["messages"]
    assert [message.content for message in stored] == ["as written", "new"]
    stored.clear()
    assert len(graph.get_state(place).values["messages"]) == 2


def test_checkpoints_of_a_list_that_grows_hold_each_item_once() -> None:
    class State(TypedDict):
        items: Annotated[list[Any], operator.add]

    def more(state: State) -> dict[str, Any]:
        return {"items": [{"n": len(state["items"])}]}

    saver, place = InMemorySaver(), {"configurable": {"thread_id": "1"}}
    builder = engine.StateGraph(State).add_node("more", more).add_edge(engine.START, "more")
    builder.add_conditional_edges("more", lambda state: "more" if len(state["items"]) < 50 else engine.END)
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"items": []}, {**place, "recursion_limit": 100})
    kept = saver._threads["1"][""].values.values()
    items = {id(item) for value in kept for item in (whole(value) if isinstance(whole(value), list) else ())}
    assert len(items) == 50
    lengths = [len(found.values["items"]) for found in graph.get_state_history(place) if found.values]
    assert lengths[:3] == [50, 49, 48]
