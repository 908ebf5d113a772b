"""``otel-stream view``: runs in a browser, while they run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from otel_stream.cli.options import UsageError
from otel_stream.cli.terminal import complain, say

if TYPE_CHECKING:
    from otel_stream.view.places import Listening
    from otel_stream.view.serve import Options

FileArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE", help="OTLP JSON lines to show, instead of what comes in.", show_default=False
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Port of the page and of OTLP over HTTP; 4318 if that is free."),
]
GrpcPortOption = Annotated[
    int | None, typer.Option(metavar="N", help="Port of OTLP over gRPC; 4317 if that is free.")
]
HostOption = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Address to listen on. Beyond loopback, exporters need the token, too."
    ),
]
AllowedOption = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", metavar="NAME", help="A name under which a proxy shows the page."),
]
DataOption = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Where runs are kept; the user's data folder by default.")
]
SizeOption = Annotated[
    int, typer.Option(metavar="MB", help="How large that may become; the oldest runs go.", min=16)
]
BackendOption = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="OTEL_STREAM_VIEW_BACKEND",
        help="Address of a trace in Jaeger, Grafana or others, with {trace_id} in it.",
    ),
]
OpenOption = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")]

#: What makes a program's telemetry worth watching while it runs; what it has set itself wins.
LIVE: Final = {
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BLRP_SCHEDULE_DELAY": "200",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "OTEL_STREAM_EXPORT_STARTS": "spans",
    "OTEL_STREAM_EXPORT_MESSAGES": "chunks",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
}


#: Where a context keeps the program that stands behind ``--``.
_PROGRAM: Final = "otel_stream.program"


class BeforeProgram(TyperCommand):
    """A command whose own arguments end at ``--``; behind that stands a program with its arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own, program = args, list[str]()
        if "--" in args:
            place = args.index("--")
            own, program = args[:place], args[place + 1 :]
        ctx.meta[_PROGRAM] = program
        return super().parse_args(ctx, own)


def view(
    context: typer.Context,
    file: FileArgument = None,
    port: PortOption = None,
    grpc_port: GrpcPortOption = None,
    host: HostOption = "127.0.0.1",
    allowed_host: AllowedOption = None,
    data: DataOption = None,
    size: SizeOption = 1024,
    backend: BackendOption = "",
    open_page: OpenOption = True,
) -> None:
    """Show runs in a browser while they run: those of any program that exports OTLP to here.

    otel-stream view -- python app.py   starts a program so that all of it is seen.

    What came is kept in the user's data folder; nothing leaves this machine.
    """
    try:
        options = _options(file, port, grpc_port, host, tuple(allowed_host or ()), data, size, backend)
        code = run(options, context.meta[_PROGRAM], open_page=open_page)
    except UsageError as error:
        complain(error)
        code = 2
    except OSError as error:
        complain(f"{error.filename or 'the data folder'}: {(error.strerror or str(error)).lower()}")
        code = 2
    raise typer.Exit(code)


def _options(
    file: str | None,
    port: int | None,
    grpc_port: int | None,
    host: str,
    hosts: tuple[str, ...],
    data: str | None,
    size: int,
    backend: str,
) -> Options:
    try:
        from otel_stream.view.places import data_folder
        from otel_stream.view.serve import Options
    except ImportError as error:
        raise UsageError(
            f"the viewer needs what is not installed ({error.name}): install otel-stream[view]"
        ) from None
    if backend and "{trace_id}" not in backend:
        raise UsageError(f"--backend: {backend!r} has no {{trace_id}} in it; give the address of a trace")
    return Options(
        folder=Path(data) if data is not None else data_folder(),
        host=host,
        port=port,
        grpc_port=grpc_port,
        capacity=size * 2**20,
        hosts=hosts,
        backend=backend,
        file=None if file is None else Path(file),
    )


def run(options: Options, program: list[str], *, open_page: bool) -> int:
    """Serve until Ctrl-C; run ``program``, if one is given, so that all of it is seen.

    Raises:
        UsageError: the viewer cannot be started as asked for.
        OSError: a file or folder cannot be used.
    """
    from otel_stream.view import places
    from otel_stream.view.serve import CannotServe, serve

    started: list[subprocess.Popen[bytes]] = []

    def ready(listening: Listening) -> None:
        _tell(listening, options)
        if open_page:
            show(listening, options.folder)
        if program:
            started.append(_start(program, listening))

    try:
        asyncio.run(serve(options, ready))
    except CannotServe as error:
        raise UsageError(str(error)) from None
    except places.Taken as error:
        found = places.announced(options.folder)
        if found is None or program:
            raise UsageError(f"{error}; stop it, or name another folder with --data") from None
        say(f"A viewer is running already: {found.link}")
        if open_page:
            show(found, options.folder)
        return 0
    except KeyboardInterrupt:
        pass
    return started[0].wait() if started else 0


def _tell(listening: Listening, options: Options) -> None:
    say(f"Open {listening.link}")
    if listening.takes:
        say(f"OTLP over HTTP: {listening.http}   over gRPC: {listening.grpc}")
        say(f"A program that calls configure(): OTEL_EXPORTER_OTLP_ENDPOINT={listening.http} python app.py")
        say("Any other, with a page of its own: otel-stream view -- opentelemetry-instrument python app.py")
        say(f"Runs are kept in {options.folder}, up to {options.capacity // 2**20} MB. Ctrl-C ends this.")
    sys.stdout.flush()


def show(listening: Listening, folder: Path) -> None:
    """Open the page, where somebody would see it."""
    from otel_stream.view import places
    from otel_stream.view.serve import may_open_browser

    if may_open_browser():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        webbrowser.open(places.opening(folder, listening).as_uri())


def environment(listening: Listening) -> dict[str, str]:
    """Return the variables with which a program is seen as it runs; what is set already stays."""
    own = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": listening.http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{listening.token}",
    }
    return {**LIVE, **os.environ, **own}


def _start(program: list[str], listening: Listening) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(program, env=environment(listening))  # noqa: S603 - it is what the user asks for
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{program[0]!r} cannot be started ({reason})") from None
