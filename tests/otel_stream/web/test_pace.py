"""Turns of readers: however many there are, they take a small share of the loop that runs are in."""

import asyncio
import heapq

import pytest

from otel_stream.web import pace
from otel_stream.web.pace import Pace, measured


class Clockwork:
    """A loop whose time passes only where somebody says so."""

    def __init__(self):
        self.now, self.number, self.due = 0.0, 0, []

    def call_later(self, seconds, call):
        self.number += 1
        heapq.heappush(self.due, (self.now + seconds, self.number, call))

    def call_soon(self, call):
        self.call_later(0, call)

    def run(self, until):
        while self.due and self.due[0][0] <= until:
            when, _, call = heapq.heappop(self.due)
            self.now = max(self.now, when)
            call()


@pytest.fixture
def loop(monkeypatch):
    made = Clockwork()
    monkeypatch.setattr(pace, "monotonic", lambda: made.now)
    monkeypatch.setattr(pace.asyncio, "get_running_loop", lambda: made)
    return made


class Reader:
    """Has always something to take, which takes ``seconds``."""

    def __init__(self, loop, pace, seconds):
        self.loop, self.pace, self.seconds, self.turns = loop, pace, seconds, 0
        pace.queue(self)

    def done(self):
        return False

    def set_result(self, _):
        self.loop.call_soon(self.step)

    def step(self):
        self.turns += 1
        self.loop.now += self.seconds
        self.pace.spend(self.seconds)
        self.pace.queue(self)


@pytest.mark.parametrize("readers", [1, 10, 200])
def test_beside_a_run_readers_take_a_small_share_and_each_has_its_turn(loop, readers):
    turns = Pace()
    turns.runs = 1
    many = [Reader(loop, turns, 0.001) for _ in range(readers)]
    loop.run(until=20.0)
    assert sum(one.turns for one in many) * 0.001 <= 20.0 / 25
    assert min(one.turns for one in many) >= max(one.turns for one in many) - 1 > 0


def test_where_no_run_is_slowed_they_take_what_they_need(loop):
    turns = Pace()
    many = [Reader(loop, turns, 0.001) for _ in range(200)]
    loop.run(until=4.0)
    assert sum(one.turns for one in many) * 0.001 >= 4.0 / 3


def test_what_a_reader_did_not_take_itself_holds_nobody_up_for_long(loop):
    turns = Pace()
    turns.runs = 1
    reader = Reader(loop, turns, 10.0)
    loop.run(until=11.0)
    assert reader.turns == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_a_task_takes_is_measured_step_by_step_and_errors_go_both_ways():
    spent, told = [], []

    async def work():
        await asyncio.sleep(0)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise ValueError("its own") from None

    task = asyncio.ensure_future(measured(work(), spent.append))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(ValueError, match="its own"):
        await task
    assert (told, len(spent)) == (["cancelled"], 3)
    assert all(seconds >= 0 for seconds in spent)
