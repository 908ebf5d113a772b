"""Processes that outlive the program that started them: known by pid and by when they started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

#: Seconds that a process may take to stop before it is killed.
PATIENCE = 10.0
_PAUSE = 0.05


class Process(msgspec.Struct, frozen=True):
    """A process that we started. ``born`` tells it from a later one that happens to get its pid."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Tell whether it still runs."""
        return bool(self.born) and birth(self.pid) == self.born


def birth(pid: int) -> str:
    """Return when a process was started, in the system's own words; "" if it is over."""
    try:
        # After the name, which may hold anything in its parentheses: state is field 3, start 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _birth_without_proc(pid)
    return "" if fields[0] in "ZX" and not _has_threads(pid) else fields[19]


def _has_threads(pid: int) -> bool:
    # A process may be a zombie while threads of it still end: its ports are taken until the last has.
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


def _birth_without_proc(pid: int) -> str:
    if Path("/proc/self/stat").exists():
        return ""
    listed = subprocess.run(  # noqa: S603 - a fixed command
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607 - without /proc, ps is at hand
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split(maxsplit=1)
    return "" if not listed or listed[0].startswith("Z") else listed[-1].strip()


def start(
    arguments: Sequence[str | Path], environment: Mapping[str, str], folder: Path, log: Path
) -> Process:
    """Start a process that goes on when this one ends; it works in ``folder`` and prints to ``log``.

    Raises:
        OSError: it cannot be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        started = subprocess.Popen(  # noqa: S603 - a binary of the cache, with arguments of ours
            [str(argument) for argument in arguments],
            cwd=folder,
            env={**_inherited(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in this terminal is meant for us, not for it.
            start_new_session=True,
        )
    # Nobody waits for it: it is meant to outlive us. Python would warn that it is still there.
    started.returncode = 0
    return Process(started.pid, birth(started.pid))


def _inherited() -> dict[str, str]:
    # OTEL_EXPORTER_OTLP_ENDPOINT and the like are meant for the app: a backend would trace itself by them.
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("OTEL_STREAM_") or not name.startswith("OTEL_")
    }


def stop(processes: Sequence[Process], patience: float = PATIENCE) -> None:
    """End exactly these processes, if they still run; by force those that take longer than ``patience``."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, PATIENCE)):
        for process in processes:
            _send(process, number)
        deadline = time.monotonic() + seconds
        while any(process.alive for process in processes) and time.monotonic() < deadline:
            _reap(processes)
            time.sleep(_PAUSE)
    _reap(processes)


def _send(process: Process, number: signal.Signals) -> None:
    if process.alive:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return  # it ended in this very moment


def _reap(processes: Sequence[Process]) -> None:
    """Take leave of those that this process started itself, or they stay as zombies."""
    for process in processes:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            continue
