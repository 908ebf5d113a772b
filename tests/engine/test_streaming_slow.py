"""Streams of runs: what becomes of the parts that a consumer does not take in time."""

import contextlib
from typing import Any

import anyio
import pytest

from engine import StreamWriter
from engine.api import pull
from otel_stream.config import Custom, OverflowPolicy, StreamConfig
from otel_stream.stream.receiver import ReceiverOverflowError, StreamReceiver
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
    accounts = [shown, *shown.by_mode.values()]
    return (
        all(
            one.offered == one.delivered + one.dropped + one.sampled_out + one.filtered + one.held
            for one in accounts
        )
        and sum(mode.offered for mode in shown.by_mode.values()) == shown.offered
        and sum(shown.reasons.values()) == shown.dropped
    )


POLICIES: dict[str, tuple[list[Any], int]] = {
    "drop_oldest": ([("gap", 7), 7, 8, 9], 7),
    "drop_newest": ([("gap", 7), 0, 1, 2], 7),
    "coalesce": ([("gap", 7), 0, 1, 9], 7),
    "error": ([0, 1, 2], 1),
}


@pytest.mark.clause("S-OVF-4", "S-OVF-5", "S-OVF-6")
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


@pytest.mark.clause("S-OVF-1", "S-OVF-2")
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


@pytest.mark.clause("S-ACC-1", "S-ACC-2")
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


@pytest.mark.clause("S-OVF-7")
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


@pytest.mark.clause("S-ERR-4")
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


# -- inside a long node ----------------------------------------------------------------------------


async def _awaits(state: Any, writer: Any) -> None:
    for number in range(50):
        await writer.write(number)


def _blocks(state: Any, writer: Any) -> None:
    for number in range(50):
        writer.write_blocking(number)


@pytest.mark.clause("S-OVF-3")
@pytest.mark.parametrize("node", [_awaits, _blocks])
async def test_a_long_node_that_waits_for_room_is_never_more_than_a_part_ahead(node: Any) -> None:
    config = StreamConfig(modes="custom", buffer_size=4)
    async with compiled(a=node).open_stream({"log": []}, config) as stream:
        assert [part.data async for part in stream] == list(range(50))
        shown = stream.receivers[0].statistics()
    assert shown.high_water <= 4 + 1
    assert (shown.delivered, shown.dropped) == (50, 0)


@pytest.mark.clause("S-OVF-3")
@pytest.mark.parametrize("node", [_awaits, _blocks])
async def test_a_node_of_a_subgraph_waits_for_the_readers_of_the_run_around_it(node: Any) -> None:
    config = StreamConfig(modes="custom", buffer_size=4, subgraphs=True)
    nested = compiled(outer=compiled(name="inner", a=node))
    async with nested.open_stream({"log": []}, config) as stream:
        assert [part.data async for part in stream] == list(range(50))
        assert stream.receivers[0].statistics().high_water <= 4 + 1


@pytest.mark.clause("S-OVF-3")
@pytest.mark.parametrize("node", [_awaits, _blocks])
async def test_astream_lets_a_node_that_awaits_its_writes_run_ahead_only_so_far(
    node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "_AHEAD", 4)
    written: list[int] = []

    def counted(writer: Any) -> Any:
        class Counting:
            async def write(self, data: int) -> None:
                written.append(data)
                await writer.write(data)

            def write_blocking(self, data: int) -> None:
                written.append(data)
                writer.write_blocking(data)

        return Counting()

    async def asynchronous(state: Any, writer: Any) -> None:
        await _awaits(state, counted(writer))

    def synchronous(state: Any, writer: Any) -> None:
        _blocks(state, counted(writer))

    graph = compiled(a=asynchronous if node is _awaits else synchronous)
    got, ahead = [], []
    async for part in graph.astream({"log": []}, stream_mode="custom"):
        got.append(part)
        ahead.append(len(written) - len(got))
    assert got == list(range(50))
    assert max(ahead) <= 4 + 2  # and one that is being written


def test_stream_makes_a_node_that_waits_for_room_wait_in_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pull, "_AHEAD", 4)
    assert list(compiled(a=_blocks).stream({"log": []}, stream_mode="custom")) == list(range(50))
    assert list(compiled(a=_blocks).stream({"log": []}, stream_mode="updates")) == [{"a": None}]
    assert compiled(a=_blocks).invoke({"log": []}) == {"log": []}


async def test_blocking_an_event_loop_is_refused() -> None:
    async def node(state: Any, writer: Any) -> None:
        writer.write_blocking(1)

    with pytest.raises(RuntimeError) as caught:
        await compiled(a=node).ainvoke({"log": []})
    assert str(caught.value) == (
        "write_blocking would block the event loop: await writer.write(...), or use a sync node"
    )


# -- consumers that fail ---------------------------------------------------------------------------


@pytest.mark.clause("S-ERR-4", "S-ACC-3")
async def test_a_consumer_that_raises_and_one_that_stops_harm_nobody_and_the_account_says_so() -> None:
    """Each reads in a task of its own: the run and the third one lose nothing."""
    configs = [StreamConfig(modes="custom", name=name) for name in ("raises", "stops", "reads")]
    got: list[Any] = []

    async def raises(receiver: StreamReceiver) -> None:
        with contextlib.suppress(KeyError):
            async with receiver:
                async for part in receiver:
                    if part.data == 2:
                        raise KeyError("mine")

    async def stops(receiver: StreamReceiver) -> None:
        assert (await anext(receiver)).data == 0

    async def reads(receiver: StreamReceiver) -> None:
        got.extend([part.data async for part in receiver])

    async with chatty().open_stream({"log": []}, *configs) as stream, anyio.create_task_group() as group:
        for read, receiver in zip((raises, stops, reads), stream.receivers, strict=True):
            group.start_soon(read, receiver)
        assert await stream.wait() == {"log": ["done"]}
    assert got == list(range(10))
    accounts = [receiver.statistics() for receiver in stream.receivers]
    assert [sums_up(receiver) for receiver in stream.receivers] == [True] * 3
    assert [(one.offered, one.delivered) for one in accounts[1:]] == [(10, 1), (10, 10)]
    assert accounts[0].delivered == 3
    # What nobody came for is told apart from what a policy let go.
    assert [set(one.reasons) <= {"closed"} for one in accounts] == [True] * 3
