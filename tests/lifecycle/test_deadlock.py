"""A run that waits for a reader who waits for the run: named where that is certain, and nowhere else."""

import contextlib
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from engine import ExecutionEngine, StreamWriter
from otel_stream import StreamDeadlockError
from otel_stream.config import StreamConfig
from otel_stream.filters import Node
from tests.engine.samples import compiled, drained

#: Five parts a node, room for one.
TIGHT = StreamConfig(modes="custom", buffer_size=1, name="ui")
ALL = [0, 1, 2, 3, 4] * 2


def five(state: Any, writer: StreamWriter) -> None:
    for number in range(5):
        writer(number)


def chatty() -> Any:
    return compiled(a=five, b=five)


async def read(receiver: Any, got: list[Any]) -> None:
    got.extend([part.data for part in await drained(receiver)])


@pytest.mark.clause("S-OVF-8")
async def test_who_awaits_a_run_that_only_he_could_read_is_told_so() -> None:
    run, receiver = await ExecutionEngine().execute_with_stream(chatty(), {}, TIGHT)
    with anyio.fail_after(10), pytest.raises(StreamDeadlockError) as caught:
        await run
    assert str(caught.value) == (
        "the run waits for receiver 'ui', whose buffer of 1 parts is full, while the only code that could "
        "read it awaits the run: read the receiver first, or in a task beside, close it, or choose an "
        "overflow policy other than 'block'"
    )
    # Nothing is lost by it: the advice can be followed.
    assert [part.data for part in await drained(receiver)] == ALL
    assert await run == {"log": []}


async def test_it_does_not_matter_where_the_receiver_is_kept() -> None:
    async with chatty().open_stream({"log": []}, TIGHT) as stream:
        kept = {"all": [stream.receivers]}
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError):
            await stream.wait()
    assert kept["all"][0][0].closed
    assert stream.end is not None
    assert stream.end.value == "abandoned"


async def test_a_receiver_with_a_filter_is_found_out_too() -> None:
    choosy = TIGHT.model_copy(update={"filter": Node("*")})
    async with chatty().open_stream({"log": []}, choosy) as stream:
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError):
            await stream.wait()


async def test_a_receiver_of_every_run_that_nobody_reads_is_named_too() -> None:
    async with ExecutionEngine() as engine:
        receiver = await engine.stream(TIGHT)
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError, match="'ui'"):
            await engine.execute(chatty(), {})
        assert receiver.statistics().delivered == 0


async def test_a_node_that_awaits_its_writes_is_no_different() -> None:
    async def node(state: Any, writer: StreamWriter) -> None:
        for number in range(5):
            await writer.write(number)  # type: ignore[attr-defined]

    async with compiled(a=node).open_stream({"log": []}, TIGHT) as stream:
        with anyio.fail_after(10), pytest.raises(StreamDeadlockError):
            await stream.wait()


@pytest.mark.clause("S-OVF-8")
@pytest.mark.parametrize("late", ["a task", "a task that has not begun", "a function", "a container"])
async def test_a_reader_who_comes_late_is_no_deadlock(late: str) -> None:
    """Who could still read it keeps the run waiting, however long it takes."""
    got: list[Any] = []
    begin = anyio.Event()

    async def later(receivers: list[Any]) -> None:
        await begin.wait()
        await read(receivers[0], got)

    run, receiver = await ExecutionEngine().execute_with_stream(chatty(), {}, TIGHT)
    async with anyio.create_task_group() as group:
        match late:
            case "a task":
                group.start_soon(read, receiver, got)
            case "a task that has not begun":
                group.start_soon(later, [receiver])
            case "a function":
                held = receiver
                group.start_soon(later, Lazily(lambda: held))
            case _:
                box = Lazily(lambda: None)
                box.what = {"deep": (receiver,)}  # type: ignore[attr-defined]
                group.start_soon(later, Lazily(lambda: box.what["deep"][0]))  # type: ignore[attr-defined]
        await let_the_run_wait(receiver)
        group.start_soon(let_begin, begin)
        assert await run == {"log": []}
    assert got == ALL


class Lazily:
    """A sequence of one, which is found when it is asked for."""

    def __init__(self, find: Any) -> None:
        self.find = find

    def __getitem__(self, index: int) -> Any:
        return self.find()


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


@pytest.mark.clause("S-OVF-8", "S-OVF-9")
async def test_an_awaiter_with_company_is_left_to_the_stall_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Another task holds the receiver, and might read it: the run waits, and one warning says for whom."""
    never = anyio.Event()

    async def hold(receiver: Any) -> None:
        await never.wait()
        receiver.close()

    async with chatty().open_stream({"log": []}, TIGHT) as stream:
        stream.receivers[0].stall_timeout = 0
        async with anyio.create_task_group() as group:
            group.start_soon(hold, stream.receivers[0])
            group.start_soon(until_warned, caplog, never)
            assert await stream.wait() == {"log": []}
    assert ["'ui'" in record.getMessage() for record in caplog.records] == [True]


async def until_warned(caplog: pytest.LogCaptureFixture, then: anyio.Event) -> None:
    while not caplog.records:
        await anyio.lowlevel.checkpoint()
    then.set()


async def test_a_run_that_has_room_is_just_awaited() -> None:
    roomy = StreamConfig(modes="custom", buffer_size=10)
    async with chatty().open_stream({"log": []}, roomy) as stream:
        assert await stream.wait() == {"log": []}
        with contextlib.suppress(StopAsyncIteration):
            assert (await anext(stream.receivers[0])).data == 0


@pytest.mark.clause("S-END-11")
async def test_a_run_whose_full_receiver_is_lost_goes_on_without_it(caplog: pytest.LogCaptureFixture) -> None:
    ended = anyio.Event()

    async def last(state: Any) -> None:
        ended.set()

    async def start_and_lose() -> None:
        graph = compiled(a=five, last=last)
        _, receiver = await ExecutionEngine().execute_with_stream(graph, {"log": []}, TIGHT)
        receiver.stall_timeout = 0

    await start_and_lose()
    with anyio.fail_after(20):
        await ended.wait()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "a run waits for receiver 'ui'",
        "receiver 'ui' is closed",
    ]
