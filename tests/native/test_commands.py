"""``python -m backends``, with small programs in the place of binaries that take half an hour to build."""

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from backends.commands import app
from backends.native import Native
from backends.ports import Ports, free
from backends.processes import birth, stop
from backends.programs import ready_urls
from backends.readiness import answers

NAMES = ["prometheus", "jaeger", "victorialogs", "otelcol"]
Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("OTEL_STREAM_BACKENDS_HOME", str(tmp_path))
    (tmp_path / "bin").mkdir()
    source = Path(__file__).with_name("stand_in.py").read_text()
    for name in NAMES:
        program = tmp_path / "bin" / name
        program.write_text(f"#!{sys.executable}\n{source}")
        program.chmod(0o755)
    yield tmp_path
    Native(tmp_path / "run").stop()


@pytest.fixture
def ports() -> Ports:
    return free()


@pytest.fixture
def backends(home: Path, ports: Ports) -> Run:
    """Run a command; ``start`` gets free ports."""

    def run(command: str, *arguments: str) -> Result:
        chosen = [f"--port={name}={port}" for name, port in ports.items()] if command == "start" else []
        return CliRunner().invoke(app, [command, *chosen, *arguments])

    return run


def pids(home: Path) -> dict[str, int]:
    state = json.loads((home / "run" / "state.json").read_text())
    return {name: process["pid"] for name, process in state["processes"].items()}


def test_start_starts_all_waits_for_them_and_says_where_to_look_and_how_to_stop(
    home: Path, backends: Run, ports: Ports
) -> None:
    done = backends("start")
    assert done.exit_code == 0, done.output
    assert list(pids(home)) == NAMES
    assert [name for name, url in ready_urls(ports).items() if not answers(url)] == []
    assert f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{ports['http']}\n" in done.stdout
    assert done.stdout.endswith("stop with: python -m backends stop\n")


def test_a_second_start_starts_nothing_and_says_the_same(home: Path, backends: Run) -> None:
    first, before = backends("start"), pids(home)
    second = backends("start")
    assert (second.exit_code, second.stdout) == (0, first.stdout)
    assert pids(home) == before


def test_start_starts_again_only_what_has_ended(home: Path, backends: Run) -> None:
    backends("start")
    before = pids(home)
    state = Native(home / "run").state()
    assert state is not None
    stop([state.processes["victorialogs"]])
    assert backends("status").exit_code == 1
    assert backends("start").exit_code == 0
    after = pids(home)
    assert {name for name in NAMES if before[name] != after[name]} == {"victorialogs"}


def test_stop_ends_exactly_these_processes(home: Path, backends: Run) -> None:
    backends("start")
    started = pids(home)
    done = backends("stop")
    assert done.stdout == f"stopped {', '.join(NAMES)}\n"
    assert {name: birth(pid) for name, pid in started.items()} == dict.fromkeys(NAMES, "")
    assert backends("stop").stdout == "nothing was running\n"


def test_status_says_who_is_ready(home: Path, backends: Run) -> None:
    assert backends("status").exit_code == 1
    backends("start")
    done = backends("status")
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines()] == [
        [name, str(pids(home)[name]), "ready"] for name in NAMES
    ]


def test_other_ports_than_those_that_run_are_refused(backends: Run, ports: Ports) -> None:
    backends("start")
    other = dict(ports)
    ports["jaeger"] = free()["jaeger"]
    done = backends("start")
    assert done.exit_code == 1
    assert "backends run already, with local.yaml or other ports: python -m backends stop" in done.stderr
    ports.update(other)


def test_a_port_in_use_is_one_sentence_and_nothing_is_started(
    home: Path, backends: Run, ports: Ports
) -> None:
    with socket.create_server(("127.0.0.1", ports["jaeger-grpc"])):
        done = backends("start")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"backends: port {ports['jaeger-grpc']}, which is for jaeger-grpc, is in use: stop what listens"
    )
    assert not (home / "run" / "state.json").exists()


def test_what_ends_at_once_is_named_with_its_last_words(
    home: Path, backends: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "jaeger")
    done = backends("start")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        "backends: jaeger ended at once, saying: jaeger: the configuration is no good "
        f"(all of it: {home / 'run' / 'logs' / 'jaeger.log'})"
    )


def test_what_is_not_built_is_named(home: Path, backends: Run) -> None:
    (home / "bin" / "jaeger").unlink()
    done = backends("start")
    assert (done.exit_code, done.stderr) == (
        1,
        "backends: jaeger: not built yet; run make backends\n",
    )


def test_an_unknown_configuration_is_refused(backends: Run) -> None:
    done = backends("start", "--collector", "remote")
    assert (done.exit_code, done.stderr) == (
        2,
        "backends: --collector: 'remote' is unknown: use local or gateway\n",
    )


def test_without_go_building_says_what_is_missing(
    backends: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert shutil.which("go") is None
    done = backends("build")
    assert done.exit_code == 1
    assert done.stderr.startswith(
        "backends: building backends needs Go 1.26 or newer, and there is no program"
    )


def test_an_unknown_backend_is_not_built(backends: Run) -> None:
    done = backends("build", "zipkin")
    assert (done.exit_code, done.stderr.split(":")[:2]) == (1, ["backends", " 'zipkin' is no backend"])
