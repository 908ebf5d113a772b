"""A run that waits for a receiver nobody reads: named in a warning, and in time to whoever awaits the run."""

import contextlib
import threading
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from engine import ExecutionEngine, StreamWriter
from otel_stream import StreamDeadlockError, StreamReceiver
from otel_stream.config import StreamConfig
from otel_stream.filters import Node
from tests.engine.samples import compiled, drained, side_by_side

#: Five parts a node, room for one.
TIGHT = StreamConfig(modes="custom", buffer_size=1, name="ui")
ALL = [0, 1, 2, 3, 4] * 2


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamReceiver, "stall_timeout", 0.01)


def five(state: Any, writer: StreamWriter) -> None:
    for number in range(5):
        writer(number)


def chatty() -> Any:
    return compiled(a=five, b=five)


async def read(receiver: Any, got: list[Any]) -> None:
    got.extend([part.data for part in await drained(receiver)])


@pytest.mark.clause("S-OVF-8")
async def test_who_awaits_a_run_that_nobody_reads_is_told_so(impatient: None) -> None:
    run, receiver = await ExecutionEngine().execute_with_stream(chatty(), {}, TIGHT)
    with anyio.fail_after(10), pytest.raises(StreamDeadlockError) as caught:
        await run
    assert str(caught.value) == (
        "the run waits for receiver 'ui', whose buffer of 1 parts is full, and nobody has read it for "
        "0.01 s: read it first, or in a task beside, close it, or choose an overflow policy other than "
        "'block'"
    )
    # Nothing is lost by it: the advice can be followed.
    assert [part.data for part in await drained(receiver)] == ALL
    assert await run == {"log": []}


async def test_it_does_not_matter_where_the_receiver_is_kept(impatient: None) -> None:
    async with chatty().open_stream({"log": []}, TIGHT) as stream:
        kept = {"all": [stream.receivers]}
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError):
            await stream.wait()
    assert kept["all"][0][0].closed
    assert stream.end is not None
    assert stream.end.value == "abandoned"


async def test_a_receiver_with_a_filter_is_found_out_too(impatient: None) -> None:
    choosy = replace(TIGHT, filter=Node("*"))
    async with chatty().open_stream({"log": []}, choosy) as stream:
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError):
            await stream.wait()


async def test_a_receiver_of_every_run_that_nobody_reads_is_named_too(impatient: None) -> None:
    async with ExecutionEngine() as engine:
        receiver = await engine.stream(TIGHT)
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError, match="'ui'"):
            await engine.execute(chatty(), {})
        assert receiver.statistics().delivered == 0


async def test_a_node_that_awaits_its_writes_is_no_different(impatient: None) -> None:
    async def node(state: Any, writer: StreamWriter) -> None:
        for number in range(5):
            await writer.write(number)  # type: ignore[attr-defined]

    async with compiled(a=node).open_stream({"log": []}, TIGHT) as stream:
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError):
            await stream.wait()


@pytest.mark.clause("S-OVF-8")
async def test_a_reader_who_comes_late_is_no_deadlock() -> None:
    """Nobody holds the receiver but a registry, and nothing tells that it will be read."""
    got: list[Any] = []
    begin = anyio.Event()
    registry: dict[str, Any] = {}

    async def later() -> None:
        await begin.wait()
        await read(registry["receiver"], got)

    run, registry["receiver"] = await ExecutionEngine().execute_with_stream(chatty(), {}, TIGHT)
    async with anyio.create_task_group() as group:
        group.start_soon(later)
        await let_the_run_wait(registry["receiver"])
        group.start_soon(let_begin, begin)
        assert await run == {"log": []}
    assert got == ALL


async def let_the_run_wait(receiver: Any) -> None:
    while not (receiver.over_capacity or receiver.statistics().delivered):
        await anyio.lowlevel.checkpoint()


async def let_begin(begin: anyio.Event) -> None:
    await anyio.wait_all_tasks_blocked()
    begin.set()


@pytest.mark.clause("S-OVF-8")
@pytest.mark.parametrize("started", [True, False])
async def test_a_reader_in_another_thread_is_no_deadlock(started: bool) -> None:
    got: list[Any] = []
    begin, ready = threading.Event(), threading.Event()
    run, receiver = await ExecutionEngine().execute_with_stream(chatty(), {}, TIGHT)

    def reader(mine: Any) -> None:
        ready.set()
        assert begin.wait(20)
        got.extend(part.data for part in mine)

    thread = threading.Thread(target=reader, args=(receiver,))
    if started:
        thread.start()
        ready.wait(20)
    async with anyio.create_task_group() as group:
        group.start_soon(let_thread_begin, thread, begin)
        assert await run == {"log": []}
    await anyio.to_thread.run_sync(thread.join)
    assert got == ALL


async def let_thread_begin(thread: threading.Thread, begin: threading.Event) -> None:
    await anyio.wait_all_tasks_blocked()
    begin.set()
    if thread.ident is None:
        thread.start()


@pytest.mark.clause("S-OVF-9")
async def test_a_receiver_that_was_never_read_is_named_before_the_run_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The warning comes after a second, the error only after ``stall_timeout``."""
    async with chatty().open_stream({"log": []}, TIGHT) as stream, anyio.create_task_group() as group:
        group.start_soon(close_when_warned, caplog, stream.receivers[0])
        assert await stream.wait() == {"log": []}
    assert ["'ui'" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.clause("S-OVF-9")
async def test_several_nodes_that_wait_for_the_same_receiver_warn_of_it_once(
    caplog: pytest.LogCaptureFixture, impatient: None
) -> None:
    async def node(state: Any, writer: StreamWriter) -> None:
        await writer.write(1)  # type: ignore[attr-defined]
        await writer.write(2)  # type: ignore[attr-defined]

    async with side_by_side(a=node, b=node, c=node).open_stream({"log": []}, TIGHT) as stream:
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError):
            await stream.wait()
    assert len(caplog.records) == 1


async def close_when_warned(caplog: pytest.LogCaptureFixture, receiver: StreamReceiver) -> None:
    while not caplog.records:
        await anyio.lowlevel.checkpoint()
    receiver.close()


async def test_a_run_that_has_room_is_just_awaited() -> None:
    roomy = StreamConfig(modes="custom", buffer_size=10)
    async with chatty().open_stream({"log": []}, roomy) as stream:
        assert await stream.wait() == {"log": []}
        with contextlib.suppress(StopAsyncIteration):
            assert (await anext(stream.receivers[0])).data == 0
