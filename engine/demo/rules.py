"""What counts as a finding: a table from kinds of syntax to checks, and limits for measures.

A check sees one node and yields ``(rule, message)``; how bad a rule is stands in ``SEVERITY`` alone.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from .analysis import FUNCTIONS
from .state import Finding, FunctionMeasure, Severity

SEVERITY: dict[str, Severity] = {
    "assert-on-tuple": "high",
    "eval-exec": "high",
    "shell-true": "high",
    "unreadable": "high",
    "bare-except": "medium",
    "complex-function": "medium",
    "duplicate-key": "medium",
    "is-literal": "medium",
    "mutable-default": "medium",
    "os-system": "medium",
    "return-in-finally": "medium",
    "unpickling": "medium",
    "unreachable-code": "medium",
    "deep-nesting": "low",
    "global-statement": "low",
    "long-function": "low",
    "star-import": "low",
    "swallowed-exception": "low",
    "too-many-parameters": "low",
}

#: (measure, the most that is fine, rule, sentence)
LIMITS: tuple[tuple[str, int, str, str], ...] = (
    ("complexity", 20, "complex-function", "{name} has {value} independent paths (at most {limit})"),
    ("depth", 5, "deep-nesting", "{name} nests {value} blocks deep (at most {limit})"),
    ("lines", 100, "long-function", "{name} is {value} lines long without its docstring (at most {limit})"),
    ("parameters", 8, "too-many-parameters", "{name} takes {value} parameters (at most {limit})"),
)

Hit = tuple[str, str]

_LOADERS = {
    f"{module}.{name}" for module in ("pickle", "marshal", "cPickle", "dill") for name in ("load", "loads")
}
_SHELLS = {"os.system", "os.popen"}
_LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def dotted(node: ast.AST) -> str:
    """Return ``"a.b.c"`` for a chain of names, "" for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def _call(node: ast.Call) -> Iterator[Hit]:
    name = dotted(node.func)
    if name in {"eval", "exec"}:
        yield "eval-exec", f"{name}() runs text as code"
    if name in _LOADERS:
        yield "unpickling", f"{name}() runs code that its input names"
    if name in _SHELLS:
        yield "os-system", f"{name}() hands a line of text to a shell"
    for keyword in node.keywords:
        if keyword.arg == "shell" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True:
            yield "shell-true", f"{name or 'a call'}(shell=True) hands a line of text to a shell"


def _handler(node: ast.ExceptHandler) -> Iterator[Hit]:
    if node.type is None:
        if not any(isinstance(inner, ast.Raise) for statement in node.body for inner in ast.walk(statement)):
            yield "bare-except", "a bare except also swallows KeyboardInterrupt and SystemExit"
    elif dotted(node.type) in {"Exception", "BaseException"} and all(
        isinstance(s, ast.Pass) for s in node.body
    ):
        yield "swallowed-exception", f"except {dotted(node.type)}: pass hides every error"


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[Hit]:
    name = getattr(node, "name", "a lambda")
    for default in [*node.args.defaults, *node.args.kw_defaults]:
        display = isinstance(default, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))
        made = isinstance(default, ast.Call) and dotted(default.func) in {"list", "dict", "set", "bytearray"}
        if display or made:
            yield "mutable-default", f"{name} has a mutable default that all its calls share"


def _assert(node: ast.Assert) -> Iterator[Hit]:
    if isinstance(node.test, ast.Tuple) and node.test.elts:
        yield "assert-on-tuple", "an assert on a tuple can never fail"


def _global(node: ast.Global) -> Iterator[Hit]:
    yield "global-statement", f"global {', '.join(node.names)}"


def _import(node: ast.ImportFrom) -> Iterator[Hit]:
    if any(alias.name == "*" for alias in node.names):
        yield (
            "star-import",
            f"from {'.' * node.level}{node.module or ''} import * hides where names come from",
        )


def _compare(node: ast.Compare) -> Iterator[Hit]:
    for operator, right in zip(node.ops, node.comparators, strict=True):
        literal = isinstance(right, ast.Constant) and isinstance(right.value, (str, bytes, int, float))
        if isinstance(operator, (ast.Is, ast.IsNot)) and literal and not isinstance(right.value, bool):  # type: ignore[attr-defined]
            yield "is-literal", "compares the identity of a literal where its value is meant"


def _dict(node: ast.Dict) -> Iterator[Hit]:
    seen: set[tuple[type, Any]] = set()
    for key in node.keys:
        if isinstance(key, ast.Constant):
            if (type(key.value), key.value) in seen:
                yield (
                    "duplicate-key",
                    f"the key {key.value!r} stands twice in one dict; the first value is lost",
                )
            seen.add((type(key.value), key.value))


def _try(node: ast.Try) -> Iterator[Hit]:
    if any(isinstance(statement, ast.Return) for statement in node.finalbody):
        yield "return-in-finally", "a return in finally swallows the exception on its way out"


CHECKS: dict[type[ast.AST], Callable[[Any], Iterator[Hit]]] = {
    ast.Call: _call,
    ast.ExceptHandler: _handler,
    ast.FunctionDef: _defaults,
    ast.AsyncFunctionDef: _defaults,
    ast.Lambda: _defaults,
    ast.Assert: _assert,
    ast.Global: _global,
    ast.ImportFrom: _import,
    ast.Compare: _compare,
    ast.Dict: _dict,
    ast.Try: _try,
}


def finding(path: str, line: int, rule: str, message: str) -> Finding:
    """Return a finding with its rule's severity."""
    return Finding(path=path, line=line, rule=rule, severity=SEVERITY[rule], message=message)


def risky(path: str, tree: ast.Module) -> list[Finding]:
    """Return what is risky in a file, in no particular order."""
    found: list[Finding] = []
    # A package that collects the names of its modules is what a star import is for.
    package = path.endswith("__init__.py")
    for node in ast.walk(tree):
        check = None if package and isinstance(node, ast.ImportFrom) else CHECKS.get(type(node))
        hits = check(node) if check else ()
        found.extend(finding(path, node.lineno, rule, message) for rule, message in hits)  # type: ignore[attr-defined]
        found.extend(_unreachable(path, node))
    return found


def _unreachable(path: str, node: ast.AST) -> Iterator[Finding]:
    """Yield the first statement after one that always leaves its block."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if not isinstance(block, list):
            continue
        for before, after in itertools.pairwise(block):
            if isinstance(before, _LEAVING) and not _makes_generator(node, after):
                kind = type(before).__name__.lower()
                yield finding(
                    path, after.lineno, "unreachable-code", f"nothing gets past the {kind} before it"
                )
                break


def _makes_generator(parent: ast.AST, statement: ast.AST) -> bool:
    """A ``yield`` that is never reached is the usual way to make an empty generator."""
    return (
        isinstance(parent, FUNCTIONS)
        and isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Yield)
    )


def beyond_limits(measured: FunctionMeasure) -> list[Finding]:
    """Return which limits one function goes beyond."""
    values: dict[str, Any] = dict(measured)
    return [
        finding(
            measured["path"],
            measured["line"],
            rule,
            sentence.format(name=measured["name"], value=values[name], limit=limit),
        )
        for name, limit, rule, sentence in LIMITS
        if values[name] > limit
    ]
