"""Does a dashboard have Grafana's form? The SDK's models, made from Grafana's own schemas, are asked."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from enum import Enum
from types import UnionType
from typing import Any, Final

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.plugins import register

#: The units that Grafana knows.
UNITS: Final = frozenset(
    value for name, value in vars(units).items() if isinstance(value, str) and name[0].isupper()
)


def violations(text: str) -> list[str]:
    """Return where a dashboard, given as JSON, is not what the schema says; empty if all is well."""
    plugins.register_default_plugins()
    register()
    given = json.loads(text)
    read = Dashboard.from_json(given)
    # What the models do not know is lost on the way.
    kept = json.loads(json.dumps(read, cls=JSONEncoder))
    return [*_unknown(given, kept, ""), *_of_other_types(read, Dashboard, "")]


def _unknown(given: Any, kept: Any, where: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from _unknown(value, kept[key], f"{where}/{key}")
            else:
                yield f"{where}/{key}: unknown"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for place, (before, after) in enumerate(zip(given, kept, strict=True)):
            yield from _unknown(before, after, f"{where}/{place}")
    elif given != kept:
        yield f"{where}: {given!r} is read as {kept!r}"


def _of_other_types(value: Any, wanted: Any, where: str) -> Iterator[str]:
    """Compare a value with the type that the model it is in gives it, and go down into it."""
    if isinstance(value, dict) and hasattr(wanted, "from_json"):
        # Some lists of models are left as they were read.
        yield from _unknown(
            value, json.loads(json.dumps(value := wanted.from_json(value), cls=JSONEncoder)), where
        )
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in {typing.Union, UnionType}:
        if all(any(_of_other_types(value, one, where)) for one in arguments):
            # One of the alternatives is a model or a list: what is wrong is further down.
            yield from _of_other_types(value, arguments[0], where)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is none of {arguments}"
    elif origin in {list, dict} and isinstance(value, origin):
        for key, item in enumerate(value) if isinstance(value, list) else value.items():
            yield from _of_other_types(item, arguments[-1], f"{where}/{key}")
    elif not _is_a(value, float | int if wanted is float else origin or wanted):
        yield f"{where}: {value!r} is no {getattr(wanted, '__name__', wanted)}"
    elif hasattr(type(value), "from_json"):
        for name, hint in typing.get_type_hints(type(value)).items():
            if typing.get_origin(hint) is not typing.ClassVar:
                yield from _of_other_types(getattr(value, name), hint, f"{where}/{name}")


def _is_a(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return value in [member.value for member in wanted]  # the models leave it as it was read
    if isinstance(value, bool) and wanted is not bool and wanted is not object:
        return False
    return wanted is Any or isinstance(value, wanted)
