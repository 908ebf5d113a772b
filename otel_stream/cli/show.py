"""``otel-stream show``: a run's tree, once, in the terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.cells import cell_len, set_cell_size

from otel_stream.cli.options import UsageError
from otel_stream.cli.terminal import Output, complain, exit_code, line
from otel_stream.cli.tree import OTHER, SIGNS, Line, Tree, duration
from otel_stream.encoding import printable

if TYPE_CHECKING:
    from otel_stream.view.reading import Reader

WhatArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE|RUN|TRACE",
        help="OTLP JSON lines, or the beginning of the id of a run or trace that the viewer keeps;"
        " its newest run by default.",
        show_default=False,
    ),
]
RunOption = Annotated[
    str, typer.Option(metavar="ID", help="Of a file one run or trace alone; the beginning of its id will do.")
]
DataOption = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Where the viewer keeps runs, if not where it does by itself."),
]
UnfoldOption = Annotated[
    bool, typer.Option("--unfold", help="Each of a fan-out, instead of one line for all.")
]

_ID: Final = re.compile(r"[0-9A-Za-z_-]+")
#: Columns of the names at most, and of the bar that shows when something was.
_NAMES: Final = 60
_BAR: Final = 24


def show(
    what: WhatArgument = None, run: RunOption = "", data: DataOption = None, unfold: UnfoldOption = False
) -> None:
    """Show the tree of a run: supersteps, nodes, attempts, and everybody's spans, each when it was.

    The exit code is 0 if no run that is shown failed, 1 if one did, 2 if there is nothing to show.
    """
    raise typer.Exit(exit_code(lambda: _show(what, run, data, unfold=unfold)))


def _show(what: str | None, run: str, data: str | None, *, unfold: bool) -> int:
    try:
        from otel_stream.view.places import data_folder
    except ImportError as error:
        raise UsageError(
            f"show needs what is not installed ({error.name}): install otel-stream[view]"
        ) from None
    if what is not None and Path(what).is_file():
        with _file(Path(what)) as reader:
            return _trees(reader, _runs(reader, run, what), unfold=unfold)
    with _store(Path(data) if data is not None else data_folder()) as reader:
        return _trees(reader, _runs(reader, what or "", "the viewer's store")[:1], unfold=unfold)


@contextmanager
def _file(file: Path) -> Iterator[Reader]:
    from otel_stream.view.serve import CannotServe, load
    from otel_stream.view.writer import Writer

    with TemporaryDirectory(prefix="otel-stream-show-") as folder:
        store = Path(folder, "store.db")
        writer = Writer(store, 2**40)
        try:
            damaged = load(writer, file)
        except CannotServe as error:
            raise UsageError(str(error)) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"{str(file)!r} cannot be read ({reason}); give a file that can") from None
        finally:
            writer.close()
        if damaged:
            complain(f"{damaged} lines of {str(file)!r} could not be read")
        yield from _reading(store)


@contextmanager
def _store(folder: Path) -> Iterator[Reader]:
    store = folder / "store.db"
    if not store.exists():
        raise UsageError(
            f"no viewer has kept runs in {str(folder)!r}: start otel-stream view, or give a file"
        )
    yield from _reading(store)


def _reading(store: Path) -> Iterator[Reader]:
    from otel_stream.view.reading import Reader

    reader = Reader(store)
    try:
        yield reader
    finally:
        reader.close()


def _runs(reader: Reader, id: str, where: str) -> list[dict[str, Any]]:
    """Return the runs whose id, or whose trace's, begins with ``id``, the oldest first; all for none."""
    if not id:
        found = reader.runs()
        if not found:
            raise UsageError(f"{where!r} has no runs")
        return found[::-1] if where != "the viewer's store" else found
    if _ID.fullmatch(id):
        for query in (f"run:{id}", f"trace:{id}"):
            if found := reader.runs(query):
                return found[::-1]
    raise UsageError(f"{id[:80]!r} is no file, and no run or trace of {where} begins like that")


def _trees(reader: Reader, runs: list[dict[str, Any]], *, unfold: bool) -> int:
    console = Output(soft_wrap=True)
    failed = False
    for number, run in enumerate(runs):
        if number:
            console.print()
        _tree(console, reader, run, unfold=unfold)
        failed |= SIGNS.get(run["state"], OTHER)[0] == "✖"
    return int(failed)


def _tree(console: Output, reader: Reader, run: dict[str, Any], *, unfold: bool) -> None:
    running = run["state"] == "running"
    spans = reader.run(run["key"])["spans"]
    ends = [span["end_time"] for span in spans if span["end_time"] is not None]
    end = run.get("ended") or (time.time() * 1e3 if running else max(ends, default=run["started"]))
    sign, colour = SIGNS.get(run["state"], OTHER)
    said = [f"{run['state']} {duration(end - run['started'])}"]
    said += [f"thread {run['thread']}"] if "thread" in run else []
    said += [run["service"]] if run["service"] else []
    said += [f"{run['tokens']:,} tokens"] if run["tokens"] else []
    said += [f"{run['dropped']:,} parts dropped"] if "dropped" in run else []
    said += [f"run {run['key']}"] if run["graph"] else []
    console.print(
        line((f"{sign} {run['name']}", f"bold {colour}"), f"  {' · '.join(said)} · trace {run['trace']}")
    )
    if "question" in run:
        console.print(line(("  waits for a human: ", "yellow"), run["question"]))
    lines = list(Tree(spans, run["root"], running=running, unfolded=unfold).lines())
    names = min(_NAMES, max((cell_len(_name(one)) for one in lines), default=0))
    for one in lines:
        _print(console, one, names, run["started"], max(end - run["started"], 0.001))
        if one.failed is not None and (why := reader.span(run["key"], one.failed)["about"].get("message")):
            console.print(line(f"{' ' * cell_len(one.branch)}   ", (str(why), "red")))


def _name(one: Line) -> str:
    note = f"  {one.note}" if one.note else ""
    return printable(f"{one.branch}{SIGNS.get(one.look, OTHER)[0]} {one.label}{note}")


def _print(console: Output, one: Line, names: int, start: float, whole: float) -> None:
    colour = SIGNS.get(one.look, OTHER)[1]
    took = "…" if one.end is None else duration(one.end - one.start)
    first = min(_BAR - 1, max(0, int((one.start - start) / whole * _BAR)))
    after = _BAR if one.end is None else min(_BAR, max(first + 1, round((one.end - start) / whole * _BAR)))
    bar = " " * first + "━" * (after - first) + " " * (_BAR - after)
    text = set_cell_size(_name(one), names)
    console.print(
        line((one.branch, "dim"), (text[len(one.branch) :], colour), "  ", (bar, colour), f" {took:>9}")
    )
