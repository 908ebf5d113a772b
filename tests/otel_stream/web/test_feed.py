"""A ring for any number of readers: none is waited for, and who is too slow is told what it missed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stream.web.feed import Cursor, Feed

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def _numbers(helping):
    return [entry.seq for entry in helping.entries], helping.missed


async def test_each_reader_has_each_event_once_whatever_its_place():
    feed = Feed(events=100, bytes=10_000)
    for number in range(5):
        feed.append("updates", str(number).encode())
    whole, late, beyond = Cursor(feed, -1), Cursor(feed, 2), Cursor(feed, 99)
    assert [_numbers(one.take()) for one in (whole, late)] == [([0, 1, 2, 3, 4], None), ([3, 4], None)]
    assert [one.take() for one in (whole, late, beyond)] == [None, None, None]
    feed.append("updates", b"5")
    assert [_numbers(one.take()) for one in (whole, late, beyond)] == [([5], None)] * 3
    assert not whole.over
    feed.close()
    assert whole.over


@pytest.mark.parametrize("bounds", [{"events": 3, "bytes": 10_000}, {"events": 100, "bytes": 30}])
async def test_who_falls_off_is_told_what_it_missed_and_goes_on_from_the_newest_state(bounds):
    feed = Feed(**bounds)
    stuck = Cursor(feed, -1)
    feed.append("values", b"0" * 10)
    for _ in range(1000):
        feed.append("updates", b"x" * 10)
    assert _numbers(stuck.take()) == ([0, 998, 999, 1000], (0, 997))
    assert stuck.take() is None


async def test_readers_are_woken_together_however_many_events_there_are():
    feed, woken = Feed(events=10_000, bytes=1 << 20), 0
    cursors = [Cursor(feed, -1) for _ in range(50)]
    for cursor in cursors:
        cursor.__enter__()
    for number in range(1000):
        feed.append("updates", str(number).encode())
    for cursor in cursors:
        assert await cursor.wait(30)
        helping = cursor.take()
        woken += 1
        assert len([*helping.entries]) == 1000
    assert woken == 50


class Counting:
    """A way of writing that knows how often each event was written."""

    def __init__(self):
        self.written = []

    def write(self, entry):
        self.written.append(entry.seq)
        return b"<%d>" % entry.seq if entry.seq % 3 else b""


async def test_what_readers_are_sent_is_written_once_wherever_they_are():
    feed, writing = Feed(events=10_000, bytes=1 << 20), Counting()
    readers = [[Cursor(feed, -1), b""] for _ in range(200)]
    for number in range(1000):
        feed.append("updates", b"x" * (number % 90))
        for reader in readers[number % 7 :: 7] if number % 2 else ():
            reader[1] += reader[0].take().text(writing)
    for reader in readers:
        while (helping := reader[0].take()) is not None:
            reader[1] += helping.text(writing)
    whole = b"".join(b"<%d>" % number for number in range(1000) if number % 3)
    assert {text for _, text in readers} == {whole}
    assert writing.written == [*range(1000)]


@given(st.lists(st.one_of(st.integers(0, 300), st.sampled_from(["first", "second"])), max_size=300))
async def test_readers_have_every_event_once_or_are_told_which_are_gone(steps):
    feed, writing = Feed(events=90, bytes=6_000), Counting()
    cursors = {name: (Cursor(feed, -1), []) for name in ("first", "second")}

    def take(name):
        cursor, seen = cursors[name]
        while (helping := cursor.take()) is not None:
            if helping.missed is not None:
                seen += range(helping.missed[0], helping.missed[1] + 1)
            seen += [
                entry.seq for block, start in helping.blocks for entry in block.entries[start - block.first :]
            ]
            text = b"".join(bytes(block.text(writing, start)) for block, start in helping.blocks)
            assert text == helping.text(writing)

    for step in steps:
        if isinstance(step, int):
            feed.append("updates", b"x" * step)
        else:
            take(step)
    for name, (_, seen) in cursors.items():
        take(name)
        assert seen == [*range(feed.next)]
    kept = [one.seq for one in Cursor(feed, feed.first - 1).take().entries] if feed.next else []
    assert kept == [*range(feed.first, feed.next)]
    assert len(kept) <= 90
