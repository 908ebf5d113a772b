"""Numbers about Python source: pure functions over ``ast``, no recursion, nothing executed.

Source found in the wild has chains of a thousand ``elif``; every walk here keeps its own stack.
"""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from .state import FunctionMeasure

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*FUNCTIONS, ast.ClassDef)

#: Statements whose body is one level deeper than they are.
BLOCKS: tuple[type[ast.AST], ...] = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)


def _wildcard(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


#: How many more paths lead through a function because of one node of its tree.
DECISIONS: dict[type[ast.AST], Callable[[Any], int]] = {
    ast.If: lambda _: 1,
    ast.IfExp: lambda _: 1,
    ast.For: lambda _: 1,
    ast.AsyncFor: lambda _: 1,
    ast.While: lambda _: 1,
    ast.ExceptHandler: lambda _: 1,
    ast.comprehension: lambda node: 1 + len(node.ifs),
    ast.BoolOp: lambda node: len(node.values) - 1,
    ast.match_case: lambda node: 0 if _wildcard(node) else 1,
}


class Definition(NamedTuple):
    """A function, where it is: ``name`` is its dotted path in the file."""

    name: str
    node: Function
    method: bool


class Source(NamedTuple):
    """A file that was read: its SHA-256 and either a tree or the reason why there is none."""

    digest: str
    lines: int
    tree: ast.Module | None
    error: str
    error_line: int


_compiler = threading.Lock()


def read(root: str, path: str) -> Source:
    """Read and parse one file; whatever is wrong with it is in the result."""
    try:
        content = Path(root, path).read_bytes()
    except OSError as error:
        return Source("", 0, None, f"cannot be read: {error.strerror or error}", 1)
    return parse(content)


# A syntax tree is far too big for a graph's state, so the nodes that need one ask for it again. As many
# are kept as files are ever under work at once; one that is gone is made once more.
@lru_cache(maxsize=32)
def parse(content: bytes) -> Source:
    """Parse the bytes of one file; whatever is wrong with it is in the result."""
    digest = sha256(content).hexdigest()
    lines = len(content.splitlines())
    try:
        # The compiler warns about other people's escapes; that is not ours to print. The filters belong to
        # the whole process: two threads that save and restore them must not overlap.
        with _compiler, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Source(digest, lines, ast.parse(content), "", 0)
    except SyntaxError as error:
        return Source(digest, lines, None, f"does not parse: {error.msg}", error.lineno or 1)
    except (RecursionError, MemoryError):
        return Source(digest, lines, None, "does not parse: nested too deep for this Python", 1)
    except ValueError as error:
        return Source(digest, lines, None, f"does not parse: {error}", 1)


def definitions(tree: ast.Module) -> list[Definition]:
    """Return every function of a file, nested ones and methods included, in the order of their lines."""
    found: list[Definition] = []
    stack: list[tuple[ast.AST, str, bool]] = [(tree, "", False)]
    while stack:
        parent, prefix, in_class = stack.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, FUNCTIONS):
                found.append(Definition(prefix + node.name, node, in_class))
            if isinstance(node, _SCOPES):
                stack.append((node, f"{prefix}{node.name}.", isinstance(node, ast.ClassDef)))
            else:
                stack.append((node, prefix, in_class))
    return sorted(found, key=lambda d: (d.node.lineno, d.node.col_offset))


def own_nodes(function: Function) -> Iterator[tuple[ast.AST, int]]:
    """Yield each node of a function's body with its depth; what nested definitions contain is theirs.

    Depth counts the blocks around a node, itself included if it is one; an ``elif`` is as deep as its ``if``.
    """
    stack: list[tuple[ast.AST, int]] = [(node, 0) for node in reversed(function.body)]
    while stack:
        node, around = stack.pop()
        if isinstance(node, _SCOPES):
            continue
        depth = around + isinstance(node, BLOCKS)
        yield node, depth
        chained = elif_of(node)
        children = list(ast.iter_child_nodes(node))
        stack.extend((child, around if child is chained else depth) for child in reversed(children))


def elif_of(node: ast.AST) -> ast.If | None:
    """Return the ``elif`` of an ``if``; an ``else`` with an ``if`` in it is none."""
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        chained = node.orelse[0]
        return chained if chained.col_offset == node.col_offset else None
    return None


def code_lines(function: Function) -> int:
    """Return the lines of a function from ``def`` to its end, without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return max(lines, 1)


def parameters(definition: Definition) -> int:
    """Return how many arguments a caller may pass one by one; a method's own object is not passed."""
    arguments = definition.node.args
    count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in definition.node.decorator_list)
    takes_object = definition.method and not static and (arguments.posonlyargs or arguments.args)
    return count - bool(takes_object)


def measure(path: str, definition: Definition) -> FunctionMeasure:
    """Return one function in numbers; ``complexity`` is McCabe's: independent paths through it."""
    complexity, depth = 1, 0
    for node, level in own_nodes(definition.node):
        depth = max(depth, level)
        decide = DECISIONS.get(type(node))
        complexity += decide(node) if decide else 0
    lines = code_lines(definition.node)
    return FunctionMeasure(
        path=path,
        name=definition.name,
        line=definition.node.lineno,
        lines=lines,
        parameters=parameters(definition),
        depth=depth,
        complexity=complexity,
        score=score(complexity, depth, lines),
    )


def score(complexity: int, depth: int, lines: int) -> int:
    """Rank by what makes a function hard to change: paths first, then depth beyond 3, then sheer length."""
    return complexity + 3 * max(0, depth - 3) + max(0, lines - 50) // 10
