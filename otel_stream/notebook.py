"""A run in a notebook, shown below its cell while it goes on: ``await show(graph, {"question": "why?"})``."""

from __future__ import annotations

from html import escape
from importlib import import_module
from time import monotonic
from typing import Any, Final

from otel_stream.cli.running import Program
from otel_stream.cli.tally import CONFIG, NodeTally, Tally
from otel_stream.encoding import encode, printable

#: Seconds between two pictures, and characters of what a model says that are shown.
_FRAME: Final = 0.2
_WORDS: Final = 2_000
_CELL: Final = "style='text-align:right;padding:1px 10px'"
_COLOURS: Final = {"running": "#2457c5", "ok": "#12733c", "error": "#b3261e", "waits": "#8a5a00"}


async def show(graph: Any, input: Any, config: dict[str, Any] | None = None) -> Any:
    """Run ``graph``, ours or LangGraph's, and return its result; its cell shows it meanwhile.

    ``config`` is that of ``ainvoke``. What the run raises is raised here, behind a last picture of it.

    Raises:
        ModuleNotFoundError: IPython is not there, so this is no notebook.
    """
    shows: Any = import_module("IPython.display")  # it is the notebook's
    cell = Cell()
    handle = shows.display(cell.bundle(), raw=True, display_id=True)
    async with Program("notebook", graph, input, config or {}).open(CONFIG) as stream:
        try:
            async for part in stream.receivers[0]:
                cell.add(part)
                if cell.due():
                    handle.update(cell.bundle(), raw=True)
            result = await stream.wait()
        except BaseException as error:
            cell.state = "error"
            cell.words = type(error).__name__
            raise
        else:
            cell.state = "waits" if cell.tally.questions else "ok"
        finally:
            handle.update(cell.bundle(), raw=True)
    return result


class Cell:
    """What is shown of a run: how its nodes are, and the end of what its models say."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.state = "running"
        self.words = ""
        self._began = monotonic()
        self._shown = 0.0

    def add(self, part: Any) -> None:
        """Take note of a part."""
        self.tally.add(part)
        if part.type == "messages":
            content = getattr(part.data[0], "content", "")
            self.words = (self.words + content)[-_WORDS:] if isinstance(content, str) else self.words

    def due(self) -> bool:
        """Whether the last picture is old enough for another one."""
        now = monotonic()
        if now - self._shown < _FRAME:
            return False
        self._shown = now
        return True

    def bundle(self) -> dict[str, str]:
        """Return it for the notebook; names and words are text in both."""
        return {"text/html": self._html(), "text/plain": self._plain()}

    def _head(self) -> str:
        return f"{self.state} · {monotonic() - self._began:.1f} s · {self.tally.supersteps} supersteps"

    def _asked(self) -> list[str]:
        return [f"waits for a human: {encode(one).decode()}" for one in self.tally.questions]

    def _html(self) -> str:
        heads = "".join(f"<th {_CELL}>{name}</th>" for name in ("", "running", "done", "failed", "retries"))
        rows = "".join(_row(name, node) for name, node in self.tally.nodes.items())
        said = "".join(f"<p>{escape(printable(one))}</p>" for one in self._asked())
        if self.words:
            said += f"<pre style='white-space:pre-wrap'>{escape(_lines(self.words))}</pre>"
        head = f"<b style='color:{_COLOURS[self.state]}'>{escape(self._head())}</b>"
        return f"<div>{head}<table><tr>{heads}</tr>{rows}</table>{said}</div>"

    def _plain(self) -> str:
        nodes = [f"{printable(name)}: {_numbers(node)}" for name, node in self.tally.nodes.items()]
        return "\n".join([self._head(), *nodes, *map(printable, self._asked()), _lines(self.words)]).rstrip()


def _lines(words: str) -> str:
    return "\n".join(map(printable, words.split("\n")))


def _numbers(node: NodeTally) -> str:
    told = {"running": node.running, "done": node.done, "failed": node.failed, "retries": node.retries}
    return ", ".join(f"{number} {name}" for name, number in told.items() if number) or "0"


def _row(name: str, node: NodeTally) -> str:
    numbers = (node.running, node.done, node.failed, node.retries)
    cells = "".join(f"<td {_CELL}>{number or ''}</td>" for number in numbers)
    return f"<tr><th {_CELL}>{escape(printable(name))}</th>{cells}</tr>"
