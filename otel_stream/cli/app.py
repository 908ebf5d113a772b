"""The commands: what one may type, and what is said when it makes no sense.

Exit codes: 0 it worked, 1 it failed, 2 it was asked for wrongly, 3 it waits for an answer, 130 interrupted
with Ctrl-C, 141 nobody reads the output any more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from otel_stream.cli.backends import app as backends
from otel_stream.cli.doctor.command import doctor
from otel_stream.cli.options import DemoOptions, RunOptions, UsageError
from otel_stream.cli.replay import replay
from otel_stream.cli.run import AnswerOption, ConfigOption, GraphArgument, InputOption
from otel_stream.cli.show import show
from otel_stream.cli.tail import tail
from otel_stream.cli.terminal import complain, say
from otel_stream.cli.view import BeforeProgram
from otel_stream.cli.view import view as view_
from otel_stream.config import MODES, OverflowPolicy

app = typer.Typer(
    name="otel-stream",
    help="Live streams and OpenTelemetry for graph runs, from one source.",
    no_args_is_help=True,
    add_completion=False,
    # What goes wrong is said in one sentence; boxes and tracebacks with local values are not for users.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(backends)
app.command()(replay)
app.command()(doctor)
app.command()(show)
app.command()(tail)
app.command("view", cls=BeforeProgram)(view_)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            say(f"otel-stream {version('otel-stream')}")
        except PackageNotFoundError:
            say("otel-stream (not installed)")
        raise typer.Exit


@app.callback()
def _program(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Live streams and OpenTelemetry for graph runs, from one source."""


#: Without *tools*, of which the demo calls none.
_ALL_MODES = ",".join(mode for mode in MODES if mode != "tools")

PathArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="PATH",
        help="A file or folder with Python source. Default: parts of the standard library.",
        show_default=False,
    ),
]
ChaosOption = Annotated[
    float,
    typer.Option(
        metavar="RATE",
        help="Share of attempts that fail, 0 to 1. Failed nodes are retried; 1 fails the run.",
    ),
]
SeedOption = Annotated[int, typer.Option(metavar="N", help="Decides which attempts fail.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the stream's parts, one JSON object a line, and nothing else.")
]
ModesOption = Annotated[str, typer.Option(metavar="A,B", help=f"Stream modes, of {', '.join(MODES)}.")]
BufferOption = Annotated[int, typer.Option(metavar="N", help="Parts that may wait for the consumer.")]
OverflowOption = Annotated[
    str,
    typer.Option(
        metavar="POLICY", help=f"What happens when the buffer is full: {', '.join(OverflowPolicy)}."
    ),
]
SampleOption = Annotated[
    float, typer.Option(metavar="RATIO", help="Share of the parts that is kept, 0 to 1.")
]
BudgetOption = Annotated[
    int, typer.Option(metavar="N", help="Functions that are inspected more closely, at most 50.")
]
LimitOption = Annotated[int, typer.Option(metavar="FILES", help="Audit at most so many files.")]
TelemetryOption = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="Append telemetry to this file (OTLP JSON lines) unless OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    ),
]
FileOption = Annotated[
    str, typer.Option(metavar="FILE", help="Append telemetry to this file (OTLP JSON lines).")
]
ViewOption = Annotated[bool, typer.Option("--view", help="Show the run in a browser, too, while it runs.")]


def _shown(run: Callable[[], int], *, view: bool) -> int:
    if not view:
        return run()
    from otel_stream.cli.watched import Watched

    with Watched() as watched:
        code = run()
        watched.stay()
    return code


@app.command("run")
def run_(
    graph: GraphArgument,
    input: InputOption = "",
    config: ConfigOption = "",
    answer: AnswerOption = None,
    json: JsonOption = False,
    modes: ModesOption = _ALL_MODES,
    buffer: BufferOption = 1024,
    overflow: OverflowOption = OverflowPolicy.BLOCK.value,
    sample: SampleOption = 1.0,
    telemetry: FileOption = "",
    view: ViewOption = False,
) -> None:
    """Run a graph, ours or LangGraph's: a live display, an account, and its result as JSON.

    What it asks is asked at the terminal, or answered by --answer; where neither is, the exit code is 3.
    Telemetry goes where OTEL_EXPORTER_OTLP_ENDPOINT says, to a file, or nowhere.
    """
    try:
        options = RunOptions(
            json=json, modes=modes, buffer=buffer, overflow=overflow, sample=sample, telemetry=telemetry
        )
        from otel_stream.cli.answers import Answers
        from otel_stream.cli.run import load, read_all
        from otel_stream.cli.running import run

        answers = Answers(read_all("--answer", answer or ()), asks=sys.stdin.isatty() and not json)
        program = load(graph, input, config, asked=answers.any)
        code = _shown(lambda: run(program, options, answers, shown=True), view=view)
    except UsageError as error:
        complain(error)
        code = 2
    sys.stdout.flush()
    raise typer.Exit(code)


@app.command()
def demo(
    path: PathArgument = None,
    chaos: ChaosOption = 0.0,
    seed: SeedOption = 0,
    json: JsonOption = False,
    modes: ModesOption = _ALL_MODES,
    buffer: BufferOption = 1024,
    overflow: OverflowOption = OverflowPolicy.BLOCK.value,
    sample: SampleOption = 1.0,
    budget: BudgetOption = 5,
    limit: LimitOption = 300,
    telemetry: TelemetryOption = "otel-stream-demo.otlp.jsonl",
    view: ViewOption = False,
) -> None:
    """Audit Python source as a graph: a live display, a report, and telemetry over OTLP.

    A model writes the report if OPENAI_API_KEY or OPENAI_BASE_URL (and OPENAI_MODEL) name one; it is
    told findings and measures, not the source.

    With one seed, --json gives the same parts every time, except for what identifies this run or
    the moment (seq, time_unix_nano, run_id, task_id, trace_id, span_id, the task ids in ns, the ids
    and times in checkpoints and debug) and for the order of what runs side by side.
    """
    try:
        options = DemoOptions(
            path=path, chaos=chaos, seed=seed, json=json, modes=modes, buffer=buffer, overflow=overflow,
            sample=sample, budget=budget, limit=limit, telemetry=telemetry,
        )  # fmt: skip
        from otel_stream.cli.demo import load
        from otel_stream.cli.running import run

        code = _shown(lambda: run(load(options), options), view=view)
    except UsageError as error:
        complain(error)
        code = 2
    sys.stdout.flush()
    raise typer.Exit(code)
