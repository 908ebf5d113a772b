"""A Kafka broker of a test's own: one KRaft node on a free loopback port, its data in a temporary folder."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from backends.ports import LOOPBACK, free

HERE = Path(__file__).parent
#: Where `make test-scale` has Maven put Kafka.
LIBRARIES = HERE / "kafka" / "libs"
_PR_SET_PDEATHSIG = 1
_JAVA = (
    "java",
    "-Xms128m",
    "-Xmx384m",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
#: Seconds that a broker may take to come up.
_PATIENCE = 60

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=BROKER://{broker},CONTROLLER://{controller}
advertised.listeners=BROKER://{broker}
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
num.partitions=4
auto.create.topics.enable=true
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=500
log.segment.delete.delay.ms=0
"""


class Broker:
    """A broker that can be killed, started again where it was, and stood still."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        self.port, controller = list(free().values())[:2]
        self.address = f"{LOOPBACK}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = self.folder / "server.properties"
        self._settings.write_text(
            PROPERTIES.format(broker=self.address, controller=f"{LOOPBACK}:{controller}", folder=self.folder)
        )
        cluster = urlsafe_b64encode(b"otel-stream-test").decode().rstrip("=")  # of 16 bytes
        self._run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._settings)

    def _command(self, *what: Any) -> list[Any]:
        return [*_JAVA, "-cp", f"{LIBRARIES}/*", *what]

    def _run(self, *what: Any) -> None:
        subprocess.run(
            self._command(*what), check=True, capture_output=True, timeout=_PATIENCE, cwd=self.folder
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", self._settings),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_end_with_us if sys.platform == "linux" else None,  # noqa: PLW1509 - calls C alone
            )
        while not self._listens():
            assert self._process.poll() is None, (self.folder / "log").read_text()

    def _listens(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Have it gone at once, without a chance to write anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def pause(self) -> None:
        """Have it stand still: connections are there, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it if it runs, and remove what it kept."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)


def _end_with_us() -> None:
    """Have the kernel stop the broker where whoever started it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
