"""Backends as processes of this machine, from the binaries that ``make backends`` built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from backends import places, processes, readiness
from backends.errors import BackendsError
from backends.ports import Ports, require_free
from backends.processes import Process
from backends.programs import Program, programs

Say = Callable[[str], None]


class State(msgspec.Struct):
    """What runs, and how it was started."""

    ports: Ports
    collector: str
    processes: dict[str, Process] = {}


class Native:
    """The backends of one state folder, which holds their data, their logs and what runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"

    def state(self) -> State | None:
        """Return what was started and not stopped."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=State)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            raise BackendsError(
                f"{self._file} is damaged: end what it names by hand, and remove it"
            ) from None

    def start(self, ports: Ports, collector: str, deadline: float, say: Say) -> State:
        """Start what does not run yet, and wait until everything answers.

        Raises:
            BackendsError: something is not built, a port is taken, other ones run already, or a
                backend ended or did not get ready within ``deadline`` seconds.
        """
        state = self.state()
        alive = {} if state is None else {n: p for n, p in state.processes.items() if p.alive}
        if state is None or not alive:
            state = State(ports, collector)
        elif (state.ports, state.collector) != (ports, collector):
            raise BackendsError(
                f"backends run already, with {state.collector}.yaml or other ports: python -m backends stop"
            )
        state.processes = alive
        wanted = programs(ports, places.configurations(), self.folder / "data", collector)
        missing = [program for program in wanted if program.name not in alive]
        self._start(missing, state, say)
        readiness.wait(
            {program.name: program.ready for program in wanted},
            deadline,
            say,
            lambda: self._require_alive(state, missing),
        )
        return state

    def _start(self, missing: Sequence[Program], state: State, say: Say) -> None:
        unbuilt = [program.name for program in missing if not os.access(places.binary(program.name), os.X_OK)]
        if unbuilt:
            raise BackendsError(f"{', '.join(unbuilt)}: not built yet; run make backends")
        require_free({name: state.ports[name] for program in missing for name in program.listens})
        for program in missing:
            say(f"starting {program.name}")
            state.processes[program.name] = processes.start(
                [places.binary(program.name), *program.arguments],
                program.environment,
                self.folder / "data" / program.name,
                self.log(program.name),
            )
            self._file.write_bytes(msgspec.json.encode(state))

    def _require_alive(self, state: State, started: Sequence[Program]) -> None:
        for program in started:
            if not state.processes[program.name].alive:
                raise BackendsError(
                    f"{program.name} ended at once, saying: {last_line(self.log(program.name))} "
                    f"(all of it: {self.log(program.name)})"
                )

    def log(self, name: str) -> Path:
        """Return the file that a backend prints to."""
        return self.folder / "logs" / f"{name}.log"

    def stop(self, *, delete_data: bool = False) -> list[str]:
        """End what :meth:`start` started, the Collector first, and return the names of what ran."""
        state = self.state()
        running = {} if state is None else {n: p for n, p in state.processes.items() if p.alive}
        # The Collector hands on what it holds while the others still listen.
        processes.stop([process for name, process in running.items() if name == "otelcol"])
        processes.stop(list(running.values()))
        self._file.unlink(missing_ok=True)
        if delete_data:
            shutil.rmtree(self.folder / "data", ignore_errors=True)
        return list(running)


def last_line(log: Path) -> str:
    """Return the last line of a log that says anything."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:400] if lines else "nothing"
