"""Which parameters of user code the engine fills in: those that can only be meant for it.

A parameter called ``config``, ``writer``, ``store``, ``runtime`` or ``previous`` is ours if not annotated,
or annotated with our type for it, LangGraph's or LangChain's. One that is bound already
(``functools.partial``), or whose annotation or default is of another kind, is the user's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

#: Parameters that the engine fills in when a node, router or handler declares them.
INJECTABLE = frozenset({"config", "writer", "store", "previous", "runtime", "error"})
#: What the types are called that stand for each, ours as LangGraph's and LangChain's.
_TYPES = {
    "config": frozenset({"RunnableConfig", "Config"}),
    "writer": frozenset({"StreamWriter"}),
    "store": frozenset({"BaseStore"}),
    "runtime": frozenset({"Runtime", "ToolRuntime"}),
}
#: Annotations that are spelled out by who has no name for the type.
_SPELLED = {
    "config": (dict[str, Any], Mapping[str, Any]),
    "writer": (Callable[[Any], None], Callable[[Any], Any]),
}
#: Annotations that say too little: theirs is a parameter that has no default of its own.
_LOOSE = {
    "config": frozenset({Any, object, dict, Mapping}),
    "writer": frozenset({Any, object, Callable}),
    "store": frozenset({Any, object}),
    "runtime": frozenset({Any, object}),
}
_EMPTY = inspect.Parameter.empty


def injected(target: Any, *, first: bool = True, previous: bool = False) -> tuple[str, ...]:
    """Return the parameters of ``target`` to fill in.

    ``first``: the first one is the state, whatever it is called. ``previous``: there may be something to
    remember, so that a default gives way to it.
    """
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # builtins without a signature
        return ()
    bound = _bound(target)
    skipped = parameters[:1] if first and parameters and parameters[0].kind is not _KEYWORD else []
    return tuple(
        p.name
        for p in parameters
        if p.name in INJECTABLE
        and p not in skipped
        and p.kind in (p.POSITIONAL_OR_KEYWORD, _KEYWORD)
        and p.name not in bound
        and (_is_ours(target, p) if p.name != "previous" else previous or p.default is _EMPTY)
    )


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _bound(target: Any) -> frozenset[str]:
    names: set[str] = set()
    while isinstance(target, partial):
        names.update(target.keywords)
        target = target.func
    return frozenset(names)


def _is_ours(target: Any, parameter: inspect.Parameter) -> bool:
    name, default = parameter.name, parameter.default
    if name == "error":
        return True  # who is no handler is not asked
    if parameter.annotation is _EMPTY:
        return default is _EMPTY or _may_stand_in(name, default)
    hint = _bare(_resolved(target, parameter))
    if isinstance(hint, str):
        return _last_name(hint) in _TYPES[name]
    if hint in _SPELLED.get(name, ()) or _is_named(hint, _TYPES[name]):
        return True
    origin = get_origin(hint) or hint
    if not _hashable(origin) or origin not in _LOOSE[name]:
        return False
    return default is _EMPTY or (name == "runtime" and default is None)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _may_stand_in(name: str, default: Any) -> bool:
    """Whether a default could be what the engine would fill in: it stands in where there is no engine."""
    if default is None:
        return True
    if name == "config":
        return isinstance(default, Mapping)
    return (
        callable(default)
        if name == "writer"
        else name == "runtime" and _is_named(type(default), _TYPES[name])
    )


def _is_named(hint: Any, names: frozenset[str]) -> bool:
    kind = get_origin(hint) or hint
    return any(base.__name__ in names for base in getattr(kind, "__mro__", ())) or (
        getattr(kind, "__name__", None) in names
    )


def _bare(hint: Any) -> Any:
    """Return an annotation without ``Annotated`` and ``| None``."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif get_origin(hint) in (Union, UnionType):
            rest = [choice for choice in get_args(hint) if choice is not NoneType]
            if len(rest) != 1:
                return hint
            hint = rest[0]
        else:
            return hint


def _resolved(target: Any, parameter: inspect.Parameter) -> Any:
    """Return the annotation; as text if it names what only type checkers can see."""
    hint = parameter.annotation
    if not isinstance(hint, str):
        return hint
    while isinstance(target, partial):
        target = target.func
    call = target if inspect.isroutine(target) else type(target).__call__
    names = getattr(inspect.unwrap(call), "__globals__", {})
    try:
        found = get_type_hints(
            SimpleNamespace(__annotations__={parameter.name: hint}), names, include_extras=True
        )
    except Exception:  # noqa: BLE001 - whatever evaluating it raises, its text is left
        return hint
    return found[parameter.name]


def _last_name(text: str) -> str:
    """Return what a type is called in an annotation's text: ``Runtime`` for ``"lg.Runtime[Any] | None"``."""
    text = text.strip().strip("'\"")
    for prefix in ("typing.Optional[", "Optional["):
        if text.startswith(prefix) and text.endswith("]"):
            text = text[len(prefix) : -1]
    text = text.removesuffix("| None").removeprefix("None |").strip()
    return text.partition("[")[0].rpartition(".")[2].strip().strip("'\"")
