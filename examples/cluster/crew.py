"""Processes that are told jobs, what they tell of them, and their ends: a queue of jobs in small."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.cluster.lines import told
from examples.cluster.services import Services


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
    def told(self) -> bool:
        """Whether the watcher has told all of it, or there is nothing to tell: it has begun no stream."""
        nothing = (self.killed and not self.seen) or not self.ended.get("sent", True)
        return bool(self.watched) or nothing

    @property
    def over(self) -> bool:
        """Whether its worker has told its end, or never will."""
        return bool(self.ended) or self.killed


#: What the watcher would tell of a run that was killed before it had begun.
NOTHING = {"end": "", "parts": 0, "gaps": 0, "twice": 0, "in_order": True, "traces": [], "nodes": []}


class Child:
    """A process that is told jobs, and tells."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.state = "starts"
        self.account: Counter[str] = Counter()
        self.listening: asyncio.Task[None]

    def give(self, **job: Any) -> None:
        """Hand it a job."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")

    async def close(self) -> int:
        """Let it end what it has; return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()


class Crew:
    """Workers and a watcher, their runs, and what was told of each."""

    #: The module that a worker is.
    WORKER = "examples.cluster.worker"

    def __init__(self, services: Services, folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.runs: dict[str, Run] = {}
        self.children: dict[str, Child] = {}
        self.codes: dict[str, int] = {}
        self._news = asyncio.Event()

    def hand_out(self) -> None:
        """Give who has room what is to be done: called when a run has ended."""

    def give(self, run: Run, child: Child) -> None:
        """Have a worker do a run, and the watcher see it."""
        run.worker = child.name
        self.runs[run.id] = run
        job = {"run": run.id, "thread": run.thread, "modules": [*run.modules], "wait": run.wait}
        child.give(**job, resume=run.resumes is not None)
        self.children["watcher"].give(run=run.id)

    def busy(self, worker: str) -> int:
        """Return how many runs a worker has."""
        return sum(run.worker == worker and not run.over for run in self.runs.values())

    async def kill(self, child: Child) -> list[Run]:
        """Kill a worker; return the runs that nobody will tell the end of."""
        child.state = "killed"
        child.process.send_signal(signal.SIGKILL)
        self.codes[child.name] = await child.process.wait()
        await child.listening  # what it has told is heard
        runs = [one for one in self.runs.values() if one.worker == child.name and not one.over]
        for run in runs:
            run.killed = True
        return runs

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that somebody tells.

        Raises:
            RuntimeError: a process has ended that should not have.
        """
        while not holds():
            self._news.clear()
            await self._news.wait()
            for child in self.children.values():
                if child.state == "ended":
                    raise RuntimeError(f"{child.name} has ended: {self._last_words(child.name)}")
                if child.listening.done():
                    child.listening.result()  # what it told can't be read

    async def start(self, name: str) -> None:
        """Start the watcher, or a worker of this name."""
        module = ["examples.cluster.watcher"] if name == "watcher" else [self.WORKER, name]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self.services.environment,
                limit=1 << 20,
            )
        child = self.children[name] = Child(name, process)
        child.listening = asyncio.create_task(self._listen(child))
        child.listening.add_done_callback(lambda _: self._news.set())

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
                self.hand_out()

    def _last_words(self, name: str) -> str:
        said = (self.folder / f"{name}.log").read_text(errors="replace").split("\n")
        return "\n".join(said[-20:])

    async def close(self) -> None:
        """Have all that run end what they have, and keep their exit codes."""
        for run in self.runs.values():
            run.watched = run.watched or NOTHING
        for child in [one for one in self.children.values() if one.state == "runs"]:
            self.codes[child.name] = await child.close()
            await child.listening

    async def kill_all(self) -> None:
        """Leave no process behind, whatever has happened."""
        for child in self.children.values():
            if child.process.returncode is None:
                child.process.kill()
                await child.process.wait()
