"""The nodes of the audit. They say what happens; ``graph`` says in which order.

Nodes that read files or walk trees are plain functions and run in worker threads; the one that
waits for somebody else's tokens is a coroutine. Each begins with ``chaos.strike``: an attempt fails
before it has done or said anything, so a retry repeats nothing that a reader has seen.
"""

from __future__ import annotations

from typing import Any

from ..runtime import emit_message
from ..types import Send, StreamWriter
from .analysis import definitions, measure, read
from .chaos import Chaos
from .inspection import inspect
from .rules import beyond_limits, finding, risky
from .sources import select
from .state import Audit, FileAudit, FileInput, FunctionMeasure, keep_worst, order_findings
from .writer import Author, MessageChunk

#: Functions a file reports in any case; those beyond a limit come on top.
NOTABLE = 3
#: All tokens of the report belong to this one message.
MESSAGE_ID = "report"


class AuditNodes:
    """The nodes and the routes of the whole audit."""

    def __init__(self, chaos: Chaos, author: Author) -> None:
        self._chaos = chaos
        self._author = author

    def discover(self, state: Audit, writer: StreamWriter) -> dict[str, Any]:
        """Find the files.

        Raises:
            NothingToAudit: there are none.
        """
        self._chaos.strike("discover", ",".join(state["paths"]))
        files, left_out = select(state["root"], state["paths"], state["limit"])
        writer({"stage": "discover", "files": len(files), "bytes": sum(file["size"] for file in files)})
        return {"files": files, "left_out": left_out}

    def each_file(self, state: Audit) -> list[Send]:
        """Route every file to a subgraph of its own."""
        files = state["files"]
        return [
            Send("audit_file", FileInput(root=state["root"], file=file, number=number, of=len(files)))
            for number, file in enumerate(files, 1)
        ]

    def rank(self, state: Audit, writer: StreamWriter) -> dict[str, Any]:
        """Queue the functions that are worth a closer look, as many as the budget allows."""
        self._chaos.strike("rank", state["root"])
        queue = state.get("worst", [])[: state["budget"]]
        writer({"stage": "rank", "queued": len(queue)})
        return {"queue": queue}

    def more(self, state: Audit) -> str:
        """Route on to the next function in the queue, or to the report."""
        return "deepen" if state["queue"] else "report"

    def deepen(self, state: Audit, writer: StreamWriter) -> dict[str, Any]:
        """Look closer at the function at the head of the queue."""
        head, *rest = state["queue"]
        place = f"{head['path']}:{head['line']}"
        self._chaos.strike("deepen", place)
        source = read(state["root"], head["path"])
        inspection = inspect(source.tree, head) if source.tree else None
        writer({"stage": "deepen", "place": place, "function": head["name"], "queued": len(rest)})
        return {"queue": rest, "inspected": [inspection] if inspection else []}

    async def report(self, state: Audit, writer: StreamWriter) -> dict[str, str]:
        """Write the report, token by token."""
        self._chaos.strike("report", state["root"])
        written: list[str] = []
        async for token in self._author.write(state):
            emit_message(MessageChunk(id=MESSAGE_ID, content=token))
            written.append(token)
        # Only now is it certain who wrote it: a model may have had to be replaced.
        writer({"stage": "report", "author": self._author.name})
        return {"report": "".join(written), "author": self._author.name}


class FileNodes:
    """The nodes and the route of the subgraph that audits one file."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos

    def parse(self, state: FileAudit, writer: StreamWriter) -> dict[str, Any]:
        """Read and parse; a file that cannot be is a finding, not an error."""
        path = state["file"]["path"]
        self._chaos.strike("parse", path)
        source = read(state["root"], path)
        update: dict[str, Any] = {
            "digest": source.digest,
            "totals": {"files": 1, "bytes": state["file"]["size"], "lines": source.lines},
        }
        if source.tree is None:
            update["findings"] = [finding(path, source.error_line, "unreadable", source.error)]
            _tell(writer, state, findings=1)
        return update

    def readable(self, state: FileAudit) -> str:
        """Route on only if there is a tree."""
        return "done" if state.get("findings") else "measure"

    def measure(self, state: FileAudit) -> dict[str, Any]:
        """Measure every function, and pass on those that somebody should know of."""
        path = state["file"]["path"]
        self._chaos.strike("measure", path)
        tree = read(state["root"], path).tree
        measured = [measure(path, definition) for definition in definitions(tree)] if tree else []
        return {"totals": {**state["totals"], "functions": len(measured)}, "worst": notable(measured)}

    def judge(self, state: FileAudit, writer: StreamWriter) -> dict[str, Any]:
        """Turn risky constructs and measures beyond their limits into findings."""
        path = state["file"]["path"]
        self._chaos.strike("judge", path)
        tree = read(state["root"], path).tree
        found = risky(path, tree) if tree else []
        for measured in state["worst"]:
            found += beyond_limits(measured)
        _tell(writer, state, findings=len(found))
        return {"findings": order_findings(found, [])}


def notable(measured: list[FunctionMeasure]) -> list[FunctionMeasure]:
    """Return the worst functions of a file and all that are beyond a limit, the worst first."""
    ordered = keep_worst(measured, [])
    return [m for rank, m in enumerate(ordered) if rank < NOTABLE or beyond_limits(m)]


def _tell(writer: StreamWriter, state: FileAudit, findings: int) -> None:
    writer(
        {
            "stage": "audit",
            "file": state["file"]["path"],
            "number": state["number"],
            "of": state["of"],
            "findings": findings,
        }
    )
