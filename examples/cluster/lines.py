"""Lines of JSON between processes: whoever reads a line has all of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from functools import cache
from typing import Any


def tell(kind: str, **what: Any) -> None:
    """Print a line, all of it at once."""
    os.write(_own(), json.dumps({"kind": kind, **what}).encode() + b"\n")


@cache
def _own() -> int:
    """Return what was the standard output, for lines alone: what Ray's threads print goes with the errors."""
    own = os.dup(1)
    os.dup2(2, 1)
    return own


async def told(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Yield what comes until nobody is there to tell more."""
    async for line in reader:
        if line.startswith(b"{"):  # others print, too
            yield json.loads(line)


async def jobs() -> AsyncIterator[dict[str, Any]]:
    """Yield what comes by the standard input, until that is closed."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async for job in told(reader):
        yield job
