"""``otel-stream replay``: what a run exported, told again on the terminal."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from otel_stream.cli.options import UsageError
from otel_stream.cli.terminal import complain, exit_code, print_json, say
from otel_stream.config import MODES
from otel_stream.encoding import encode, printable

if TYPE_CHECKING:
    from otel_stream.replay import Replay, ReplayedRun
    from otel_stream.stream.modes import StreamPart

FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="OTLP JSON lines, of ours or of a Collector, or Loki's answer to a query_range."
    ),
]
RunOption = Annotated[str, typer.Option(metavar="ID", help="One run alone; the beginning of its id will do.")]
ModesOption = Annotated[
    str, typer.Option(metavar="MODES", help="Stream modes, comma-separated; all by default.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Parts as JSON lines, as the live receiver had them.")
]
StateOption = Annotated[
    int | None, typer.Option(metavar="STEP", help="The state after this superstep instead of the parts.")
]


def replay(
    file: FileArgument,
    run: RunOption = "",
    modes: ModesOption = "",
    json: JsonOption = False,
    state_at: StateOption = None,
) -> None:
    """Tell a run again from its exported log events, and say what is missing.

    Needs content: export it with OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true. The exit
    code is 0 if everything is there, 1 if something is missing or can't be trusted, 2 if there is
    nothing to tell.
    """
    raise typer.Exit(exit_code(lambda: _replay(file, run, modes, json, state_at)))


def _replay(file: str, run: str, modes: str, json: bool, state_at: int | None) -> int:
    from otel_stream.replay import ReplayError
    from otel_stream.replay import replay as rebuilt

    try:
        found = rebuilt(file)
        wanted = _wanted(modes, found)
        if state_at is not None:
            return _show_state(found.run(run or None), state_at, json)
        runs = [found.run(run)] if run else list(found.runs)
    except ReplayError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{file!r} cannot be read ({reason}); give a file that can") from None
    for one in runs:
        _show(one, wanted, json)
    return _tell_problems(found, runs)


def _wanted(modes: str, found: Replay) -> frozenset[str]:
    names = frozenset(name.strip() for name in modes.split(",") if name.strip())
    known = {*MODES, *(part.type for part in found.parts)}
    unknown = sorted(names - known)
    if unknown:
        raise UsageError(
            f"--modes: unknown stream mode {unknown[0]!r}; give some of {', '.join(sorted(known))}"
        )
    return names


def _show(run: ReplayedRun, wanted: frozenset[str], json: bool) -> None:
    parts = [part for part in run.parts if not wanted or part.type in wanted]
    if json:
        for part in parts:
            print_json(part.to_json())
        return
    number = len(run.parts) + len(run.withheld)
    say(f"run {run.id} of {run.graph}: {run.end or 'end unknown'}, {number} parts, {len(run.states)} states")
    width = shutil.get_terminal_size((120, 24)).columns
    for part in parts:
        say(printable(_line(part))[:width])


def _line(part: StreamPart) -> str:
    where = "".join(f"{level.rpartition(':')[0] or level}/" for level in part.ns)
    step = "" if part.step is None else str(part.step)
    text = encode(part.data).decode()
    return f"{part.seq:>6}  step {step:>4}  {part.type:<11} {where}{part.node or '-'}  {text}"


_REMEDY = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=event_only has a program export content"


def _show_state(run: ReplayedRun, step: int, json: bool) -> int:
    import msgspec

    state = run.state_at(step)
    if state.values is None and not state.trusted:
        complain(f"{state}; {_REMEDY}")
        return 1
    text = encode(state.values)
    print_json(text if json else msgspec.json.format(text, indent=2))
    if state.step != step:
        complain(f"step {step} has no state; this is the one after step {state.step}, the last before it")
    if not state.trusted:
        complain(state)
    return 0 if state.trusted else 1


def _tell_problems(found: Replay, runs: list[ReplayedRun]) -> int:
    said = [*found.damaged]
    for run in runs:
        said += [f"run {run.id}: {problem}" for problem in _brief(run)]
    for sentence in said:
        complain(sentence)
    return 1 if said else 0


def _brief(run: ReplayedRun) -> list[str]:
    """Return the problems of a run, those of what was never exported in one sentence."""
    withheld = {part.seq for part in run.withheld}
    problems = [*map(str, run.holes)]
    if run.withheld:
        problems.append(
            f"{len(run.withheld)} of {len(run.parts) + len(run.withheld)} parts have no content: it was not "
            "exported, or cut (OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, max_body_bytes)"
        )
    if run.end is None:
        problems.append("how it ended is unknown: it goes on, or its last log events are missing")
    return problems + [str(state) for state in run.states if not state.trusted and state.seq not in withheld]
