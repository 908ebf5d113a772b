"""Hands out threads to workers, and has one of them killed."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from examples.cluster.crew import Crew, Run
from examples.cluster.services import Services

WORKERS = ("worker-1", "worker-2", "worker-3")
#: Who is killed in the middle.
VICTIM = "worker-2"
#: Runs that a worker has at a time.
AT_A_TIME = 3
#: Modules that a run measures.
SIZE = 16
#: The thread that three workers are given at once.
SHARED = "shared"
MODULES = """
argparse ast asyncio.base_events calendar collections configparser csv dataclasses datetime decimal
difflib doctest enum fractions ftplib functools gzip heapq http.client inspect ipaddress
json.decoder locale mailbox mimetypes optparse pathlib pdb pickle pickletools platform plistlib
pprint pydoc random re shutil smtplib socket sqlite3.dump ssl statistics string subprocess tarfile
tempfile textwrap threading tokenize traceback turtle typing unittest.mock urllib.parse
urllib.request uuid warnings weakref zipfile
""".split()  # noqa: SIM905 - nobody wants to read it one by one


class Demo(Crew):
    """The demo, from its first thread to the end of its processes."""

    def __init__(self, services: Services, threads: int, folder: Path) -> None:
        super().__init__(services, folder)
        self._waiting = deque(_runs(threads))

    @property
    def left(self) -> int:
        """How many runs nobody has been given yet."""
        return len(self._waiting)

    async def go(self) -> None:
        """Do all of it, and end the processes."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.kill_all)
            await asyncio.gather(*(self.start(name) for name in (*WORKERS, "watcher")))
            await self.until(lambda: all(child.state == "runs" for child in self.children.values()))
            await self._share_a_thread()
            self.hand_out()
            await self.until(self._victim_is_in_the_middle)
            for run in await self.kill(self.children[VICTIM]):
                self._waiting.appendleft(Run(uuid.uuid4().hex, run.thread, run.modules, resumes=run.id))
            self.hand_out()
            await self.until(lambda: not self._waiting and all(run.over for run in self.runs.values()))
            await self.until(lambda: all(run.told for run in self.runs.values()))
            await self.close()

    async def _share_a_thread(self) -> None:
        """Give one thread to three workers: the first has it, the second is refused, the third waits."""
        for worker, wait in zip(WORKERS, (0, 0, 30), strict=True):
            run = Run(uuid.uuid4().hex, SHARED, MODULES[:SIZE], wait=wait)
            self.give(run, self.children[worker])
            if worker == WORKERS[0]:
                await self.until(lambda: bool(run.began))  # noqa: B023 - at once

    def hand_out(self) -> None:
        for worker in WORKERS:
            child = self.children[worker]
            while self._waiting and child.state == "runs" and self.busy(worker) < AT_A_TIME:
                self.give(self._waiting.popleft(), child)

    def _victim_is_in_the_middle(self) -> bool:
        of_victim = [run for run in self.runs.values() if run.worker == VICTIM and not run.over]
        acknowledged = self.children[VICTIM].account["delivered"]
        return acknowledged > 0 and any(6 < run.seen < 40 for run in of_victim)


def _runs(threads: int) -> Iterator[Run]:
    for n in range(threads):
        yield Run(uuid.uuid4().hex, f"thread-{n}", [MODULES[(7 * n + i) % len(MODULES)] for i in range(SIZE)])
