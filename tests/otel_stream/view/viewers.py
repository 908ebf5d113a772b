"""A viewer in a process of its own, as its user starts it; ended by its pid."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from otel_stream.view.places import Listening, announced

ROOT = Path(__file__).parents[3]


def wait_for(found: Callable[[], Any], seconds: float = 30) -> Any:
    """Ask until there is an answer; polling, as the other side is another process."""
    until = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < until, f"not within {seconds} seconds"
        time.sleep(0.02)
    return answer


class Viewer:
    """Where it listens, and what it answers."""

    def __init__(self, listening: Listening, process: subprocess.Popen[str], client: httpx.Client) -> None:
        self.listening = listening
        self.process = process
        self.client = client

    def get(self, path: str, /, **parameters: Any) -> Any:
        answer = self.client.get(f"/api/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def runs(self, q: str = "") -> list[Any]:
        return self.get("runs", q=q)["runs"]


@contextmanager
def viewer(folder: Path, *arguments: str, end: int = signal.SIGINT) -> Iterator[Viewer]:
    """Start a viewer on free ports; a file it shows is among ``arguments``."""
    program = "from otel_stream.cli import main; main()"
    command = [sys.executable, "-c", program, "view", *arguments, "--no-open", "--data", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--grpc-port", "0"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        link = process.stdout.readline().removeprefix("Open ").strip()
        assert "#t=" in link, process.stderr.read()
        http, _, token = link.partition("/#t=")
        found = announced(folder) or Listening(http, None, token, process.pid, takes=False)
        with httpx.Client(base_url=http, headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
            yield Viewer(msgspec.structs.replace(found, http=http), process, client)
    finally:
        if process.poll() is None:
            process.send_signal(end)
        _, errors = process.communicate(timeout=20)
        if end == signal.SIGINT:
            assert errors == ""
