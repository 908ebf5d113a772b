"""What flows through the audit, and how the results of files that ran side by side are merged.

Everything is plain data (dicts, lists, strings, integers): it survives any checkpointer and any
exporter unchanged, and compares equal after a round trip through JSON. Every reducer sorts or
adds, so the state does not depend on which file was finished first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypedDict

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")

#: So many of the worst functions are kept while files are merged; more than any budget needs.
KEPT = 50


class SourceFile(TypedDict):
    """A file to audit: ``path`` relative to the root, with forward slashes; ``size`` in bytes."""

    path: str
    size: int


class Finding(TypedDict):
    """Something to look at. ``line`` counts from 1."""

    path: str
    line: int
    rule: str
    severity: Severity
    message: str


class FunctionMeasure(TypedDict):
    """One function in numbers. ``lines`` leaves the docstring out; ``score`` ranks (higher is worse)."""

    path: str
    name: str
    line: int
    lines: int
    parameters: int
    depth: int
    complexity: int
    score: int


class Inspection(TypedDict):
    """What a closer look at one function showed; ``branches`` counts its control flow by kind."""

    path: str
    name: str
    line: int
    lines: int
    depth: int
    complexity: int
    score: int
    branches: dict[str, int]
    exits: int
    deepest_line: int
    longest_block: str
    suggestion: str


def order_findings(left: Sequence[Finding], right: Sequence[Finding]) -> list[Finding]:
    """Merge findings in the order a reader goes through files."""
    return sorted([*left, *right], key=lambda f: (f["path"], f["line"], f["rule"], f["message"]))


def keep_worst(left: Sequence[FunctionMeasure], right: Sequence[FunctionMeasure]) -> list[FunctionMeasure]:
    """Merge measures and keep the ``KEPT`` with the highest score."""
    return sorted([*left, *right], key=lambda m: (-m["score"], m["path"], m["line"]))[:KEPT]


def add_totals(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    """Add up counts name by name."""
    return {name: left.get(name, 0) + right.get(name, 0) for name in sorted({*left, *right})}


def append(left: Sequence[Inspection], right: Sequence[Inspection]) -> list[Inspection]:
    """Keep inspections in the order they were made."""
    return [*left, *right]


class AuditInput(TypedDict):
    """What to audit: ``paths``, files or folders below ``root``.

    ``limit`` is the most files that are audited, ``budget`` the most functions inspected more closely.
    """

    root: str
    paths: list[str]
    limit: int
    budget: int


class Audit(AuditInput):
    """The state of the whole audit at its end; before that, what no node has written yet is missing."""

    files: list[SourceFile]
    left_out: dict[str, int]
    totals: Annotated[dict[str, int], add_totals]
    findings: Annotated[list[Finding], order_findings]
    worst: Annotated[list[FunctionMeasure], keep_worst]
    queue: list[FunctionMeasure]
    inspected: Annotated[list[Inspection], append]
    author: str
    report: str


class FileInput(TypedDict):
    """What a ``Send`` gives to the subgraph: file ``number`` of ``of``."""

    root: str
    file: SourceFile
    number: int
    of: int


class FileOutcome(TypedDict):
    """What the subgraph gives back to the audit."""

    totals: dict[str, int]
    findings: list[Finding]
    worst: list[FunctionMeasure]


class FileAudit(FileInput, FileOutcome):
    """The state of the audit of one file. ``digest`` is the SHA-256 of its bytes, "" if unreadable."""

    digest: str
