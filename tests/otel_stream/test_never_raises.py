"""Whatever foreign code does, a run goes on: it is cut off, said and counted; and none runs under a lock."""

import asyncio
import logging
import threading
from contextlib import suppress
from contextvars import copy_context

import pytest

from otel_stream.aggregate import Aggregate
from otel_stream.config import Custom, StreamConfig
from otel_stream.events import CustomWritten, End, MessageWritten, Run, RunEnded, SuperstepEnded, Task
from otel_stream.filters import Node, StreamFilter, Where
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream


class Panic(BaseException):
    """As of an extension in another language."""


RAISED = [
    Panic("p"),
    KeyboardInterrupt("k"),
    SystemExit(1),
    StopIteration("s"),
    GeneratorExit("g"),
    ValueError("v"),
]


def raising(error):
    def call(*_, **__):
        raise error

    return call


class Sampler:
    def __init__(self, should_sample):
        self.should_sample = should_sample


class Foreseeing(StreamFilter):
    def __init__(self, error):
        self.accept = self.foresee = raising(error)


PLACES = {
    "filter": lambda error: {"filter": raising(error)},
    "foresight": lambda error: {"filter": Foreseeing(error)},
    "sampler": lambda error: {"sampler": Sampler(raising(error))},
    "mode": lambda error: {"modes": ("custom", Custom(raising(error), "mine", (CustomWritten,)))},
    "key": lambda error: {"aggregate": Aggregate(2, by=raising(error))},
    "reducer": lambda error: {"aggregate": Aggregate(2, reduce=raising(error))},
    "reducer at the end": lambda error: {"aggregate": Aggregate("superstep", reduce=raising(error))},
}


def receiver(**settings):
    return StreamReceiver(StreamConfig(**{"modes": "custom", **settings}))


def run_and_task():
    run = Run("run", "graph", context=copy_context())
    return run, Task(run, "a", 1, id="id-a")


def write(stream, task, count=3):
    for number in range(count):
        stream.emit(CustomWritten(task, number, number))
    stream.emit(SuperstepEnded(task.run, 1, End.OK, frozenset(), 8))
    stream.emit(RunEnded(task.run, End.OK, None, None, (), 1, 9))


def held(one):
    return list(iter(one.take_nowait, None))


@pytest.mark.clause("S-ERR-4", "S-ERR-5", "S-ACC-1")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_who_raises_is_cut_off_said_once_and_counted_and_nobody_else_notices(place, error, caplog):
    _, task = run_and_task()
    bad, good = receiver(**PLACES[place](error)), receiver()
    stream = Stream([bad, good])
    write(stream, task)
    assert [part.data for part in good] == [0, 1, 2]
    assert bad.failed is error
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    now = bad.statistics()
    assert now.offered == now.delivered + now.dropped + now.sampled_out + now.filtered + now.held
    held(bad)
    with pytest.raises(BaseException) as raised:
        next(bad)
    mistaken = isinstance(error, StopIteration | GeneratorExit)
    assert (raised.value.__cause__ if mistaken else raised.value) is error


@pytest.mark.clause("S-FIL-4")
@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: Node("a") & one, lambda one: ~one])
def test_a_filter_that_answers_with_an_awaitable_lets_nothing_pass_in_silence(wrap):
    async def later():
        return True

    _, task = run_and_task()
    one = receiver(filter=wrap(Where(lambda _: later())))
    write(Stream([one]), task)
    assert isinstance(one.failed, TypeError)
    assert one.statistics().reasons["failed"] > 0


def test_a_mode_that_raises_takes_down_who_wants_it_and_no_other(caplog):
    _, task = run_and_task()
    mine = Custom(raising(Panic()), "mine", (CustomWritten,))
    bad, good = receiver(modes=mine), receiver()
    write(Stream([bad, good]), task)
    assert isinstance(bad.failed, Panic)
    assert len(held(good)) == 3


@pytest.mark.clause("S-ERR-6")
@pytest.mark.parametrize("at_once", [True, False])
def test_telemetry_that_panics_is_cut_off_and_the_end_is_told(caplog, at_once):
    class Telemetry:
        interest, modes = (1 << 16) - 1, frozenset({"custom"})
        on_part = on_receiver = survives = staticmethod(raising(Panic()))
        handler = staticmethod(raising(Panic()) if at_once else lambda _: raising(Panic()))

    _, task = run_and_task()
    one = receiver()
    stream = Stream([one], Telemetry())
    write(stream, task)
    assert ([part.data for part in one], stream.end) == ([0, 1, 2], End.OK)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_handler_of_logs_that_panics_breaks_no_run():
    class Handler(logging.Handler):
        def emit(self, record):
            raise Panic

    handler, logger = Handler(), logging.getLogger("otel_stream")
    logger.addHandler(handler)
    try:
        _, task = run_and_task()
        bad, good = receiver(filter=raising(ValueError())), receiver()
        write(Stream([bad, good]), task)
    finally:
        logger.removeHandler(handler)
    assert len(held(good)) == 3
    assert bad.over


@pytest.mark.clause("S-THR-1", "S-END-7")
def test_a_consumer_left_on_a_loop_that_is_closed_costs_nobody_the_end():
    _, task = run_and_task()
    left, good = receiver(overflow="drop_oldest"), receiver()
    stream = Stream([left, good])
    loop = asyncio.new_event_loop()

    async def wait():
        waiting.append(asyncio.ensure_future(left.__anext__()))
        await asyncio.sleep(0)

    waiting = []
    loop.run_until_complete(wait())
    loop.close()
    write(stream, task)
    assert [part.data for part in good] == [0, 1, 2]
    assert left.end is End.OK
    with suppress(RuntimeError):  # of a coroutine that is thrown away with its loop
        waiting.pop().get_coro().close()


# --- Locks ------------------------------------------------------------------------------------------------


class Watch:
    """Foreign code that finds out whether the stream's lock, or the buffer's, is held while it runs."""

    def __init__(self):
        self.free = []
        self.locks = []

    def __call__(self, *_, **__):
        def look():
            for lock in self.locks:
                free = lock.acquire(blocking=False)
                self.free.append(free)
                if free:
                    lock.release()

        other = threading.Thread(target=look)
        other.start()
        other.join()
        return True

    def of(self, stream, *receivers):
        self.locks += [stream._desk.lock, stream._audience, *(one._buffer.lock for one in receivers)]


@pytest.mark.clause("S-ERR-7")
@pytest.mark.parametrize("place", ["filter", "sampler", "mode", "key", "reducer", "joined chunks", "handler"])
def test_no_foreign_code_runs_under_a_lock(place):
    watch = Watch()

    class Decision:
        is_sampled = watch

        @property
        def decision(self):
            return self

    class Chunk(str):
        __slots__ = ()
        id = "m"

        def __add__(self, other):
            watch()
            return Chunk(str(self) + str(other))

    class Handler(logging.Handler):
        def emit(self, record):
            watch()

    settings = {
        "filter": {"filter": watch},
        "sampler": {"sampler": Sampler(lambda *_, **__: Decision())},
        "mode": {"modes": Custom(watch, "mine", (CustomWritten,))},
        "key": {"aggregate": Aggregate(2, by=watch)},
        "reducer": {"aggregate": Aggregate(2, reduce=watch)},
        "joined chunks": {"modes": "messages", "overflow": "coalesce", "buffer_size": 1},
        "handler": {"overflow": "error", "buffer_size": 1},
    }
    handler, logger = Handler(), logging.getLogger("otel_stream")
    logger.addHandler(handler)
    try:
        _, task = run_and_task()
        one, other = receiver(**settings[place]), receiver(**settings[place])
        stream = Stream([one, other])
        watch.of(stream, one, other)
        for number in range(2):
            stream.emit(MessageWritten(task, Chunk("x"), {}, number))
        write(stream, task)
    finally:
        logger.removeHandler(handler)
    assert watch.free
    assert all(watch.free)


@pytest.mark.clause("S-ERR-7", "S-ORD-4")
def test_a_handler_that_streams_what_it_is_given_makes_no_two_threads_wait_for_each_other():
    """One thread logs, and its handler writes; the other writes, and a filter logs."""
    _, task = run_and_task()
    logger = logging.getLogger("tests.never_raises")
    logger.propagate = False

    class Handler(logging.Handler):
        def emit(self, record):  # under the handler's own lock
            stream.emit(CustomWritten(task, "logged", 0))

    def chatty(part):
        if part.data == "written":
            logger.warning("seen")
        return True

    one = receiver(filter=chatty, buffer_size=100_000)
    stream = Stream([one])
    handler = Handler()
    logger.addHandler(handler)

    def log():
        for _ in range(300):
            logger.warning("said")

    def emit():
        for _ in range(300):
            stream.emit(CustomWritten(task, "written", 0))

    threads = [threading.Thread(target=work, daemon=True) for work in (log, emit)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    logger.removeHandler(handler)
    numbers = [part.seq for part in held(one)]
    assert numbers == list(range(900))


@pytest.mark.clause("S-THR-5")
def test_attaching_and_closing_many_receivers_asks_each_of_them_once():
    """Told by what is planned and not by a clock: no event comes between, so nothing is."""
    stream = Stream()
    many = [receiver(modes=("values", "updates")) for _ in range(2000)]
    planned = []
    compiled = stream._compiled
    stream._compiled = lambda kind: planned.append(kind) or compiled(kind)
    for one in many:
        stream.attach(one)
    _, task = run_and_task()
    assert planned == []
    write(stream, task)
    assert len(planned) == len(set(planned))
    assert all(one.over for one in many)
