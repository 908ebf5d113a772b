"""Real backends on free loopback ports, with their data in a temporary folder; ended by pid.

Not part of ``make test``: they run if this folder is named, as ``make test-backends`` does. What has to do
with stores runs with Jaeger and VictoriaLogs, which are started here, and with Tempo and Loki at
``OTEL_STREAM_TEMPO`` (OTLP over gRPC, host:port; queries go to ``OTEL_STREAM_TEMPO_URL``, by default port
3200 of that host) and ``OTEL_STREAM_LOKI``, or in docker. What does not run for the lack of them is listed.
"""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backends import places, readiness
from backends.native import Native
from backends.ports import LOOPBACK, Ports, free
from backends.programs import collector_environment, url
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


class Elsewhere(NamedTuple):
    """Tempo and Loki, which nothing here builds: the address for OTLP, and URLs."""

    otlp: str
    tempo: str
    loki: str


NOT_HERE = "no Tempo and Loki: set OTEL_STREAM_TEMPO and OTEL_STREAM_LOKI, or start docker"


@contextmanager
def tempo_and_loki() -> Iterator[Elsewhere]:
    """Find them by their addresses, or start their official images; skip the test if neither can be."""
    otlp, loki = os.environ.get("OTEL_STREAM_TEMPO"), os.environ.get("OTEL_STREAM_LOKI")
    if otlp and loki:
        tempo = os.environ.get("OTEL_STREAM_TEMPO_URL") or f"http://{otlp.rpartition(':')[0]}:3200"
        yield Elsewhere(otlp, tempo, loki)
        return
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip(NOT_HERE)
    ports = dict(zip(("TEMPO", "TEMPO_OTLP", "LOKI"), free().values(), strict=False))
    variables = {f"OTEL_STREAM_PORT_{name}": str(port) for name, port in ports.items()}
    file = places.configurations() / "compose.yaml"
    compose = ["docker", "compose", "--file", str(file), "--project-name", f"otel-stream-{uuid.uuid4().hex}"]
    environment = {**os.environ, **variables}
    try:
        subprocess.run([*compose, "up", "--detach", "tempo", "loki"], env=environment, check=True)
        yield Elsewhere(f"{LOOPBACK}:{ports['TEMPO_OTLP']}", url(ports["TEMPO"]), url(ports["LOKI"]))
    finally:
        subprocess.run([*compose, "down", "--volumes"], env=environment, check=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", ())
    if names := [report.nodeid for report in skipped if NOT_HERE in str(report.longrepr)]:
        terminalreporter.section(f"{len(names)} tests not run: {NOT_HERE}")
        terminalreporter.write("".join(f"{name}\n" for name in names))


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """Prometheus, Jaeger and VictoriaLogs with a Collector under gateway.yaml in front of them."""
    native, ports = Native(tmp_path_factory.mktemp("backends")), free()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in IMPATIENT.items():
            environment.setenv(name, value)
        try:
            native.start(ports, "gateway", 90, lambda _: None)
            yield ports
        finally:
            native.stop(delete_data=True)


@pytest.fixture(scope="session", params=["jaeger-victorialogs", "tempo-loki"])
def stack(request: Any, started: Ports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Each pair of stores, with a gateway in front of it; the same Prometheus is behind both."""
    known = collector_environment(started)
    prometheus = {"OTEL_STREAM_PROMETHEUS": known["OTEL_STREAM_PROMETHEUS"]}
    if request.param == "jaeger-victorialogs":
        urls = {name: url(started[name]) for name in ("jaeger", "victorialogs", "prometheus")}
        reached = {name: known[name] for name in ("OTEL_STREAM_JAEGER", "OTEL_STREAM_VICTORIALOGS")}
        yield Stack(request.param, started, urls, prometheus | reached)
        return
    with ExitStack() as closing:
        there = closing.enter_context(tempo_and_loki())
        urls = {"tempo": there.tempo, "loki": there.loki, "prometheus": prometheus["OTEL_STREAM_PROMETHEUS"]}
        readiness.wait({n: f"{urls[n]}/ready" for n in ("tempo", "loki")}, 120, lambda _: None)
        variables = prometheus | {"OTEL_STREAM_TEMPO": there.otlp, "OTEL_STREAM_LOKI": there.loki}
        file, ports = places.configurations() / request.param / "gateway.yaml", free()
        gateway = Collector(file, ports, tmp_path_factory.mktemp("gateway"), IMPATIENT | variables)
        closing.callback(gateway.stop)
        gateway.start()
        yield Stack(request.param, ports, urls, variables)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """Make Collectors of this test; they listen on ports of their own, and are ended with the test."""
    made: list[Collector] = []

    def make(configuration: str, ports: Ports | None = None, **environment: str) -> Collector:
        """``configuration`` is that of a file in collector-config, such as tempo-loki/gateway."""
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
