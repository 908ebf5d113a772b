"""A closer look at one function: where its control flow goes, and what one would do about it."""

from __future__ import annotations

import ast
from collections import Counter
from typing import NamedTuple

from .analysis import BLOCKS, Definition, Function, code_lines, definitions, elif_of, own_nodes
from .state import FunctionMeasure, Inspection

KINDS: dict[type[ast.AST], str] = {
    ast.If: "if",
    ast.IfExp: "if",
    ast.For: "loop",
    ast.AsyncFor: "loop",
    ast.While: "loop",
    ast.comprehension: "loop",
    ast.ExceptHandler: "except",
    ast.BoolOp: "and/or",
    ast.match_case: "case",
    ast.With: "with",
    ast.AsyncWith: "with",
}


#: Up to this score a function is as it should be, even if it is the worst there is.
FINE = 10
LEAVE_IT = "leave it as it is: short and straight enough"


class Span(NamedTuple):
    """``size`` lines or links, from ``line`` on."""

    size: int
    line: int
    kind: str


def inspect(tree: ast.Module, measured: FunctionMeasure) -> Inspection | None:
    """Look closer at the function that ``measured`` names; None if it is not in the file any more."""
    for definition in definitions(tree):
        if (definition.name, definition.node.lineno) == (measured["name"], measured["line"]):
            return _inspect(definition, measured)
    return None


def _inspect(definition: Definition, measured: FunctionMeasure) -> Inspection:
    function = definition.node
    branches: Counter[str] = Counter()
    exits, deepest, deepest_line = 0, 0, function.lineno
    for node, depth in own_nodes(function):
        if kind := KINDS.get(type(node)):
            branches[kind] += 1
        exits += isinstance(node, (ast.Return, ast.Raise))
        if isinstance(node, BLOCKS) and depth > deepest:
            deepest, deepest_line = depth, node.lineno  # type: ignore[attr-defined]
    block = longest_block(function)
    return Inspection(
        path=measured["path"],
        name=measured["name"],
        line=measured["line"],
        lines=measured["lines"],
        depth=measured["depth"],
        complexity=measured["complexity"],
        score=measured["score"],
        branches=dict(sorted(branches.items())),
        exits=exits,
        deepest_line=deepest_line,
        longest_block=f"{block.kind} at line {block.line}, {block.size} lines" if block.size else "none",
        suggestion=suggest(function, deepest, deepest_line) if measured["score"] > FINE else LEAVE_IT,
    )


def longest_block(function: Function) -> Span:
    """Return the block with the most lines that is not most of the function itself."""
    most = max(1, code_lines(function) * 3 // 4)
    spans = [
        Span((node.end_lineno or node.lineno) - node.lineno + 1, node.lineno, _keyword(node))
        for node, _ in own_nodes(function)
        if isinstance(node, ast.stmt) and isinstance(node, BLOCKS)
    ]
    return max(
        (span for span in spans if span.size <= most),
        key=lambda s: (s.size, -s.line),
        default=Span(0, 0, ""),
    )


def longest_chain(function: Function) -> Span:
    """Return the longest row of ``if``/``elif`` on one level."""
    best = Span(0, 0, "if")
    inner: set[ast.AST] = set()
    for node, _ in own_nodes(function):
        if not isinstance(node, ast.If) or node in inner:
            continue
        count, link = 1, elif_of(node)
        while link is not None:
            inner.add(link)
            count, link = count + 1, elif_of(link)
        best = max(best, Span(count, node.lineno, "if"), key=lambda s: (s.size, -s.line))
    return best


def suggest(function: Function, deepest: int, deepest_line: int) -> str:
    """Name the one change that would help most."""
    chain = longest_chain(function)
    if chain.size >= 5:
        return f"replace the {chain.size} branches from line {chain.line} on by a table"
    if deepest >= 5:
        return f"leave early instead of nesting: the block at line {deepest_line} is {deepest} levels deep"
    block = longest_block(function)
    if block.size >= 15:
        return f"move the {block.kind} at line {block.line} ({block.size} lines) into a function of its own"
    return "name its parts: split it where its comments or blank lines already do"


def _keyword(node: ast.AST) -> str:
    return type(node).__name__.removeprefix("Async").removesuffix("Star").lower()
