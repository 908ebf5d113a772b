"""Streams of runs: what becomes of the parts that a consumer does not take in time."""

import contextlib
from typing import Any

import pytest

from engine import (
    StreamWriter,
)
from otel_stream.config import Custom, OverflowPolicy, StreamConfig
from otel_stream.receiver import ReceiverOverflowError, StreamReceiver
from tests.engine.samples import compiled, drained, two_steps

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
                lost = ("gap", part.data["dropped"]) if part.type == "gap" else None
                got.append(lost or part.data)
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
