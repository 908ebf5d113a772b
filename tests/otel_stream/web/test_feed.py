"""A ring for any number of readers: none is waited for, and who is too slow is told what it missed."""

import pytest

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
        assert len(helping.entries) == 1000
    assert woken == 50
