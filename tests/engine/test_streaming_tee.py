"""Receivers that come later: clones and tees, with policies of their own, from anywhere."""

import asyncio
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from engine import ExecutionEngine, StreamWriter
from otel_stream.config import ConfigError, OverflowPolicy, StreamConfig
from otel_stream.events import End
from otel_stream.stream.receiver import StreamReceiver
from tests.engine.samples import boom, compiled, drained, say

CUSTOM = StreamConfig(modes="custom", name="first")


class Steps:
    """A node that writes a number whenever it is let go on."""

    def __init__(self, count: int = 4) -> None:
        self.gates = [anyio.Event() for _ in range(count)]
        self.wrote = [anyio.Event() for _ in range(count)]

    async def __call__(self, state: Any, writer: StreamWriter) -> None:
        for number, gate in enumerate(self.gates):
            await gate.wait()
            writer(number)
            self.wrote[number].set()

    async def go(self, *numbers: int) -> None:
        for number in numbers:
            self.gates[number].set()
            await self.wrote[number].wait()


async def data(receiver: StreamReceiver) -> list[Any]:
    return [part.data if part.type != "gap" else "gap" for part in await drained(receiver)]


@pytest.mark.clause("S-DEL-7")
async def test_a_clone_begins_now_and_has_a_policy_and_an_account_of_its_own() -> None:
    steps = Steps()
    async with compiled(a=steps).open_stream({"log": []}, CUSTOM) as stream:
        first = stream.receivers[0]
        await steps.go(0)
        clone = first.clone(overflow="drop_oldest", buffer_size=1)
        await steps.go(1, 2, 3)
        assert await data(first) == [0, 1, 2, 3]
        assert await data(clone) == ["gap", 3]
    assert (clone.config.modes, clone.config.overflow, clone.end) == (
        ("custom",),
        OverflowPolicy.DROP_OLDEST,
        End.OK,
    )
    assert clone.name != first.name == "first"
    assert (first.statistics().dropped, clone.statistics().dropped) == (0, 2)
    assert (first.statistics().offered, clone.statistics().offered) == (4, 3)


@pytest.mark.clause("S-DEL-7")
async def test_the_branches_of_a_tee_begin_at_the_same_part() -> None:
    steps = Steps()
    async with compiled(a=steps).open_stream({"log": []}, CUSTOM) as stream:
        await steps.go(0)
        two = stream.receivers[0].tee()
        own = stream.receivers[0].tee([StreamConfig(modes="updates"), StreamConfig(modes="custom")])
        await steps.go(1, 2, 3)
        assert [await data(one) for one in two] == [[1, 2, 3]] * 2
        assert [await data(one) for one in own] == [[{"a": None}], [1, 2, 3]]
        assert await data(stream.receivers[0]) == [0, 1, 2, 3]


@pytest.mark.clause("S-DEL-6")
async def test_a_stream_takes_more_receivers_while_it_runs_and_closes_them_with_itself() -> None:
    steps = Steps()
    async with compiled(a=steps).open_stream({"log": []}, CUSTOM) as stream:
        await steps.go(0)
        (late,) = stream.tee([CUSTOM])
        await steps.go(1)
        first, second = stream.tee(2)
        assert stream.receivers[1:] == (late, first, second)
        await steps.go(2)
        assert [part.data for part in iter(late.take_nowait, None)] == [1, 2]
    assert [one.closed for one in stream.receivers] == [True] * 4
    assert [one.statistics().reasons for one in (first, second)] == [{"closed": 1}] * 2


@pytest.mark.clause("S-DEL-6")
@pytest.mark.parametrize("node", [say("a"), boom])
async def test_who_comes_after_the_end_gets_just_that(node: Any) -> None:
    async with compiled(a=node).open_stream({"log": []}, CUSTOM) as stream:
        failed: list[str] = []
        for receiver in (stream.receivers[0], stream.receivers[0].clone(), *stream.tee(1)):
            try:
                assert await drained(receiver) == []
            except ValueError as error:
                failed.append(str(error))
    assert failed == (["kaboom"] * 3 if node is boom else [])
    assert {receiver.end for receiver in stream.receivers} == {End.ERROR if failed else End.OK}


async def test_a_clone_of_a_lasting_receiver_sees_the_runs_to_come() -> None:
    async with ExecutionEngine() as engine:
        first = await engine.stream(StreamConfig(modes="updates"))
        await engine.execute(compiled(a=say("a")), {"log": []})
        clone = first.clone()
        await engine.execute(compiled(b=say("b")), {"log": []})
        assert [[part.node for part in iter(one.take_nowait, None)] for one in (first, clone)] == [
            ["a", "b"],
            ["b"],
        ]
        clone.close()
        await engine.execute(compiled(c=say("c")), {"log": []})
        assert [part.node for part in iter(first.take_nowait, None)] == ["c"]
    assert clone.closed


def test_what_cannot_be_cloned_says_so() -> None:
    receiver = StreamReceiver(CUSTOM)
    with pytest.raises(ConfigError, match=r"^tee: 0 is no number of branches; give 1 or more, or one config"):
        receiver.tee(0)
    with pytest.raises(ConfigError, match=r"^StreamConfig.buffer_size: 0 is no size"):
        receiver.clone(buffer_size=0)
    receiver.close()
    with pytest.raises(RuntimeError) as caught:
        receiver.clone()
    assert str(caught.value) == (
        "receiver 'first' has left its stream: clone it earlier, or ask the stream itself"
    )


READERS = {
    "a thread": lambda one: [part.data for part in one],
    "asyncio beside": lambda one: asyncio.run(data(one)),
    "trio beside": lambda one: trio.run(data, one),
}


@pytest.mark.clause("S-DEL-6", "S-THR-1")
@pytest.mark.parametrize("where", READERS)
async def test_a_late_subscriber_in_another_thread_and_on_another_event_loop(where: str) -> None:
    """A run on one event loop, `block` included, and a consumer that comes later, somewhere else."""
    steps, got = Steps(20), []
    async with compiled(a=steps, b=say("b")).open_stream({"log": []}, CUSTOM) as stream:
        await steps.go(0)
        (late,) = stream.tee([StreamConfig(modes="custom", buffer_size=2)])
        thread = threading.Thread(target=lambda: got.extend(READERS[where](late)))
        thread.start()
        await steps.go(*range(1, 20))
        assert await data(stream.receivers[0]) == list(range(20))
        await anyio.to_thread.run_sync(thread.join)
    assert got == list(range(1, 20))
