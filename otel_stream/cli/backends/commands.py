"""The commands ``otel-stream backends up | down | status | build``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from otel_stream.cli.backends import build as building
from otel_stream.cli.backends import docker, places, readiness
from otel_stream.cli.backends.errors import BackendsError, WrongOptionError
from otel_stream.cli.backends.native import Native
from otel_stream.cli.backends.ports import Ports, choose
from otel_stream.cli.backends.programs import ready_urls, url

app = typer.Typer(
    name="backends",
    help="Run a Collector with Tempo, Jaeger, Loki and Prometheus behind it, on this machine.",
    no_args_is_help=True,
)

#: The configurations of ``collector-config`` that need nothing but the backends.
COLLECTORS = ("local", "gateway")

DockerOption = Annotated[
    bool | None,
    typer.Option(
        "--docker/--native",
        help="Containers, or what make backends built. Default: containers if docker is there.",
        show_default=False,
    ),
]
PortOption = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="NAME=N", help="Another port for a listener, such as tempo=13200."),
]
CollectorOption = Annotated[
    str,
    typer.Option(
        "--collector", metavar="NAME", help=f"Configuration of the Collector: {' or '.join(COLLECTORS)}."
    ),
]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", help="How long they may take to get ready.")
]
DeleteOption = Annotated[bool, typer.Option("--delete-data", help="Delete what they have stored, too.")]


def _one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def run(**options: Any) -> None:
        try:
            command(**options)
        except BackendsError as error:
            typer.echo(f"otel-stream: {error}", err=True)
            raise typer.Exit(error.code) from None

    return run


def _native() -> Native:
    return Native(places.cache() / "run")


@app.command()
@_one_sentence
def up(
    docker_wanted: DockerOption = None,
    collector: CollectorOption = "local",
    port: PortOption = None,
    wait: WaitOption = 60.0,
) -> None:
    """Start them on loopback, wait until they are ready, and print where to look."""
    if collector not in COLLECTORS:
        raise WrongOptionError(f"--collector: {collector!r} is unknown: use {' or '.join(COLLECTORS)}")
    ports = choose(port or [])
    in_docker = docker.is_there() if docker_wanted is None else docker_wanted
    if in_docker:
        docker.compose("up", "--detach", variables=docker.environment(ports, collector))
        ready = {**ready_urls(ports), "grafana": f"{url(ports['grafana'])}/api/health"}
        readiness.wait(ready, wait, _say)
    else:
        _native().up(ports, collector, wait, _say)
    _tell(ports, in_docker=in_docker)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _tell(ports: Ports, *, in_docker: bool) -> None:
    places_to_look = {
        "traces": f"{url(ports['jaeger'])}{'' if in_docker else '/api/traces/TRACE_ID'} (Jaeger)",
        "TraceQL": f"{url(ports['tempo'])} (Tempo, for Grafana)",
        "log events": f"{url(ports['loki'])} (Loki, for Grafana)",
        "metrics": f"{url(ports['prometheus'])} (Prometheus)",
    }
    if in_docker:
        places_to_look["all of it"] = f"{url(ports['grafana'])} (Grafana)"
    for what, where in places_to_look.items():
        typer.echo(f"{what:<11}{where}")
    typer.echo(f"\nexport OTEL_EXPORTER_OTLP_ENDPOINT={url(ports['http'])}")
    typer.echo(f"stop with: otel-stream backends down{' --docker' if in_docker else ''}")


@app.command()
@_one_sentence
def down(docker_wanted: DockerOption = None, delete_data: DeleteOption = False) -> None:
    """Stop what up has started, and nothing else."""
    native = _native()
    if docker_wanted or (docker_wanted is None and native.state() is None and docker.is_there()):
        docker.compose("down", *(["--volumes"] if delete_data else []))
        return
    stopped = native.down(delete_data=delete_data)
    typer.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
@_one_sentence
def status(docker_wanted: DockerOption = None) -> None:
    """Say which of them run and answer; exit code 1 if one does not."""
    native = _native()
    state = native.state()
    if docker_wanted or (docker_wanted is None and state is None and docker.is_there()):
        docker.compose("ps")
        return
    if state is None:
        raise BackendsError("no backends run: otel-stream backends up")
    healthy = True
    for name, ready in ready_urls(state.ports).items():
        process = state.processes.get(name)
        alive = process is not None and process.alive
        answering = alive and readiness.answers(ready)
        healthy &= answering
        said = (
            "ready"
            if answering
            else "runs, but does not answer"
            if alive
            else f"ended, see {native.log(name)}"
        )
        typer.echo(f"{name:<11}{process.pid if process and alive else '-':<9}{said}")
    if not healthy:
        raise typer.Exit(1)


@app.command()
@_one_sentence
def build(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these. Default: all.")
    ] = None,
) -> None:
    """Build them from source, once; needs Go and a clone of the repository. This is make backends."""
    built = building.build_all(names or [], _say)
    typer.echo(
        f"{'built ' + ', '.join(built) if built else 'everything is built'} in {places.cache() / 'bin'}"
    )
