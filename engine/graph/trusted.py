"""Which types the schemas of a graph name: those that a saver may rebuild from what it has stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from enum import Enum
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

#: A type as LangGraph's savers name it: its module, and its name there.
TypeName: TypeAlias = tuple[str, str]
#: What a type variable, a new type and a named alias stand for.
_STANDS_FOR = ("__bound__", "__constraints__", "__supertype__", "__value__")


def types_in(schemas: Iterable[Any]) -> frozenset[TypeName]:
    """Return the dataclasses, models, enums and named tuples in ``schemas``, however deep they are."""
    waiting, seen, found = [*schemas], dict[int, Any](), set[TypeName]()
    while waiting:
        hint = waiting.pop()
        if id(hint) in seen:
            continue
        seen[id(hint)] = hint  # kept, or another one might get its id
        if isinstance(hint, Enum):  # of a Literal
            waiting.append(type(hint))
        elif isinstance(hint, type) and get_origin(hint) is None:
            if _is_rebuilt(hint):
                found.add((hint.__module__, hint.__name__))
                waiting += _fields(hint)
            elif is_typeddict(hint):
                waiting += _fields(hint)
        else:
            waiting += [get_origin(hint), *get_args(hint)]
        waiting += _named(hint)
    return frozenset(found)


def _is_rebuilt(kind: type) -> bool:
    """Whether instances of ``kind`` are stored as their fields, or their value, under its name."""
    if dataclasses.is_dataclass(kind) or issubclass(kind, Enum):
        return True
    return hasattr(kind, "_fields") or any(
        base.__name__ == "BaseModel" and base.__module__.startswith("pydantic.") for base in kind.__mro__
    )


def _fields(kind: Any) -> list[Any]:
    try:
        return [*get_type_hints(kind, include_extras=True).values()]
    except Exception:  # noqa: BLE001 - what can't be resolved names no type; the others do
        resolved = getattr(kind, "model_fields", None) or {}
        return [*kind.__annotations__.values(), *(field.annotation for field in resolved.values())]


def _named(hint: Any) -> list[Any]:
    found: list[Any] = []
    for name in _STANDS_FOR:
        value = getattr(hint, name, None) if not isinstance(hint, type) else None
        found += value if isinstance(value, tuple) else [value]
    return found
