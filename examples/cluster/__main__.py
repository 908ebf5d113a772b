"""``python -m examples.cluster [THREADS]``: exit code 0 if all held that was checked."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from examples.cluster.checks import checked
from examples.cluster.demo import Demo
from examples.cluster.services import services
from examples.cluster.table import line, summary, table

#: Threads of conversation beside the one that workers share.
THREADS = 15
#: Seconds that all runs may take.
PATIENCE = 150


async def shown(demo: Demo, console: Console) -> None:
    """Do all of it, in view of who started it."""
    going = asyncio.create_task(demo.go())
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            while not going.done():
                live.update(table(demo), refresh=True)
                await asyncio.wait((going,), timeout=0.2)
            live.update(table(demo), refresh=True)
    else:
        while not going.done():
            await asyncio.wait((going,), timeout=5)
            console.print(line(demo), soft_wrap=True)
        console.print(table(demo))
    await going


async def ran(demo: Demo, console: Console) -> None:
    """Do all of it within its time."""
    async with asyncio.timeout(PATIENCE):
        await shown(demo, console)


def main(threads: int) -> int:
    """Start all, do all, check all."""
    console, begun = Console(highlight=False), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cluster-logs-") as logs, services(console.print) as shared:
        demo = Demo(shared, threads, Path(logs))
        try:
            asyncio.run(ran(demo, console))
        except (RuntimeError, TimeoutError) as failure:
            console.print(f"FAILED  {str(failure) or f'it took longer than {PATIENCE} s'}", soft_wrap=True)
            console.print(table(demo))
            return 1
        checks = [*checked(demo)]
    summary(console, checks)
    failed = sum(held is False for held, _ in checks)
    console.print(f"{len(checks) - failed} of {len(checks)} checks held, in {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else THREADS))
