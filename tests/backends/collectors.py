"""A Collector of a test: started, killed, started again, asked for its counters."""

import os
import re
import signal
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from backends import places, processes, readiness
from backends.ports import Ports
from backends.programs import collector_environment, url


class Collector:
    """One process under a configuration file of ours, and those that are laid ``over`` it."""

    def __init__(
        self, file: Path, ports: Ports, folder: Path, variables: dict[str, str], over: Sequence[Path] = ()
    ) -> None:
        self.ports = ports
        self.endpoint = url(ports["http"])
        self.log = folder / "log"
        self._folder = folder
        self._command = [places.binary("otelcol"), *(f"--config={one}" for one in (file, *over))]
        self._environment = {**collector_environment(ports), **variables}
        self._process: processes.Process | None = None

    def start(self) -> "Collector":
        self._process = processes.start(self._command, self._environment, self._folder, self.log)
        readiness.wait({"otelcol": url(self.ports["health"])}, 30, lambda _: None, self._require_alive)
        return self

    def _require_alive(self) -> None:
        assert self._process is not None
        assert self._process.alive, self.log.read_text()

    def kill(self) -> None:
        """End it as a crash would: it gets no chance to write or send anything."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        processes.stop([self._process])

    def stop(self) -> None:
        if self._process is not None:
            processes.stop([self._process])

    def counter(self, name: str) -> float:
        """Return the sum of a metric of its own over all its series; 0 if there is none yet."""
        with urllib.request.urlopen(f"{url(self.ports['metrics'])}/metrics", timeout=5) as response:
            text = response.read().decode()
        pattern = rf"^{name}(?:_total)?(?:__[a-z]+_)?(?:_total)?(?:{{[^}}]*}})? ([0-9.e+]+)$"
        return sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))
