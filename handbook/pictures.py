"""The pictures of the handbook, from runs that are run now: ``python -m handbook.pictures``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import anyio

from handbook import overflow, parts, sampling

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images" / "handbook"
PICTURES: Final[Mapping[str, Callable[[], Awaitable[str]]]] = {
    "overflow": overflow.picture,
    "sampling": sampling.picture,
    "parts": parts.picture,
}


async def write() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(await picture(), encoding="utf-8")


if __name__ == "__main__":
    anyio.run(write)
