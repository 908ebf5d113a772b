"""Lines of JSON between processes: whoever reads a line has all of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any


def tell(kind: str, **what: Any) -> None:
    """Print a line."""
    print(json.dumps({"kind": kind, **what}), flush=True)


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
