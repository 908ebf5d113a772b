"""Each kind of channel: what its writes make of it, and that it survives a checkpoint."""

import operator
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import langgraph.channels as theirs
import langgraph.graph
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver
from typing_extensions import TypedDict

import engine
from engine import InvalidUpdateError, Overwrite
from engine.channels import (
    AnyValue,
    BinaryOperatorAggregate,
    Channel,
    EphemeralValue,
    LastValue,
    LastValueAfterFinish,
    NamedBarrierValue,
    NamedBarrierValueAfterFinish,
    Topic,
    UntrackedValue,
    whole,
)
from engine.conversation import Conversation
from engine.messages import REMOVE_ALL_MESSAGES, Message, RemoveMessage, add_messages
from engine.types import MISSING

NAMES = ("a", "b")
KINDS: dict[str, Any] = {
    "LastValue": lambda: LastValue(int, "x"),
    "AnyValue": lambda: AnyValue(int, "x"),
    "UntrackedValue": lambda: UntrackedValue(int, "x", guard=False),
    "EphemeralValue": lambda: EphemeralValue(int, "x", guard=False),
    "LastValueAfterFinish": lambda: LastValueAfterFinish(int, "x"),
    "NamedBarrierValue": lambda: NamedBarrierValue(str, "x", NAMES),
    "NamedBarrierValueAfterFinish": lambda: NamedBarrierValueAfterFinish(str, "x", NAMES),
    "Topic": lambda: Topic(int, "x"),
    "Topic, accumulating": lambda: Topic(int, "x", accumulate=True),
    "BinaryOperatorAggregate": lambda: BinaryOperatorAggregate(int, operator.add, "x"),
}
#: One superstep's worth of writes; one at most where two would be an error.
STEPS: dict[str, st.SearchStrategy[list[Any]]] = {
    "LastValue": st.lists(st.integers(), max_size=1),
    "NamedBarrierValue": st.lists(st.sampled_from(NAMES)),
    "NamedBarrierValueAfterFinish": st.lists(st.sampled_from(NAMES)),
}
CALLS = ("update", "consume", "finish")


def seen(channel: Channel) -> Any:
    return channel.read() if channel.available else MISSING


@st.composite
def histories(draw: st.DrawFn, kind: str) -> list[tuple[str, list[Any]]]:
    writes = STEPS.get(kind, st.lists(st.integers()))
    return [(call, draw(writes)) for call in draw(st.lists(st.sampled_from(CALLS), max_size=8))]


def lived(kind: str, history: list[tuple[str, list[Any]]]) -> Channel:
    channel: Channel = KINDS[kind]()
    for call, writes in history:
        channel.update(writes) if call == "update" else getattr(channel, call)()
    return channel


# -- what holds for all of them --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data())
def test_what_is_loaded_is_what_was_saved(kind: str, data: st.DataObject) -> None:
    channel = lived(kind, data.draw(histories(kind)))
    saved = channel.saved()
    if saved is MISSING:
        return
    other = channel.fresh()
    other.load(saved)
    assert (seen(other), other.saved()) == (seen(channel), saved)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data())
def test_a_copy_goes_its_own_way(kind: str, data: st.DataObject) -> None:
    channel = lived(kind, data.draw(histories(kind)))
    before = seen(channel)
    other = channel.copy()
    assert seen(other) == before
    writes = data.draw(STEPS.get(kind, st.lists(st.integers())))
    other.update(writes)
    other.consume()
    assert seen(channel) == before


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data())
def test_who_says_nothing_has_changed_shows_what_it_showed(kind: str, data: st.DataObject) -> None:
    channel = lived(kind, data.draw(histories(kind)))
    call, writes = data.draw(st.sampled_from(CALLS)), data.draw(STEPS.get(kind, st.lists(st.integers())))
    before = seen(channel)
    changed = channel.update(writes) if call == "update" else getattr(channel, call)()
    assert changed or seen(channel) == before


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data())
def test_a_fresh_channel_has_no_past(kind: str, data: st.DataObject) -> None:
    channel = lived(kind, data.draw(histories(kind)))
    new = KINDS[kind]()
    assert (seen(channel.fresh()), channel.fresh().saved()) == (seen(new), new.saved())
    assert (channel.fresh().key, type(channel.fresh())) == (channel.key, type(channel))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind]().transient])
def test_the_value_of_a_transient_channel_lasts_one_superstep(kind: str) -> None:
    channel = KINDS[kind]()
    channel.update([1])
    assert channel.available
    channel.update([])
    assert channel.available is (kind == "Topic, accumulating")


# -- one value -------------------------------------------------------------------------------------


@given(st.lists(st.integers(), min_size=1))
def test_last_value_holds_the_newest_and_keeps_it(values: list[int]) -> None:
    channel = LastValue(int, "x")
    for value in values:
        assert channel.update([value])
        assert not channel.update([])
    assert seen(channel) == values[-1]


@pytest.mark.parametrize("kind", [LastValue, UntrackedValue, EphemeralValue])
def test_two_writes_to_one_value_are_an_error_that_names_the_remedy(kind: Any) -> None:
    channel = kind(int, "total")
    with pytest.raises(InvalidUpdateError) as caught:
        channel.update([1, 2])
    assert str(caught.value) == (
        "At key 'total': Can receive only one value per step, got 2. "
        "Annotate the key with a reducer (Annotated[T, fn]) to merge several writes. "
        "[INVALID_CONCURRENT_GRAPH_UPDATE]"
    )
    assert not channel.available


@pytest.mark.parametrize("kind", ["AnyValue", "EphemeralValue", "UntrackedValue", "LastValueAfterFinish"])
def test_where_two_may_write_the_last_one_wins(kind: str) -> None:
    channel = KINDS[kind]()
    channel.update([1, 2])
    channel.finish()
    assert seen(channel) == 2


def test_an_untracked_value_is_never_saved() -> None:
    channel = UntrackedValue(int, "x")
    channel.update([1])
    assert (seen(channel), channel.saved()) == (1, MISSING)


def test_none_is_a_value() -> None:
    channel = LastValue(Any, "x")
    assert not channel.available
    channel.update([None])
    assert channel.available
    assert channel.read() is None


# -- what opens later ------------------------------------------------------------------------------


def test_a_deferred_value_shows_when_all_is_done_and_is_consumed_once() -> None:
    channel = LastValueAfterFinish(int, "x")
    channel.update([1])
    assert not channel.available
    assert not channel.consume()
    assert (channel.finish(), channel.finish()) == (True, False)
    assert seen(channel) == 1
    assert (channel.consume(), channel.consume()) == (True, False)
    assert not channel.available


@given(st.lists(st.sampled_from(NAMES)))
def test_a_barrier_opens_when_all_have_come_in_whatever_order(order: list[str]) -> None:
    channel = NamedBarrierValue(str, "x", NAMES)
    opened = []
    for name in order:
        channel.update([name])
        opened.append(channel.available)
    assert opened == [set(order[: n + 1]) == set(NAMES) for n in range(len(order))]


def test_a_barrier_that_was_passed_closes_again() -> None:
    channel = NamedBarrierValue(str, "x", NAMES)
    assert not channel.consume()
    channel.update(["b", "a"])
    assert channel.consume()
    channel.update(["a"])
    assert not channel.available


def test_a_barrier_lets_nobody_in_that_it_does_not_know() -> None:
    with pytest.raises(InvalidUpdateError, match=r"^At key 'x': 'c' is not one of \['a', 'b'\]$"):
        NamedBarrierValue(str, "x", NAMES).update(["c"])


def test_a_deferred_barrier_needs_both_everybody_and_the_end() -> None:
    channel = NamedBarrierValueAfterFinish(str, "x", NAMES)
    channel.update(["a"])
    assert (channel.finish(), channel.available) == (False, False)
    channel.update(["b"])
    assert not channel.available
    assert (channel.finish(), channel.available) == (True, True)
    assert (channel.consume(), channel.available) == (True, False)


# -- collections -----------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers() | st.lists(st.integers(), max_size=3)), min_size=1))
def test_a_topic_holds_all_of_one_superstep_or_of_all(steps: list[list[Any]]) -> None:
    passing, accumulating = Topic(int, "x"), Topic(int, "x", accumulate=True)
    flat = [[x for write in step for x in (write if isinstance(write, list) else [write])] for step in steps]
    for step in steps:
        passing.update(step)
        accumulating.update(step)
    shown = [[] if seen(topic) is MISSING else seen(topic) for topic in (passing, accumulating)]
    assert shown == [flat[-1], [x for step in flat for x in step]]


@given(st.lists(st.lists(st.text(max_size=3), max_size=3)))
def test_a_reducer_folds_every_write_in_order(steps: list[list[str]]) -> None:
    channel = BinaryOperatorAggregate(str, operator.add, "x")
    for step in steps:
        assert channel.update(step) is bool(step)
    assert seen(channel) == "".join(write for step in steps for write in step)


@pytest.mark.parametrize(
    ("typ", "start"),
    [(int, 0), (list[int], []), (Annotated[dict[str, int], operator.or_], {}), (set[int], set())],
)
def test_a_reduced_channel_starts_with_the_neutral_value_of_its_type(typ: Any, start: Any) -> None:
    assert seen(BinaryOperatorAggregate(typ, operator.add, "x")) == start


class _NeedsArguments:
    def __init__(self, size: int) -> None:
        self.size = size


def test_a_type_without_a_neutral_value_starts_empty_and_takes_the_first_write_as_it_is() -> None:
    channel = BinaryOperatorAggregate(_NeedsArguments, lambda old, _: old, "x")
    assert not channel.available
    first = _NeedsArguments(1)
    channel.update([first, _NeedsArguments(2)])
    assert channel.read() is first


@given(st.lists(st.integers()), st.integers(), st.lists(st.integers()))
def test_an_overwrite_replaces_what_came_before_and_outranks_what_comes_after(
    before: list[int], value: int, after: list[int]
) -> None:
    channel = BinaryOperatorAggregate(int, operator.add, "x")
    channel.update([100])
    channel.update([*before, Overwrite(value), *after])
    assert seen(channel) == value


def test_two_overwrites_in_one_superstep_are_an_error() -> None:
    channel = BinaryOperatorAggregate(int, operator.add, "x")
    with pytest.raises(
        InvalidUpdateError, match=r"^At key 'x': Can receive only one Overwrite value per super-step"
    ):
        channel.update([Overwrite(1), Overwrite(2)])


def test_a_failed_merge_leaves_the_channel_as_it_was() -> None:
    channel = BinaryOperatorAggregate(list[int], operator.add, "x")
    channel.update([[1]])
    with pytest.raises(TypeError):
        channel.update([[2], 3])
    assert seen(channel) == [1]


# -- DeltaChannel, and LangGraph's own in our schemas -----------------------------------------------


def extend(current: list[Any], writes: Any) -> list[Any]:
    return [*current, [*writes]]


def states_of(lib: Any, *channels: Any) -> list[Any]:
    """Run three nodes, two of them side by side, that write to one key of each of ``channels``."""
    hints = {f"k{number}": Annotated[list, channel] for number, channel in enumerate(channels)}
    schema: Any = TypedDict("Schema", hints)  # type: ignore[misc]
    graph = lib.StateGraph(schema)
    for name, after in (("a", "__start__"), ("b", "a"), ("c", "a")):
        graph.add_node(name, lambda state, name=name: {key: [name] for key in hints})
        graph.add_edge(after, name)
    return [*graph.compile().stream({key: ["in"] for key in hints}, stream_mode="values")]


@pytest.mark.parametrize("instance", [True, False])
def test_langgraphs_channels_mean_the_same_in_our_schemas(instance: bool) -> None:
    given: list[Any] = [
        theirs.DeltaChannel(extend),
        theirs.BinaryOperatorAggregate(list, operator.add),
        theirs.Topic(list, True),
        theirs.EphemeralValue(list, False),
        theirs.UntrackedValue(list, False),
    ]
    if not instance:
        given = [theirs.AnyValue, theirs.Topic]
    assert states_of(engine, *given) == states_of(langgraph.graph, *given)


def test_a_delta_channel_of_ours_is_langgraphs() -> None:
    assert states_of(engine, engine.DeltaChannel(extend)) == states_of(
        langgraph.graph, theirs.DeltaChannel(extend)
    )
    with pytest.raises(ValueError, match="snapshot_frequency must be positive"):
        engine.DeltaChannel(extend, snapshot_frequency=0)


def test_a_delta_channel_is_overwritten_and_survives_in_a_checkpoint() -> None:
    schema: Any = TypedDict("Schema", {"log": Annotated[list, engine.DeltaChannel(extend)]})  # type: ignore[misc]
    graph = engine.StateGraph(schema).add_node("a", lambda state: {"log": engine.Overwrite(["new"])})
    graph.add_node("b", lambda state: {"log": "b"}).add_edge("__start__", "a").add_edge("a", "b")
    made = graph.compile(engine.InMemorySaver(), interrupt_before=["b"])
    config: Any = {"configurable": {"thread_id": "1"}}
    made.invoke({"log": "in"}, config)
    assert made.get_state(config).values == {"log": ["new"]}
    assert made.invoke(None, config) == {"log": ["new", ["b"]]}


def test_a_thread_that_langgraph_stored_in_pieces_is_refused() -> None:
    saver = LangGraphSaver()

    def graph(lib: Any, channel: Any, **options: Any) -> Any:
        schema: Any = TypedDict("Schema", {"log": Annotated[list, channel]})  # type: ignore[misc]
        made = lib.StateGraph(schema).add_node("a", lambda state: {"log": "a"}).add_edge("__start__", "a")
        return made.compile(saver, interrupt_before=["a"], **options)

    config: Any = {"configurable": {"thread_id": "1"}}
    graph(langgraph.graph, theirs.DeltaChannel(extend)).invoke({"log": "in"}, config)
    with pytest.raises(ValueError, match="in pieces, which can't be read here; finish the thread there"):
        graph(engine, engine.DeltaChannel(extend)).invoke(None, config)
    config = {"configurable": {"thread_id": "2"}}
    graph(langgraph.graph, theirs.DeltaChannel(extend, snapshot_frequency=1)).invoke({"log": "in"}, config)
    assert graph(engine, engine.DeltaChannel(extend)).invoke(None, config) == {"log": [["in"], ["a"]]}


class Counted:
    """An item that counts how often its likes are copied."""

    copies = 0

    def __init__(self, id: str, text: str = "", type: str = "counted") -> None:
        self.id, self.text, self.type = id, text, type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and (self.id, self.text) == (other.id, other.text)

    def __hash__(self) -> int:
        return hash(self.id)

    def __deepcopy__(self, memo: Any) -> "Counted":
        Counted.copies += 1
        return Counted(self.id, self.text)


def growing() -> BinaryOperatorAggregate:
    return BinaryOperatorAggregate(list, operator.add, "x")


def conversing() -> Conversation:
    return Conversation(list, add_messages, "x")


def written(ids: Iterable[Any], text: str = "") -> list[Message]:
    return [Message(role="user", content=text, id=str(id), extra={"counted": Counted(str(id))}) for id in ids]


@pytest.mark.parametrize("make", [growing, conversing])
def test_of_a_list_that_grows_only_what_was_written_is_copied(make: Callable[[], Any]) -> None:
    channel, copies = make(), []
    channel.update([written(range(100))])
    for more in (100, 101):
        Counted.copies = 0
        channel.update([written([more])])
        copies.append(channel.copied())
    assert Counted.copies == 1
    assert [len(whole(copy)) for copy in copies] == [101, 102]
    assert whole(copies[1]) == channel.value
    assert whole(copies[1])[0] is not channel.value[0]


def test_of_a_conversation_only_a_message_that_is_replaced_is_copied_again() -> None:
    channel = conversing()
    channel.update([written(range(100))])
    before = channel.copied()
    Counted.copies = 0
    channel.update([written([7], "anew")])
    after = channel.copied()
    assert Counted.copies == 1
    assert [m.content for m in whole(before)] == [""] * 100
    assert [m.id for m in whole(after) if m.content] == ["7"]


@pytest.mark.parametrize("make", [growing, conversing])
@pytest.mark.parametrize(
    "change", [list.pop, list.reverse, list.clear, lambda value: value.__setitem__(0, written("z")[0])]
)
def test_a_list_that_a_node_changes_in_place_is_copied_as_it_is(
    make: Callable[[], Any], change: Callable[[Any], Any]
) -> None:
    channel = make()
    channel.update([written("abc")])
    earlier = channel.copied()
    change(channel.value)
    channel.update([written("d")])
    assert whole(channel.copied()) == channel.value
    assert [m.id for m in whole(earlier)] == ["a", "b", "c"]


@pytest.mark.parametrize("make", [growing, conversing])
def test_a_list_that_is_overwritten_is_copied_as_a_whole(make: Callable[[], Any]) -> None:
    channel = make()
    channel.update([written("abc")])
    earlier = channel.copied()
    channel.update([Overwrite(written("de"))])
    assert [m.id for m in whole(channel.copied())] == ["d", "e"]
    channel.update([written("f")])
    assert [m.id for m in whole(channel.copied())] == ["d", "e", "f"]
    assert [m.id for m in whole(earlier)] == ["a", "b", "c"]


write = st.one_of(
    st.lists(st.integers(0, 5), max_size=3).map(lambda ids: written(ids, "more")),
    st.sampled_from("012345").map(RemoveMessage),
    st.just(RemoveMessage(REMOVE_ALL_MESSAGES)),
    st.lists(st.integers(0, 5), max_size=2, unique=True).map(lambda ids: Overwrite(written(ids))),
    st.just(("user", "no message yet")),
    st.just({"role": "user", "content": "no message either"}),
)


@given(st.lists(st.tuples(st.lists(write, max_size=2), st.booleans(), st.booleans()), max_size=8))
def test_a_conversation_is_what_its_reducer_makes_of_it(
    supersteps: list[tuple[list[Any], bool, bool]],
) -> None:
    ours, plain, copies = conversing(), BinaryOperatorAggregate(list, add_messages, "x"), []

    def said(messages: list[Any]) -> list[Any]:
        named = {str(id) for id in range(6)}
        return [(m.id if m.id in named else "made up", m.content) for m in messages]

    for writes, previewed, kept in supersteps:
        outcomes = []
        for channel in (ours, plain):
            try:
                if previewed and writes:
                    assert said(channel.preview(writes)) is not None
                outcomes.append(channel.update(writes))
            except (ValueError, InvalidUpdateError) as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
        assert said(ours.value) == said(plain.value)
        if kept:
            copies.append((ours.copied(), said(ours.value)))
    assert [said(whole(copy)) for copy, _ in copies] == [then for _, then in copies]
