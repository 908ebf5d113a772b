"""Real backends on free loopback ports, with their data in a temporary folder; ended by pid.

Not part of ``make test``: they run if this folder is named, as ``make test-backends`` does.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_stream.cli.backends import places
from otel_stream.cli.backends.native import Native
from otel_stream.cli.backends.ports import Ports, free
from tests.backends.collectors import Collector
from tests.backends.stores import Stack

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

#: What makes a gateway decide and report in seconds instead of minutes.
IMPATIENT = {
    "OTEL_STREAM_DECISION_WAIT": "4s",
    "OTEL_STREAM_DECISION_WAIT_AFTER_ROOT": "1s",
    "OTEL_STREAM_METRICS_INTERVAL": "1s",
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    return None if any(path == HERE or HERE in path.parents for path in named) else True


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Prometheus, Tempo, Jaeger and Loki with a Collector under gateway.yaml before them."""
    folder = tmp_path_factory.mktemp("backends")
    native, ports = Native(folder), free()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in IMPATIENT.items():
            environment.setenv(name, value)
        try:
            native.up(ports, "gateway", 90, lambda _: None)
            yield Stack(ports, native)
        finally:
            native.down(delete_data=True)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """Make Collectors of this test; they listen on ports of their own, and are ended with the test."""
    made: list[Collector] = []

    def make(configuration: str, ports: Ports | None = None, **environment: str) -> Collector:
        known = ports or free()
        file = places.configurations() / f"{configuration}.yaml"
        variables = {**IMPATIENT, "OTEL_STREAM_QUEUE_DIRECTORY": str(tmp_path / "queue"), **environment}
        made.append(Collector(file, known, tmp_path / f"collector-{len(made)}", variables))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Demo:
    """``otel-stream demo`` in a process of its own, and what it says it exported."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.trace_id = ""
        self.exported: dict[str, int] = {}
        self.lost: dict[str, int] = {}

    def finish(self) -> "Demo":
        _, said = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, said
        self.trace_id = re.findall(r"Trace ([0-9a-f]{32})", said)[0]
        self.exported, self.lost = numbers("Exported", said), numbers("LOST", said)
        return self


def numbers(word: str, said: str) -> dict[str, int]:
    found = re.search(rf"{word} ([\d,]+) spans?, ([\d,]+) log events?", said)
    counts = [0, 0] if found is None else [int(text.replace(",", "")) for text in found.groups()]
    return dict(zip(("spans", "logs"), counts, strict=True))


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start the demo with telemetry to an OTLP endpoint over HTTP."""
    started: list[Demo] = []

    def start(endpoint: str, *options: object, **environment: str) -> Demo:
        variables: dict[str, Any] = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            **environment,
        }
        started.append(
            Demo(
                subprocess.Popen(
                    [sys.executable, "-m", "otel_stream.cli", "demo", *map(str, options), "--json"],
                    cwd=tmp_path,
                    env=variables,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        )
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        if one.process.stderr is not None:
            one.process.stderr.close()
