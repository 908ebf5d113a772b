"""Memory stays what it is on every side while nobody reads, and with ``block`` the node stands still.

The consumer reads nothing for five seconds; STILL=60 makes it a minute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from otel_stream import ReceiverOverflowError, StreamConfig
from tests.scale.ray import nodes

SECONDS = float(os.environ.get("STILL", "5"))
#: Looks at memory in that time, of which the first third lets everybody reach their size.
LOOKS = 15
#: Bytes that a process may grow by after that: Python's heap and Ray's tables breathe.
BREATH = 16 << 20
#: Parts: what the receiver holds, and what may be under way besides to where it is not awaited.
HELD, UNDER_WAY = 100, 2 * 1024
POLICIES = ["block", "drop_oldest", "drop_newest", "coalesce", "error"]

pytestmark = [
    pytest.mark.timeout(240 + 2 * SECONDS),
    pytest.mark.skipif("RAY_ADDRESS" in os.environ, reason="its processes are not ours to look at"),
]


def _parents() -> Iterator[tuple[int, int]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            about = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it has ended
        yield int(stat.parent.name), int(about[1])


def _family() -> set[int]:
    """Return this process and all below it: Ray's own, and its workers."""
    found, parents = {os.getpid()}, [*_parents()]
    while more := {pid for pid, parent in parents if parent in found} - found:
        found |= more
    return found


def _memory(pid: int) -> int:
    """Return the bytes that are a process's own, and those it shares with Ray's store."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return sum(int(size.split()[0]) << 10 for size in sizes.values())


class _Look(NamedTuple):
    written: int
    memory: dict[int, int]


async def _looks(place: str) -> list[_Look]:
    """Look at all processes again and again while nobody reads."""
    found = []
    for _ in range(LOOKS):
        await anyio.sleep(SECONDS / LOOKS)
        found.append(_Look(nodes.written(place), {pid: _memory(pid) for pid in _family()}))
    return found[LOOKS // 3 :]


def _grown(looks: list[_Look]) -> dict[int, int]:
    """Return by how much each process is larger at the end than ever in the first half."""
    half, last = [look.memory for look in looks[: len(looks) // 2]], looks[-1].memory
    return {pid: last[pid] - max(look.get(pid, 0) for look in half) for pid in last if pid in half[0]}


async def _begun(place: str) -> None:
    while nodes.written(place) < HELD:  # noqa: ASYNC110 - it comes about in another process
        await anyio.sleep(0.02)


@pytest.mark.parametrize("action", [nodes.floods_awaited, nodes.floods_from_a_thread])
@pytest.mark.parametrize("policy", POLICIES)
async def test_it_is_flat_while_nobody_reads(policy: str, action: Callable[..., Any], tmp_path: Path) -> None:
    place = str(tmp_path)
    config = StreamConfig(modes="custom", buffer_size=HELD, overflow=policy)
    async with nodes.graph(action).open_stream({"place": place}, config) as stream:
        receiver = stream.receivers[0]
        got = [(await anext(receiver)).data["number"]]
        await _begun(place)
        looks = await _looks(place)
        (tmp_path / "enough").touch()
        before, after = looks[0].written, looks[-1].written
        assert max(_grown(looks).values()) < BREATH, (policy, _grown(looks))
        if policy == "block":
            assert before == after <= HELD + UNDER_WAY + nodes.TELLS
        else:
            assert after > before + 10 * HELD
        try:
            got += [part.data["number"] async for part in receiver if part.type == "custom"]
        except ReceiverOverflowError:
            assert policy == "error"
        written = (await stream.wait())["log"][0]
        account = receiver.statistics()
    if policy == "block":
        assert got == [*range(written)]
    elif policy != "error":
        assert account.offered == written == account.delivered + account.dropped
    assert account.high_water <= HELD + UNDER_WAY
