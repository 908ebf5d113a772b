"""How a stream is opened: with one config, several or none, on an event loop or without, and by mistake."""

import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest

from engine import END, START, ExecutionEngine, InMemorySaver, StateGraph
from otel_stream import Aggregate, ConfigError, Custom, StreamConfig
from otel_stream.events import End
from otel_stream.filters import Where


class State(TypedDict):
    n: Annotated[int, operator.add]


def node(state: Any, runtime: Any) -> dict[str, Any]:
    runtime.stream_writer(state["n"])
    return {"n": 1}


def counting(**options: Any) -> Any:
    """A graph of ten supersteps."""
    builder = StateGraph(State).add_node("a", node).add_edge(START, "a")
    return builder.add_conditional_edges("a", lambda s: "a" if s["n"] < 10 else END).compile(**options)


def living() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("graph run")}


@pytest.mark.clause("S-THR-1")
def test_without_an_event_loop_a_run_has_a_thread_and_its_parts_are_iterated_in_this_one() -> None:
    with counting().open_stream({"n": 0}, StreamConfig(modes=("custom", "updates"), buffer_size=1)) as stream:
        got = [(part.type, part.data) for part in stream]
    assert got == [each for n in range(10) for each in (("custom", n), ("updates", {"a": {"n": 1}}))]
    assert (stream.result, stream.end) == ({"n": 10}, End.OK)
    assert living() == set()


@pytest.mark.clause("S-END-1", "S-END-5")
def test_leaving_it_without_an_event_loop_abandons_the_run() -> None:
    with counting().open_stream({"n": 0}, StreamConfig(modes="custom", buffer_size=1)) as stream:
        assert next(iter(stream)).data == 0
    assert stream.end is End.ABANDONED
    assert living() == set()


@pytest.mark.clause("S-END-4")
def test_a_node_in_the_run_s_thread_is_told_and_waited_for() -> None:
    inside, left = threading.Event(), []

    def stay(state: Any, runtime: Any) -> dict[str, Any]:
        inside.set()
        while not runtime.cancelled:
            threading.Event().wait(0.001)
        left.append(True)
        return {"n": 1}

    graph = StateGraph(State).add_node("stay", stay).add_node("next", stay)
    graph.add_edge(START, "stay").add_edge("stay", "next")
    with graph.compile().open_stream({"n": 0}) as stream:
        assert inside.wait(20)
    assert (left, stream.end) == ([True], End.ABANDONED)


@pytest.mark.clause("S-ERR-1")
def test_an_error_without_an_event_loop_is_raised_after_the_last_part() -> None:
    def boom(state: Any) -> None:
        raise ValueError("boom")

    graph = StateGraph(State).add_node("a", node).add_node("b", boom).add_edge(START, "a").add_edge("a", "b")
    got = []
    with (
        pytest.raises(ValueError, match="boom"),
        graph.compile().open_stream({"n": 0}, StreamConfig(modes="custom")) as stream,
    ):
        got += list(stream)
    assert stream.end is End.ERROR


async def test_without_a_config_there_is_one_receiver_of_all_defaults() -> None:
    async with counting().open_stream({"n": 0}) as stream:
        got = [part.type async for part in stream]
    assert got == ["updates"] * 10
    assert stream.receivers[0].config == StreamConfig()


async def test_with_blocks_no_event_loop() -> None:
    with (
        pytest.raises(RuntimeError, match="'with' would block the event loop; use 'async with'"),
        counting().open_stream({"n": 0}),
    ):
        pass


@pytest.mark.parametrize(
    "misuse",
    [
        lambda stream: stream.__aiter__(),
        iter,
        lambda stream: stream.run_id,
        lambda stream: stream.wait().send(None),
    ],
    ids=["async for", "for", "run_id", "wait"],
)
async def test_what_is_asked_before_the_run_has_begun_says_so(misuse: Any) -> None:
    with pytest.raises(RuntimeError, match="the run has not begun; enter it: 'async with"):
        misuse(counting().open_stream({"n": 0}))


async def test_a_run_begins_once() -> None:
    stream = counting().open_stream({"n": 0})
    async with stream:
        with pytest.raises(RuntimeError, match="has begun already; call it again"):
            await stream.__aenter__()
        assert await stream == {"n": 10}
    with pytest.raises(RuntimeError, match="has begun already"):
        await stream.__aenter__()


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("values", "StreamConfig(modes='values')"),
        ({"modes": "values", "ttl": 1}, "StreamConfig(modes=..., ttl=...)"),
        (3, "StreamConfig(modes=...)"),
        ({"configurable": {"thread_id": "1"}}, "config=..."),
    ],
)
async def test_what_is_no_config_is_named_wherever_one_is_expected(given: Any, remedy: str) -> None:
    graph, engine = counting(), ExecutionEngine()
    sentence = f"stream: {given!r} is no StreamConfig; give {remedy}"
    for use in (
        lambda: graph.open_stream({"n": 0}, given),
        lambda: engine.stream(given).send(None),
        lambda: engine.stream_multi(given).send(None),
        lambda: engine.execute_with_stream(graph, {"n": 0}, given).send(None),
    ):
        with pytest.raises(ConfigError) as refused:
            use()
        assert str(refused.value) == sentence


async def test_tee_takes_configs_one_by_one_or_together_or_a_number() -> None:
    one, two = StreamConfig(modes="custom"), StreamConfig(modes="values")
    async with counting().open_stream({"n": 0}) as stream:
        for tee in (stream.tee, stream.receivers[0].tee):
            assert [made.config for made in tee(one)] == [one]
            assert [made.config for made in tee(one, two)] == [one, two]
            assert [made.config for made in tee([one, two])] == [one, two]
            assert (len(tee()), len(tee(3))) == (2, 3)
            with pytest.raises(ConfigError, match="'values' is no StreamConfig"):
                tee("values")


async def test_a_run_that_is_refused_leaves_nothing_on_a_lasting_receiver() -> None:
    engine, graph = ExecutionEngine(), counting(checkpointer=InMemorySaver())
    lasting = await engine.stream(StreamConfig())
    for _ in range(3):
        with pytest.raises(ValueError, match="thread_id"):
            await engine.execute(graph, {"n": 0})
    assert lasting.sources == (engine,)
    await engine.execute(graph, {"n": 0}, {"configurable": {"thread_id": "1"}})
    assert lasting.statistics().offered == 10


async def once(part: Any) -> bool:
    return True


class Asks:
    async def accept(self, part: Any) -> bool:
        return True


class Called:
    async def __call__(self, part: Any) -> bool:
        return True


class Sampler:
    async def should_sample(self, *args: Any, **more: Any) -> bool:
        return True


@pytest.mark.clause("S-FIL-4")
@pytest.mark.parametrize(
    "make",
    [
        lambda: StreamConfig(filter=once),
        lambda: StreamConfig(filter=Asks()),
        lambda: StreamConfig(filter=Called()),
        lambda: StreamConfig(sampler=Sampler()),
        lambda: Custom(once, "mine"),
    ],
)
def test_what_would_have_to_be_awaited_is_refused_when_it_is_given(make: Any) -> None:
    with pytest.raises(ConfigError, match="is async, and nothing awaits it; give a plain function"):
        make()


@pytest.mark.clause("S-FIL-4")
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda call: StreamConfig(filter=call), "StreamConfig.filter: {} can't be called with a part alone"),
        (lambda call: Custom(call, "mine"), "Custom.fn: {} can't be called with an event alone"),
        (Where, "filter: {} can't be called with a part alone"),
        (lambda call: Aggregate(2, by=call), "Aggregate.by: {} can't be called with a part alone"),
        (lambda call: Aggregate(2, reduce=call), "Aggregate.reduce: {} can't be called with a list alone"),
    ],
)
@pytest.mark.parametrize("call", [lambda: True, lambda part, state: True, lambda *, part: True])
def test_what_takes_another_number_of_arguments_is_refused_when_it_is_given(
    make: Any, sentence: str, call: Any
) -> None:
    with pytest.raises(ConfigError) as refused:
        make(call)
    assert str(refused.value) == f"{sentence.format(repr(call))}; give a function of one argument"
    make(lambda part, more=None, *rest, **kwargs: True)
    make(bool)
