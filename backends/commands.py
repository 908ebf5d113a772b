"""The commands ``python -m backends build | start | stop | status``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from backends import build as building
from backends import places, readiness
from backends.errors import BackendsError, WrongOptionError
from backends.native import Native
from backends.ports import Ports, choose
from backends.programs import ready_urls, url

app = typer.Typer(
    name="backends",
    help="Build a Collector, Jaeger, VictoriaLogs and Prometheus, and run them on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

#: The configurations of the Collector that need nothing but the backends.
COLLECTORS = ("local", "gateway")

PortOption = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="NAME=N", help="Another port for a listener, such as jaeger=26686."),
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
            typer.echo(f"backends: {error}", err=True)
            raise typer.Exit(error.code) from None

    return run


def _native() -> Native:
    return Native(places.cache() / "run")


@app.command()
@_one_sentence
def build(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these. Default: all.")
    ] = None,
) -> None:
    """Build them from source, once; needs Go. This is make backends."""
    built = building.build_all(names or [], _say)
    typer.echo(
        f"{'built ' + ', '.join(built) if built else 'everything is built'} in {places.cache() / 'bin'}"
    )


@app.command()
@_one_sentence
def start(collector: CollectorOption = "local", port: PortOption = None, wait: WaitOption = 60.0) -> None:
    """Start them on loopback, wait until they are ready, and print where to look."""
    if collector not in COLLECTORS:
        raise WrongOptionError(f"--collector: {collector!r} is unknown: use {' or '.join(COLLECTORS)}")
    ports = choose(port or [])
    _native().start(ports, collector, wait, _say)
    _tell(ports)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _tell(ports: Ports) -> None:
    places_to_look = {
        "traces": f"{url(ports['jaeger'])}/api/traces/TRACE_ID (Jaeger)",
        "log events": f"{url(ports['victorialogs'])}/select/vmui (VictoriaLogs)",
        "metrics": f"{url(ports['prometheus'])} (Prometheus)",
    }
    for what, where in places_to_look.items():
        typer.echo(f"{what:<11}{where}")
    typer.echo(f"\nexport OTEL_EXPORTER_OTLP_ENDPOINT={url(ports['http'])}")
    typer.echo("stop with: python -m backends stop")


@app.command()
@_one_sentence
def stop(delete_data: DeleteOption = False) -> None:
    """Stop what start has started, and nothing else."""
    stopped = _native().stop(delete_data=delete_data)
    typer.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
@_one_sentence
def status() -> None:
    """Say which of them run and answer; exit code 1 if one does not."""
    native = _native()
    state = native.state()
    if state is None:
        raise BackendsError("no backends run: python -m backends start")
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
        typer.echo(f"{name:<13}{process.pid if process and alive else '-':<9}{said}")
    if not healthy:
        raise typer.Exit(1)
