"""``otel-stream backends``: a Collector with stores and Grafana behind it, as containers on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from otel_stream.cli.terminal import complain, say

app = typer.Typer(
    name="backends",
    help="Run a Collector with stores and Grafana behind it, in containers.",
    no_args_is_help=True,
)

#: The stores that there are configurations and dashboards for, and the services of compose.yaml for each.
STORES: Final = {
    "tempo-loki": ("otelcol", "tempo", "loki", "prometheus", "grafana"),
    "jaeger-victorialogs": ("otelcol", "jaeger", "victorialogs", "prometheus", "grafana"),
}
COLLECTORS: Final = ("local", "gateway")
#: Where people look, with the port that compose.yaml publishes unless a variable names another.
_PLACES: Final = {
    "grafana": ("Grafana", 3000),
    "tempo": ("Tempo", 3200),
    "jaeger": ("Jaeger", 16686),
    "loki": ("Loki", 3100),
    "victorialogs": ("VictoriaLogs", 9428),
    "prometheus": ("Prometheus", 9090),
}
#: Seconds that docker may take to say that it is there.
_PATIENCE: Final = 10

StoresOption = Annotated[
    str, typer.Option("--stores", metavar="NAME", help=f"Traces and log events go to: {' or '.join(STORES)}.")
]
CollectorOption = Annotated[
    str,
    typer.Option(
        "--collector", metavar="NAME", help=f"Configuration of the Collector: {' or '.join(COLLECTORS)}."
    ),
]


@app.command()
def up(stores: StoresOption = "tempo-loki", collector: CollectorOption = "local") -> None:
    """Start them on loopback, and print where to look. OTEL_STREAM_PORT_GRAFANA=N moves a port."""
    _require("--stores", stores, tuple(STORES))
    _require("--collector", collector, COLLECTORS)
    services = STORES[stores]
    chosen = {"OTEL_STREAM_STORES": stores, "OTEL_STREAM_COLLECTOR": collector}
    _compose("up", "--detach", "--wait", *services, variables=chosen)
    for service, (title, default) in _PLACES.items():
        if service in services:
            say(f"{title:<14}{_url(service, default)}")
    say("")
    say(f"export OTEL_EXPORTER_OTLP_ENDPOINT={_url('http', 4318)}")
    say("stop with: otel-stream backends down")


def _url(name: str, default: int) -> str:
    port = os.environ.get(f"OTEL_STREAM_PORT_{name.upper()}") or default
    return f"http://127.0.0.1:{port}"


@app.command()
def down() -> None:
    """Stop them; what they have stored is gone."""
    _compose("down", "--volumes")


@app.command()
def status() -> None:
    """List those that run."""
    _compose("ps")


def _require(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        _end(f"{option}: {value!r} is unknown: use {' or '.join(known)}", 2)


def _compose(*arguments: str, variables: Mapping[str, str] | None = None) -> None:
    """Run docker compose with our file; it prints what it does."""
    if not _is_there():
        _end(
            "there is no docker compose that answers: start docker, or, without it, run `make backends` and "
            "`python -m backends start` in a clone of the repository"
        )
    # Behind --profile '*', `down` and `ps` mean the stores of either choice.
    command = ["docker", "compose", "--file", str(_file()), "--profile", "*", *arguments]
    code = subprocess.run(command, env={**os.environ, **(variables or {})}, check=False).returncode  # noqa: S603
    if code:
        _end(f"docker compose {arguments[0]} failed with exit code {code}: see what it says above")


def _is_there() -> bool:
    """Tell whether docker compose is installed and its daemon answers."""
    if shutil.which("docker") is None:
        return False
    return all(_answers(["docker", *arguments]) for arguments in (("compose", "version"), ("info",)))


def _answers(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _file() -> Path:
    """Return compose.yaml of the installed package, or of the clone."""
    package = Path(__file__).parents[1]
    files = [folder / "collector-config" / "compose.yaml" for folder in (package, package.parent)]
    return next((file for file in files if file.is_file()), files[0])


def _end(sentence: str, code: int = 1) -> None:
    complain(sentence)
    raise typer.Exit(code)
