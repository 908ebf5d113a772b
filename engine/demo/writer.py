"""Turns the result of an audit into prose, a few characters at a time.

An author is asked for text and yields it piece by piece, as a model does. This one is no model: the
same audit gives the same text, and the text says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import anyio.lowlevel
import msgspec

from otel_stream.encoding import printable

from .state import SEVERITIES, Audit, Finding, Inspection

#: Findings that are listed one by one.
SHOWN = 10
DISCLOSURE = (
    "Written by a deterministic writer: no model was asked. "
    "Set OPENAI_API_KEY or OPENAI_BASE_URL to have one write this report."
)
_INDENT = "  "


class MessageChunk(msgspec.Struct, frozen=True):
    """A piece of a message, for messages mode; pieces of one message have one ``id`` and add up."""

    id: str
    content: str
    role: str = "assistant"

    def __add__(self, other: MessageChunk) -> MessageChunk:
        """Return both as one piece: what a buffer keeps that runs full under the *coalesce* policy."""
        return MessageChunk(self.id, self.content + other.content, self.role)


class Author(Protocol):
    """Somebody who writes the report; ``name`` is shown to the reader."""

    name: str

    def write(self, audit: Audit) -> AsyncIterator[str]:
        """Yield the report's text, piece by piece."""
        ...


class DeterministicAuthor:
    """Writes from a template; ``preface`` replaces the sentence that says what it is."""

    name = "deterministic writer"

    def __init__(self, preface: str = DISCLOSURE) -> None:
        self.preface = preface

    async def write(self, audit: Audit) -> AsyncIterator[str]:
        """Yield the report word by word."""
        for token in tokens(compose(audit, self.preface)):
            # A model's tokens come one by one with time between them; so do these, though it is short.
            await anyio.lowlevel.checkpoint()
            yield token


def tokens(text: str) -> Iterator[str]:
    """Split text into words, each with the space before it; joined they are the text again."""
    return iter(re.findall(r"\s*\S+|\s+\Z", text))


def compose(audit: Audit, preface: str) -> str:
    """Return the whole report."""
    findings = audit.get("findings", [])
    parts = [
        headline(audit),
        preface,
        overview(audit, findings),
        *_section("The most serious", [_finding(f) for f in most_serious(findings)[:SHOWN]]),
        *_section("By rule", _by_rule(findings)),
        *_section("Hardest to change", _hardest(audit.get("inspected", []))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(audit: Audit) -> str:
    """Return what was audited, in one line."""
    names = [path for path in audit["paths"] if path != "."]
    return f"Audit of {audit['root']}" + (f": {', '.join(names)}" if names else "")


def overview(audit: Audit, findings: list[Finding]) -> str:
    """Return the totals, and what was left out, in one or two sentences."""
    totals = audit.get("totals", {})
    counted = Counter(finding["severity"] for finding in findings)
    grades = ", ".join(f"{counted[severity]} {severity}" for severity in SEVERITIES)
    text = (
        ", ".join(_count(totals.get(f"{name}s", 0), name) for name in ("file", "line", "function"))
        + f"; {_count(len(findings), 'finding')}: {grades}."
    )
    left_out = [f"{count:,} {reason}" for reason, count in sorted(audit.get("left_out", {}).items()) if count]
    return f"{text} Files left out: {', '.join(left_out)}." if left_out else text


def most_serious(findings: list[Finding]) -> list[Finding]:
    """Return findings by severity, then by place."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f["severity"]), f["path"], f["line"]))


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("" if number == 1 else "s")


def _section(title: str, lines: list[str]) -> list[str]:
    return ["\n".join([title, *(_INDENT + line for line in lines)])] if lines else []


def _finding(finding: Finding) -> str:
    place = printable(f"{finding['path']}:{finding['line']}")
    return f"{finding['severity']:<6} {place} {finding['message']} [{finding['rule']}]"


def _by_rule(findings: list[Finding]) -> list[str]:
    counted = Counter((finding["severity"], finding["rule"]) for finding in findings)
    ordered = sorted(counted.items(), key=lambda item: (SEVERITIES.index(item[0][0]), -item[1], item[0][1]))
    return [f"{severity:<6} {count:>4} {rule}" for (severity, rule), count in ordered]


def _hardest(inspected: list[Inspection]) -> list[str]:
    lines: list[str] = []
    for rank, seen in enumerate(inspected, 1):
        shape = f"{seen['lines']} lines, {seen['complexity']} paths, {seen['depth']} deep"
        branches = ", ".join(f"{count} {kind}" for kind, count in seen["branches"].items()) or "no branches"
        exits = _count(seen["exits"], "exit")
        lines += [
            printable(f"{rank}. {seen['path']}:{seen['line']} {seen['name']}: {shape}"),
            f"   {branches}; {exits}; longest block: {seen['longest_block']}",
            f"   Suggestion: {seen['suggestion']}.",
        ]
    return lines
