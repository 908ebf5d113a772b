"""Hands out threads to workers, has one of them killed, and keeps what everybody tells."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.cluster.lines import told
from examples.cluster.services import Services

WORKERS = ("worker-1", "worker-2", "worker-3")
#: Who is killed in the middle.
VICTIM = "worker-2"
#: Runs that a worker has at a time.
AT_A_TIME = 3
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


@dataclass
class Run:
    """A run of a thread, and what was told of it by its worker and by the watcher."""

    id: str
    thread: str
    modules: Sequence[str]
    resumes: str | None = None
    #: Seconds that it waits for its thread.
    wait: int = 30
    worker: str = ""
    #: What the worker said when it had begun, when it had ended; and the watcher in the end.
    began: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)
    watched: dict[str, Any] = field(default_factory=dict)
    #: Parts that the watcher has seen so far.
    seen: int = 0
    killed: bool = False

    @property
    def over(self) -> bool:
        """Whether its worker has told its end, or never will."""
        return bool(self.ended) or self.killed


class Child:
    """A process that is told jobs, and tells."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.state = "starts"
        self.account: Counter[str] = Counter()

    def give(self, **job: Any) -> None:
        """Hand it a job."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")

    async def close(self) -> int:
        """Let it end what it has; return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()


class Demo:
    """The state of all of it."""

    def __init__(self, services: Services, threads: int, folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.runs: dict[str, Run] = {}
        self.children: dict[str, Child] = {}
        self.codes: dict[str, int] = {}
        self._waiting = deque(self._first_runs(threads))
        self._news = asyncio.Event()
        self._listening: list[asyncio.Task[None]] = []

    @property
    def left(self) -> int:
        """How many runs nobody has been given yet."""
        return len(self._waiting)

    def _first_runs(self, threads: int) -> list[Run]:
        size = min(16, len(MODULES) // 2)
        chosen = [[MODULES[(7 * n + i) % len(MODULES)] for i in range(size)] for n in range(threads)]
        return [Run(uuid.uuid4().hex, f"thread-{n}", modules) for n, modules in enumerate(chosen)]

    # -- the way it goes ---------------------------------------------------------------------------

    async def go(self) -> None:
        """Do all of it, and end the processes."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._kill_all)
            await asyncio.gather(*(self._start(name) for name in (*WORKERS, "watcher")))
            await self._until(lambda: all(child.state == "runs" for child in self.children.values()))
            await self._share_a_thread()
            self._hand_out()
            await self._until(self._victim_is_in_the_middle)
            await self._kill(self.children[VICTIM])
            await self._until(lambda: not self._waiting and all(run.over for run in self.runs.values()))
            await self._until(lambda: all(run.watched for run in self.runs.values()))
            for child in self.children.values():
                if child.state == "runs":
                    self.codes[child.name] = await child.close()
            await asyncio.gather(*self._listening)

    async def _share_a_thread(self) -> None:
        """Give one thread to three workers: it has it, the second is refused, the third waits."""
        for worker, wait in zip(WORKERS, (0, 0, 30), strict=True):
            run = Run(uuid.uuid4().hex, SHARED, MODULES[:16], wait=wait)
            self._give(run, self.children[worker])
            if worker == WORKERS[0]:
                await self._until(lambda: bool(run.began))  # noqa: B023 - at once

    def _hand_out(self) -> None:
        for worker in WORKERS:
            child = self.children[worker]
            while self._waiting and child.state == "runs" and self._busy(worker) < AT_A_TIME:
                self._give(self._waiting.popleft(), child)

    def _give(self, run: Run, child: Child) -> None:
        run.worker = child.name
        self.runs[run.id] = run
        job = {"run": run.id, "thread": run.thread, "modules": [*run.modules], "wait": run.wait}
        child.give(**job, resume=run.resumes is not None)
        self.children["watcher"].give(run=run.id)

    def _busy(self, worker: str) -> int:
        return sum(run.worker == worker and not run.over for run in self.runs.values())

    def _victim_is_in_the_middle(self) -> bool:
        of_victim = [run for run in self.runs.values() if run.worker == VICTIM and not run.over]
        acknowledged = self.children[VICTIM].account["delivered"]
        return acknowledged > 0 and any(6 < run.seen < 40 for run in of_victim)

    async def _kill(self, child: Child) -> None:
        """Kill a worker, and have others go on with what it had."""
        child.process.send_signal(signal.SIGKILL)
        self.codes[child.name] = await child.process.wait()
        child.state = "killed"
        for run in [one for one in self.runs.values() if one.worker == child.name and not one.over]:
            run.killed = True
            self._waiting.appendleft(Run(uuid.uuid4().hex, run.thread, run.modules, resumes=run.id))
        self._hand_out()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._news.clear()
            await self._news.wait()
            for child in self.children.values():
                if child.state == "ended":
                    raise RuntimeError(f"{child.name} has ended: {self._last_words(child.name)}")

    # -- processes ---------------------------------------------------------------------------------

    async def _start(self, name: str) -> None:
        what = ["watcher"] if name == "watcher" else ["worker", name]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"examples.cluster.{what[0]}",
                *what[1:],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self.services.environment,
                limit=1 << 20,
            )
        child = self.children[name] = Child(name, process)
        self._listening.append(asyncio.create_task(self._listen(child)))

    async def _listen(self, child: Child) -> None:
        assert child.process.stdout is not None
        async for line in told(child.process.stdout):
            self._hear(child, line.pop("kind"), line)
            self._news.set()
        if child.state != "killed" and child.name not in self.codes:
            child.state = "ended" if child.process.stdin and not child.process.stdin.is_closing() else "left"
        self._news.set()

    def _hear(self, child: Child, kind: str, line: dict[str, Any]) -> None:
        if kind == "ready":
            child.state = "runs"
        elif kind == "account":
            child.account = Counter(line)
        elif kind == "seen":
            for run, parts in line["runs"].items():
                self.runs[run].seen = parts
        else:
            setattr(self.runs[line["run"]], kind, line)
            if kind == "ended":
                self._hand_out()

    def _last_words(self, name: str) -> str:
        said = (self.folder / f"{name}.log").read_text(errors="replace").split("\n")
        return "\n".join(said[-20:])

    async def _kill_all(self) -> None:
        """Leave no process behind, whatever has happened."""
        for child in self.children.values():
            if child.process.returncode is None:
                child.process.kill()
                await child.process.wait()
