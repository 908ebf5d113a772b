"""The command ``otel-stream doctor``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from otel_stream.cli.options import UsageError
from otel_stream.cli.terminal import Output, complain, print_json

EndpointArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="ENDPOINT",
        help="OTLP endpoint, such as http://localhost:4318. Default: what OTEL_* says.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", help="How long a backend may take to show the run.")
]


def _backend(name: str, title: str) -> typer.models.OptionInfo:
    variable = f"OTEL_STREAM_DOCTOR_{name.upper()}"
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", metavar="URL", envvar=variable, show_default=False, help=f"Where to ask {title}."
    )
    return option


def doctor(
    endpoint: EndpointArgument = None,
    json: JsonOption = False,
    wait: WaitOption = 15.0,
    tempo: Annotated[str, _backend("tempo", "Tempo")] = "",
    jaeger: Annotated[str, _backend("jaeger", "Jaeger")] = "",
    loki: Annotated[str, _backend("loki", "Loki")] = "",
    victorialogs: Annotated[str, _backend("victorialogs", "VictoriaLogs")] = "",
    prometheus: Annotated[str, _backend("prometheus", "Prometheus")] = "",
) -> None:
    """Send one run through the configured endpoint, follow it, and say where it stops and what to change.

    The run is a graph of two nodes without any content. Only the endpoint, and backends on this machine
    or named here, are contacted. The exit code is 0 if all signals arrived, 1 if one did not, 2 if a
    variable or option makes no sense.
    """
    given = {
        "tempo": tempo,
        "jaeger": jaeger,
        "loki": loki,
        "victorialogs": victorialogs,
        "prometheus": prometheus,
    }
    try:
        code = _examine(endpoint, given, wait, json=json)
    except UsageError as error:
        complain(error)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    raise typer.Exit(code)


def _examine(endpoint: str | None, given: dict[str, str], wait: float, *, json: bool) -> int:
    from otel_stream.cli.doctor.examination import Options, examine
    from otel_stream.cli.doctor.following import addresses
    from otel_stream.cli.doctor.show import show

    if not 0 <= wait < math.inf:
        raise UsageError(f"--wait: {wait:g} is no time; give seconds, 0 or more")
    try:
        options = Options(endpoint, dict(addresses(given)), wait, folder=Path.cwd())
    except ValueError as error:
        raise UsageError(str(error)) from None
    with Output(stderr=True).status("looking around", spinner="dots") as status:
        report = examine(options, status.update)
    if json:
        print_json(report.to_json())
    else:
        show(report, Output())
    return 0 if report.arrived else 1
