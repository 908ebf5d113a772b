"""``otel-stream tail``: what runs do, line by line while they do it, from a viewer's feed."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeAlias

import typer

from otel_stream.cli.options import UsageError
from otel_stream.cli.terminal import Output, complain, exit_code, line
from otel_stream.cli.tree import OTHER, SIGNS, duration, label

if TYPE_CHECKING:
    from otel_stream.view.places import Listening

Row: TypeAlias = "dict[str, Any]"

QueryArgument = Annotated[
    str,
    typer.Argument(
        metavar="QUERY", help="Only runs that this finds, as the page's search does: thread:t7 graph:triage."
    ),
]
ModesOption = Annotated[
    str, typer.Option(metavar="A,B", help="Parts of these stream modes, too, such as updates,messages.")
]
SpansOption = Annotated[bool, typer.Option("--spans", help="Everybody's spans, not those of nodes alone.")]
DataOption = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Where the viewer keeps runs, if not where it does.")
]

#: Seconds of silence after which the viewer is gone; it gives signs of life more often.
_SILENCE: Final = 30
#: How often a viewer that is gone is looked for, and seconds between.
_TRIES: Final = 5
_BETWEEN: Final = 0.5
#: Characters of a part that are shown.
_LONGEST: Final = 400
#: Runs of which it is known what was told.
_REMEMBERED: Final = 1_000
_ERROR: Final = 2
_ENDS: Final = {"error": "failed", "interrupted": "waits"}


def tail(
    query: QueryArgument = "", modes: ModesOption = "", spans: SpansOption = False, data: DataOption = None
) -> None:
    """Follow what runs do, line by line, until Ctrl-C: those that a viewer hears of, from now on.

    Programs are heard of as by otel-stream view, which has to run, in whichever terminal or browser.
    """
    shown = Shown(tuple(mode for mode in modes.split(",") if mode), spans=spans)
    try:
        code = exit_code(lambda: _tail(query, shown, data))
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)


def _tail(query: str, shown: Shown, data: str | None) -> int:
    for one in _lines(Viewer(_viewer(data)), query, shown):
        Output(soft_wrap=True).print(one)
        sys.stdout.flush()
    complain("the viewer was stopped")
    return 0


def _viewer(data: str | None) -> Listening:
    try:
        from otel_stream.cli.watched import running
        from otel_stream.view.places import data_folder
    except ImportError as error:
        raise UsageError(
            f"tail needs what is not installed ({error.name}): install otel-stream[view]"
        ) from None
    folder = Path(data) if data is not None else data_folder()
    found = running(folder)
    if found is None:
        raise UsageError(f"no viewer writes into {str(folder)!r}: start otel-stream view")
    return found


class Viewer:
    """What a running viewer answers."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening

    def ask(self, path: str, **parameters: object) -> Any:
        """Return an answer of its API."""
        with self._open(path, **parameters) as answer:
            return json.load(answer)

    def _open(self, path: str, **parameters: object) -> Any:
        asked = urllib.parse.urlencode({name: str(value) for name, value in parameters.items()})
        request = urllib.request.Request(  # noqa: S310 - our own, on loopback
            f"{self._listening.http}/api/{path}?{asked}",
            headers={"Authorization": f"Bearer {self._listening.token}"},
        )
        return urllib.request.urlopen(request, timeout=_SILENCE)  # noqa: S310

    def news(self) -> Iterator[list[Row]]:
        """Yield the runs that have changed, those of the store first, until the viewer is stopped.

        Raises:
            UsageError: it does not answer any more.
        """
        after, tries = 0, 0
        while True:
            try:
                with self._open("live", after=after) as stream:
                    for name, told in _events(stream):
                        if name == "closing":
                            return
                        after, tries = told.get("version", after), 0
                        yield told.get("runs", [])
            except urllib.error.HTTPError as error:
                raise UsageError(f"the viewer refused: {error.read(200).decode(errors='replace')}") from None
            except (OSError, ValueError):
                pass
            tries += 1
            if tries > _TRIES:
                raise UsageError("the viewer does not answer any more: start otel-stream view again")
            time.sleep(_BETWEEN)


def _events(stream: Any) -> Iterator[tuple[str, Row]]:
    name = ""
    for text in stream:
        field, _, value = text.decode().rstrip("\r\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _lines(viewer: Viewer, query: str, shown: Shown) -> Iterator[Any]:
    first = True
    for rows in viewer.news():
        wanted = None
        if query and rows:
            wanted = {row["key"] for row in viewer.ask("runs", q=query, limit=200)["runs"]}
        for row in sorted(rows, key=lambda row: row["started"]):
            if first and row["state"] != "running":
                shown.skip(row)
            elif wanted is None or row["key"] in wanted:
                yield from shown.of(viewer, row)
        first = False


class News(NamedTuple):
    """Something that is told once: ``mark`` says what, ``rank`` which comes first of what was at one time.

    ``many`` says that it is told together with others of that name.
    """

    mark: str
    when: float
    rank: int
    look: str
    name: str
    said: str = ""
    many: bool = False

    def line(self, times: int) -> Any:
        """Return the line that tells it, and that it was so many times."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.when / 1e3)) + f".{int(self.when % 1e3):03d}"
        sign, colour = SIGNS.get(self.look, OTHER) if self.look else ("·", "dim")
        name = f"{self.name} \N{MULTIPLICATION SIGN}{times}" if times > 1 else self.name
        return line(
            (clock, "dim"), (f"  {sign} ", colour), name, (f"  {self.said}" if self.said else "", "dim")
        )


@dataclass(slots=True)
class _Known:
    """What is known of a run: its version, what was told, its last part, and its tasks' spans and nodes."""

    version: int = 0
    told: set[str] = field(default_factory=set)
    part: int = -1
    nodes: dict[str, str] = field(default_factory=dict)


class Shown:
    """What has been told of runs: each thing once.

    Args:
        modes: stream modes whose parts are told.
        spans: whether spans of others than the graph are told.
    """

    def __init__(self, modes: tuple[str, ...] = (), *, spans: bool = False) -> None:
        self._modes = modes
        self._spans = spans
        self._known: dict[str, _Known] = {}

    def skip(self, row: Row) -> None:
        """Tell nothing of a run that was over before."""
        known = self._of(row["key"])
        known.version, known.told = row["version"], {"+", "-"}

    def of(self, viewer: Viewer, row: Row) -> Iterator[Any]:
        """Yield lines about what is new of a run."""
        known, place = self._of(row["key"]), f"runs/{urllib.parse.quote(row['key'], safe='')}"
        try:
            found = viewer.ask(place, after=known.version)
        except urllib.error.HTTPError:
            return  # the store has forgotten it
        known.version = found["version"]
        parts = self._parts_of(viewer, place, known) if self._modes else []
        yield from self.lines(found["run"], found["spans"], parts)

    def _parts_of(self, viewer: Viewer, place: str, known: _Known) -> list[Row]:
        parts: list[Row] = []
        more = True
        while more:
            modes = ",".join(self._modes)
            found = viewer.ask(f"{place}/parts", after=known.part, modes=modes, limit=1000)
            parts += found["parts"]
            more = found["more"]
            known.part = found["parts"][-1]["n"] if found["parts"] else known.part
        return parts

    def _of(self, key: str) -> _Known:
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return self._known.setdefault(key, _Known())

    def lines(self, run: Row, spans: list[Row], parts: list[Row]) -> list[Any]:
        """Return lines about what is new, in the order in which it was; what began together is one line."""
        news = [*_of_run(run), *(one for span in spans for one in self._of_span(run, span))]
        news += [_of_part(run, part) for part in parts]
        told = self._of(run["key"]).told
        new = sorted((one for one in news if one.mark not in told), key=lambda one: (one.when, one.rank))
        told.update(one.mark for one in new)
        many = Counter(one.name for one in new if one.many)
        return [
            one.line(many.pop(one.name, 0) if one.many else 1)
            for one in new
            if not one.many or one.name in many
        ]

    def _of_span(self, run: Row, span: Row) -> Iterator[News]:
        attempt, nodes = "attempt" in span, self._of(run["key"]).nodes
        if span["id"] == run["root"] or not (self._spans or attempt or "node" in span):
            return
        name, end = label(span), "error" if span["status"] == _ERROR else str(span.get("end", "ok"))
        if attempt:
            name = f"{nodes.get(span['parent'], '')} {name}".lstrip()
        elif "node" in span:
            nodes[span["id"]] = name
        name = f"{run['name']} / {name}"
        if not attempt:
            yield News(f"+{span['id']}", span["start"], 1, "running", name, many=True)
        if span["end_time"] is None or (attempt and end == "ok"):  # then its node says so
            return
        said = f"{_ENDS.get(end, end)} {duration(span['end_time'] - span['start'])}"
        said += f" · {span['error']}" if "error" in span else ""
        yield News(f"-{span['id']}", span["end_time"], 1, end, name, said)


def _of_run(run: Row) -> Iterator[News]:
    about = [f"{what} {run[what]}" for what in ("thread", "service") if run.get(what)]
    said = " · ".join(["begins", *about, run["key"]])
    yield News("+", run["started"], 0, "running", run["name"], said)
    if "ended" in run:
        end = run["state"]
        said = f"{_ENDS.get(end, end)} {duration(run['ended'] - run['started'])}"
        said += f" · {run['tokens']:,} tokens" if run["tokens"] else ""
        said += f" · {run['dropped']:,} parts dropped" if "dropped" in run else ""
        said += f" · asks: {run['question']}" if "question" in run else ""
        yield News("-", run["ended"], 3, end, run["name"], said)


def _of_part(run: Row, part: Row) -> News:
    text = " ".join(str(part["body"] or "").split())[:_LONGEST]
    said = f"{part['name'].removeprefix('graph.')}  {text}"
    return News(f"part {part['n']}", part["time"], 2, "", str(part.get("node") or run["name"]), said)
