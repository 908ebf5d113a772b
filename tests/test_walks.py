"""``docs/architecture.md`` says what is there, and its walks are as short as it promises."""

import re
from pathlib import Path

import pytest

from benchmarks.walks import WALKS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()


def named() -> list[str]:
    """Return the paths that the page names; a bare file stands beside the room it is in."""
    found: list[str] = []
    for line in TEXT.splitlines():
        room = ""
        for name in re.findall(r"`([\w./-]+)`", line):
            if "/" in name:
                room = name
                found.append(name)
            elif name.endswith(".py"):
                found.append(f"{room}/{name}")
    return found


@pytest.mark.parametrize("name", sorted(set(named())))
def test_what_the_page_names_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_page_names_every_room_of_the_engine() -> None:
    rooms = {path.parent.name for path in (ROOT / "engine").glob("*/__init__.py")} - {"demo"}
    assert [room for room in sorted(rooms) if f"`engine/{room}`" not in TEXT] == []


@pytest.mark.parametrize(("walk", "hops", "files"), [("update", 20, 10), ("resume", 40, 20)])
async def test_a_walk_is_short(walk: str, hops: int, files: int) -> None:
    found = (await WALKS[walk]()).files()
    assert 5 <= sum(map(len, found.values())) <= hops
    assert 3 <= len(found) <= files


async def test_what_only_a_resume_calls_is_in_few_files() -> None:
    found = (await WALKS["resume"]()).own_files()
    assert "engine/run/resume.py" in found
    assert len(found) <= 20


@pytest.mark.parametrize("walk", sorted(WALKS))
async def test_the_page_names_every_file_of_a_walk(walk: str) -> None:
    assert [file for file in (await WALKS[walk]()).files() if f"`{file}`" not in TEXT] == []
