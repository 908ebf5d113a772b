"""Reading a state schema: which channels its keys are, and how a state object is made of them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints

import typing_extensions
from typing_extensions import is_typeddict

from ..channels import BinaryOperatorAggregate, Channel, DeltaChannel, LastValue, of_langgraph
from ..conversation import Conversation
from ..managed import IsLastStepManager, ManagedValue, RemainingStepsManager
from ..messages import add_messages

#: The only key of a state that is a single value instead of a mapping.
ROOT = "__root__"
Key = Channel | type[ManagedValue]
#: By name, so that LangGraph's are known, too.
_MANAGED = {kind.__name__: kind for kind in (IsLastStepManager, RemainingStepsManager)}
_MARKS = (Required, NotRequired, typing_extensions.Required, typing_extensions.NotRequired)


def read_schema(schema: Any) -> dict[str, Key]:
    """Return the channel, or managed value, of every key of ``schema``.

    A schema without annotations, such as ``Annotated[list, operator.add]``, is one value under ``__root__``.

    Raises:
        ValueError: a key's reducer does not take two arguments.
    """
    if not hasattr(schema, "__annotations__"):
        return {ROOT: _read_key(ROOT, schema)}
    hints = get_type_hints(schema, include_extras=True)
    return {name: _read_key(name, hint) for name, hint in hints.items() if name != "__slots__"}


def _read_key(name: str, hint: Any) -> Key:
    hint = _unmarked(hint)
    managed = _managed(hint)
    if managed is not None:
        return managed
    channel = _annotated_channel(hint) or _reduced_channel(name, hint) or LastValue(hint)
    channel.key = name
    return channel


def _managed(hint: Any) -> type[ManagedValue] | None:
    for item in getattr(hint, "__metadata__", ())[-1:]:
        if inspect.isclass(item) and issubclass(item, ManagedValue):
            return item
        if getattr(item, "__module__", "").startswith("langgraph.managed"):
            return _MANAGED.get(item.__name__)
    if get_origin(hint) is not None and get_args(hint):
        return _managed(get_args(hint)[0])
    return None


def _annotated_channel(hint: Any) -> Channel | None:
    for item in getattr(hint, "__metadata__", ()):
        if isinstance(item, DeltaChannel):
            return DeltaChannel(item.reducer, hint.__origin__, snapshot_frequency=item.snapshot_frequency)
        if isinstance(item, Channel):
            return item.fresh()
        foreign = of_langgraph(item, hint.__origin__)
        if foreign is not None:
            return foreign
        if inspect.isclass(item) and issubclass(item, Channel):
            return item(getattr(hint, "__origin__", hint))
    return None


def _reduced_channel(name: str, hint: Any) -> Channel | None:
    metadata = getattr(hint, "__metadata__", ())
    if not metadata or not callable(metadata[-1]):
        return None
    reducer = metadata[-1]
    if inspect.isroutine(reducer) and not _has_signature(reducer):
        return BinaryOperatorAggregate(hint, reducer, name)  # max, set.union: there is no telling
    signature = inspect.signature(reducer)
    try:
        signature.bind(None, None)
    except TypeError:
        raise ValueError(
            f"Invalid reducer signature. Expected (a, b) -> c. Got {signature} for key '{name}'; "
            f"annotate the key with a function of the current and the written value"
        ) from None
    kind = Conversation if reducer is add_messages else BinaryOperatorAggregate
    return kind(hint, reducer, name)


def _has_signature(function: Any) -> bool:
    try:
        inspect.signature(function)
    except ValueError:
        return False
    return True


def same_channel(one: Key, other: Key) -> bool:
    """Whether two schemas agree on a key; lambdas can't be compared and count as equal."""
    if type(one) is not type(other) or inspect.isclass(one):
        return one is other
    if isinstance(one, BinaryOperatorAggregate) and isinstance(other, BinaryOperatorAggregate):
        names = {getattr(one.operator, "__name__", ""), getattr(other.operator, "__name__", "")}
        return one.operator is other.operator or "<lambda>" in names
    return True


def state_factory(schema: Any, keys: Mapping[str, Any]) -> Callable[[dict[str, Any]], Any] | None:
    """Return what makes a state object from a mapping, None if the mapping itself is the state."""
    if set(keys) == {ROOT} or not inspect.isclass(schema):
        return None
    if not (_is_model(schema) or is_dataclass(schema)):
        return None

    def make(values: dict[str, Any]) -> Any:
        return schema(**values)

    return make


def field_default(schema: Any, name: str, hint: Any) -> Any:
    """Return the default of a key for its JSON schema, ``...`` if it must be given."""
    mark = _mark(hint)
    if mark is not None:
        return ... if mark in (Required, typing_extensions.Required) else None
    if is_typeddict(schema) and name in schema.__optional_keys__:
        return None
    if is_dataclass(schema):
        field = next((field for field in fields(schema) if field.name == name), None)
        if field is not None and field.default is not NO_DEFAULT and field.default is not ...:
            return field.default
        if field is not None and field.default_factory is not NO_DEFAULT:
            return field.default_factory()
    return None if _may_be_none(hint) else ...


def _mark(hint: Any) -> Any:
    origin = get_origin(hint)
    if origin is Annotated:
        return _mark(hint.__origin__)
    return origin if origin in _MARKS else None


def _may_be_none(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return NoneType in get_args(hint)
    return origin is Annotated and _may_be_none(get_args(hint)[0])


def json_schema(schema: Any, name: str) -> dict[str, Any]:
    """Return the JSON schema of a state schema, or of any annotation, titled ``name``."""
    from pydantic import PydanticUserError, TypeAdapter

    if is_typeddict(schema):
        try:
            return TypeAdapter(schema).json_schema()
        except PydanticUserError:  # pydantic refuses typing's own TypedDict before Python 3.12
            name = schema.__name__
    found: dict[str, Any] = model_of(schema, name).model_json_schema()
    return found


def model_of(schema: Any, name: str) -> Any:
    """Return a pydantic model of a state schema, or of any annotation; ``name`` it if it has to be made."""
    from pydantic import BaseModel, RootModel, create_model

    if inspect.isclass(schema) and issubclass(schema, BaseModel):
        return schema
    if schema is Any or not hasattr(schema, "__annotations__"):
        return create_model(name, __base__=RootModel[schema])
    hints = get_type_hints(schema, include_extras=True)
    plain = get_type_hints(schema)
    spec: dict[str, Any] = {
        key: (plain[key], field_default(schema, key, hint))
        for key, hint in hints.items()
        if _managed(hint) is None
    }
    return create_model(name, **spec)


def _is_model(schema: type) -> bool:
    """Return whether ``schema`` is a model of pydantic's, which is loaded by whoever defined one."""
    # While another thread imports it, it is there and empty.
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return base is not None and issubclass(schema, base)


def _unmarked(hint: Any) -> Any:
    return hint.__args__[0] if get_origin(hint) in _MARKS else hint
