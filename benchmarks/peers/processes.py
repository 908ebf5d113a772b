"""The processes of the contenders: started, told to go on, listened to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers.contenders import Contender, Part
from benchmarks.peers.environments import python

ROOT = Path(__file__).parent.parent.parent
#: At the end of the path, so that a folder of this repository hides no package of a peer.
START = f"import sys; sys.path.append({str(ROOT)!r}); from benchmarks.peers.worker import main; main()"
#: Variables by which a shell would change what is measured.
AMBIENT = (
    "OTEL_",
    "LANGCHAIN_",
    "LANGSMITH_",
    "LANGGRAPH_",
    "LANGFUSE_",
    "TRACELOOP_",
    "OPENINFERENCE_",
    "MLFLOW_",
    "AGENTO11Y_",
    "PEERS_",
)
#: Nobody calls home, and what is sent to us takes no detour.
QUIET = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "NO_PROXY": "127.0.0.1"}
EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)\b")


class ContenderError(Exception):
    """A contender's process ended, or said that it could not go on."""


class Process:
    """One contender at one task; used as a context manager."""

    def __init__(
        self,
        contender: Contender,
        task: Part,
        *more: str,
        sampled: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.contender = contender
        kept = {name: value for name, value in os.environ.items() if not name.startswith(AMBIENT)}
        about = {**QUIET, "OTEL_SERVICE_NAME": "peers", **contender.always, **(variables or {})}
        arguments = [task, contender.name, "sampled" if sampled else "unsampled", *more]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            # Isolated from the working directory and the user's site, not from the environment.
            [str(python(contender.environment)), "-P", "-s", "-W", "ignore", "-c", START, *arguments],
            env={**kept, **about},
            cwd=tempfile.gettempdir(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def hear(self) -> Any:
        """Return the next answer.

        Raises:
            ContenderError: the process has ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or [f"ended with {self._process.wait()}"]
            # After the exception there may be notes on it.
            raise ContenderError(
                next((one for one in reversed(said) if EXCEPTION.match(one)), said[-1])[:300]
            )
        return json.loads(line)

    def ask(self) -> Any:
        """Tell it to go on, and return what it answers.

        Raises:
            ContenderError: the process has ended instead.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # why, it has written on its way out
        return self.hear()
