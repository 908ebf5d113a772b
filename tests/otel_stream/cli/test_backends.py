"""``otel-stream backends``: which services of compose.yaml it starts, and what it says without docker."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from otel_stream.cli.app import app
from otel_stream.cli.backends import STORES

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "collector-config" / "compose.yaml"
Run = Callable[..., Result]

DOCKER = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    chosen = {{n: v for n, v in os.environ.items() if n.startswith("OTEL_STREAM_")}}
    log.write(json.dumps([sys.argv[1:], chosen]) + "\\n")
sys.exit({code} if "--file" in sys.argv else 0)
"""


class Docker:
    """A program that is called docker, and what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self._program = folder / "docker"
        self.end(0)

    def end(self, code: int) -> None:
        """Make compose end with this code."""
        self._program.write_text(DOCKER.format(python=sys.executable, log=str(self.log), code=code))
        self._program.chmod(0o755)

    def composed(self) -> list[tuple[list[str], dict[str, str]]]:
        calls = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [(call, variables) for call, variables in calls if "--file" in call]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return Docker(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["backends", *arguments])


@pytest.mark.parametrize("stores", STORES)
def test_up_starts_the_collector_and_the_stores_that_were_chosen(docker: Docker, stores: str) -> None:
    done = run("up", "--stores", stores, "--collector", "gateway")
    assert done.exit_code == 0, done.output
    ((command, variables),) = docker.composed()
    assert command[:3] == ["compose", "--file", str(COMPOSE)]
    assert tuple(command[command.index("--wait") + 1 :]) == STORES[stores]
    assert (variables["OTEL_STREAM_STORES"], variables["OTEL_STREAM_COLLECTOR"]) == (stores, "gateway")
    assert (COMPOSE.parent / stores / "gateway.yaml").is_file()
    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318\n" in done.stdout
    shown = {line.split()[0].lower() for line in done.stdout.splitlines() if "  http" in line}
    assert shown == set(STORES[stores]) - {"otelcol"}


def test_every_service_that_is_started_is_in_compose_and_shown_with_its_port(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    assert {name for chosen in STORES.values() for name in chosen} == services.keys()
    for stores, chosen in STORES.items():
        said = run("up", "--stores", stores).stdout
        published = " ".join(port for name in chosen for port in services[name]["ports"])
        for line in said.splitlines():
            if "  http" in line:
                assert f":-{line.rpartition(':')[2]}}}" in published, line
    monkeypatch.setenv("OTEL_STREAM_PORT_GRAFANA", "13000")
    monkeypatch.setenv("OTEL_STREAM_PORT_HTTP", "14318")
    said = run("up").stdout
    assert "http://127.0.0.1:13000" in said
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:14318" in said


def test_without_stores_named_compose_itself_starts_the_same(docker: Docker) -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    default = {name for name, service in services.items() if "profiles" not in service}
    run("up")
    ((command, _),) = docker.composed()
    assert set(command[command.index("--wait") + 1 :]) == default


@pytest.mark.parametrize(("command", "said"), [("down", ["down", "--volumes"]), ("status", ["ps"])])
def test_down_and_status_mean_the_stores_of_either_choice(
    docker: Docker, command: str, said: list[str]
) -> None:
    assert run(command).exit_code == 0
    ((called, _),) = docker.composed()
    assert called[3:] == ["--profile", "*", *said]


def test_a_compose_that_fails_is_one_sentence(docker: Docker) -> None:
    docker.end(17)
    done = run("up")
    assert (done.exit_code, done.stderr) == (
        1,
        "otel-stream: docker compose up failed with exit code 17: see what it says above\n",
    )


@pytest.mark.parametrize("command", ["up", "down", "status"])
@pytest.mark.parametrize("there", ["none", "no daemon"])
def test_without_docker_it_says_in_one_sentence_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, there: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if there == "no daemon":
        (tmp_path / "docker").write_text(f'#!{sys.executable}\nimport sys; sys.exit("info" in sys.argv)\n')
        (tmp_path / "docker").chmod(0o755)
    done = run(command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "otel-stream: there is no docker compose that answers: start docker, or, without it, run "
        "`make backends` and `python -m backends start` in a clone of the repository\n"
    )


@pytest.mark.parametrize(
    ("option", "value", "use"),
    [
        ("--stores", "tempo", "tempo-loki or jaeger-victorialogs"),
        ("--collector", "agent", "local or gateway"),
    ],
)
def test_an_unknown_choice_is_refused(option: str, value: str, use: str) -> None:
    done = run("up", option, value)
    assert (done.exit_code, done.stderr) == (2, f"otel-stream: {option}: {value!r} is unknown: use {use}\n")
