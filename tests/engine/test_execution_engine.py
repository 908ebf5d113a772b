"""``ExecutionEngine``: receivers that were there before a run, and stay on after it."""

import gc
import operator
from typing import Annotated, Any, TypedDict

import anyio
import pytest

from engine import START, ExecutionEngine, StateGraph, StreamWriter
from otel_stream.config import ConfigError, StreamConfig
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def node(state: Any, writer: StreamWriter) -> dict[str, Any]:
    writer("working")
    return {"log": ["a"]}


def graph(name: str = "g", action: Any = node) -> Any:
    return StateGraph(State).add_node("a", action).add_edge(START, "a").compile(name=name)


def boom(state: Any) -> None:
    raise ValueError("kaboom")


async def drained(receiver: StreamReceiver) -> list[StreamPart]:
    return [part async for part in receiver]


def held(receiver: StreamReceiver) -> list[Any]:
    return [part.data for part in iter(receiver.take_nowait, None)]


UPDATE = {"a": {"log": ["a"]}}
UPDATES, CUSTOM, VALUES = (StreamConfig(modes=mode) for mode in ("updates", "custom", "values"))


async def test_a_run_and_its_receiver_come_together() -> None:
    engine = ExecutionEngine()
    run, receiver = await engine.execute_with_stream(graph(), {"log": ["in"]}, VALUES)
    assert [part.data async for part in receiver] == [{"log": ["in"]}, {"log": ["in", "a"]}]
    assert await run == {"log": ["in", "a"]}
    assert await run == run.result


async def test_the_run_goes_on_whether_or_not_its_receiver_is_read() -> None:
    run, receiver = await ExecutionEngine().execute_with_stream(graph(), {}, UPDATES)
    assert await run == {"log": ["a"]}
    assert [part.data for part in await drained(receiver)] == [UPDATE]


@pytest.mark.clause("S-END-10")
async def test_the_run_goes_on_though_nobody_holds_it() -> None:
    go_on, ended = anyio.Event(), anyio.Event()

    async def wait(state: Any) -> dict[str, Any]:
        await go_on.wait()
        ended.set()
        return {"log": ["a"]}

    async def start() -> StreamReceiver:
        _, receiver = await ExecutionEngine().execute_with_stream(graph("g", wait), {}, UPDATES)
        return receiver

    receiver = await start()
    gc.collect()
    go_on.set()
    assert [part.data for part in await drained(receiver)] == [UPDATE]
    assert ended.is_set()


async def test_several_configs_give_several_receivers() -> None:
    run, receivers = await ExecutionEngine().execute_with_stream(graph(), {}, [UPDATES, CUSTOM])
    await run
    assert [[part.data for part in await drained(one)] for one in receivers] == [[UPDATE], ["working"]]


async def test_a_receiver_sees_every_run_from_now_on() -> None:
    async with ExecutionEngine() as engine:
        await engine.execute(graph("before"), {})
        receiver = await engine.stream(UPDATES)
        assert await engine.execute(graph("one"), {}) == {"log": ["a"]}
        run, _ = await engine.execute_with_stream(graph("two"), {}, CUSTOM)
        await run
        parts = list(iter(receiver.take_nowait, None))
        assert [(part.graph, part.data) for part in parts] == [("one", UPDATE), ("two", UPDATE)]
        assert len({part.run_id for part in parts}) == 2
        assert parts[0].seq == 0
        assert not receiver.closed


async def test_stream_multi_gives_one_receiver_per_config() -> None:
    async with ExecutionEngine() as engine:
        receivers = await engine.stream_multi([UPDATES, CUSTOM, VALUES])
        await engine.execute(graph(), {})
        assert [held(one) for one in receivers] == [[UPDATE], ["working"], [{"log": ["a"]}]]


async def test_a_run_that_was_there_first_does_not_reach_who_comes_later() -> None:
    go_on = anyio.Event()

    async def wait(state: Any) -> dict[str, Any]:
        await go_on.wait()
        return {"log": ["a"]}

    async with ExecutionEngine() as engine:
        first, _ = await engine.execute_with_stream(graph("first", wait), {}, VALUES)
        late = await engine.stream(UPDATES)
        second, _ = await engine.execute_with_stream(graph("second", wait), {}, VALUES)
        go_on.set()
        await first
        await second
        assert [part.graph for part in iter(late.take_nowait, None)] == ["second"]


async def test_runs_at_once_are_told_apart_by_their_run_id() -> None:
    met, inside = anyio.Event(), []

    async def meet(state: Any, writer: StreamWriter) -> None:
        writer("in")
        inside.append(1)
        if len(inside) == 3:
            met.set()
        await met.wait()
        writer("out")

    async with ExecutionEngine() as engine:
        receiver = await engine.stream(CUSTOM)
        runs = [(await engine.execute_with_stream(graph(f"g{n}", meet), {}, UPDATES))[0] for n in range(3)]
        for run in runs:
            await run
        parts = list(iter(receiver.take_nowait, None))
    by_run = {run.run_id: [(p.seq, p.data) for p in parts if p.run_id == run.run_id] for run in runs}
    assert [[data for _, data in told] for told in by_run.values()] == [["in", "out"]] * 3
    assert all(one[0] < other[0] for one, other in by_run.values())


async def test_the_end_of_a_run_is_no_end_for_a_lasting_receiver_but_the_engines_is() -> None:
    engine = ExecutionEngine()
    receiver = await engine.stream(StreamConfig(modes="updates", include_end=True))
    await engine.execute(graph(), {})
    await engine.execute(graph(), {})
    assert [part.type for part in iter(receiver.take_nowait, None)] == ["updates", "end", "updates", "end"]
    await engine.aclose()
    assert receiver.closed
    assert await drained(receiver) == []


async def test_a_failed_run_breaks_no_lasting_receiver() -> None:
    async with ExecutionEngine() as engine:
        receiver = await engine.stream(UPDATES)
        with pytest.raises(ValueError, match="kaboom"):
            await engine.execute(graph("bad", boom), {})
        await engine.execute(graph(), {})
        assert held(receiver) == [UPDATE]


async def test_the_receiver_of_a_failed_run_raises_what_the_run_raised() -> None:
    run, receiver = await ExecutionEngine().execute_with_stream(graph("bad", boom), {}, UPDATES)
    with pytest.raises(ValueError, match="kaboom"):
        await drained(receiver)
    with pytest.raises(ValueError, match="kaboom"):
        await run


async def test_a_receiver_that_was_closed_is_forgotten() -> None:
    async with ExecutionEngine() as engine:
        left = await engine.stream(UPDATES)
        stays = await engine.stream(UPDATES)
        left.close()
        await engine.execute(graph(), {})
        assert (held(left), held(stays)) == ([], [UPDATE])
        assert list(engine._receivers) == [stays]


async def test_a_lasting_receiver_can_be_read_while_runs_come_and_go() -> None:
    got: list[Any] = []

    async def read(receiver: StreamReceiver) -> None:
        got.extend([part.data async for part in receiver])

    async with anyio.create_task_group() as group, ExecutionEngine() as engine:
        receiver = await engine.stream(StreamConfig(modes="updates", buffer_size=1))
        group.start_soon(read, receiver)
        for _ in range(5):
            await engine.execute(graph(), {})
        while receiver.statistics().held:
            await anyio.lowlevel.checkpoint()
    assert got == [UPDATE] * 5


async def test_leaving_the_run_stops_it() -> None:
    cancelled = anyio.Event()
    here = anyio.Event()

    async def forever(state: Any) -> None:
        here.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    run, receiver = await ExecutionEngine().execute_with_stream(graph("g", forever), {}, UPDATES)
    await here.wait()
    await run.aclose()
    assert cancelled.is_set()
    assert run.end is not None
    assert (run.end.value, receiver.closed) == ("abandoned", True)


async def test_a_config_that_cannot_be_meant_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError):
        await ExecutionEngine().stream(StreamConfig(modes="nope"))  # type: ignore[arg-type]


async def test_what_is_no_compiled_graph_is_refused_in_a_sentence() -> None:
    others: list[Any] = [5, None, StateGraph(dict)]
    for other in others:
        engine, refused = ExecutionEngine(), r"graph is a .*, no compiled graph of the engine; compile\(\)"
        with pytest.raises(TypeError, match=refused):
            await engine.execute(other, {})
        with pytest.raises(TypeError, match=refused):
            await engine.execute_with_stream(other, {}, UPDATES)
