"""The words users build graphs with: small values, by LangGraph's names and shapes."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    get_type_hints,
    runtime_checkable,
)

from .policies import TimeoutPolicy

START = sys.intern("__start__")
END = sys.intern("__end__")
TAG_NOSTREAM = sys.intern("nostream")
TAG_HIDDEN = sys.intern("langsmith:hidden")
#: The key under which *updates* and *values* show what a run waits for.
INTERRUPT = sys.intern("__interrupt__")

All: TypeAlias = Literal["*"]
Durability: TypeAlias = Literal["sync", "async", "exit"]
#: A RunnableConfig: ``configurable``, ``tags``, ``metadata``, ``recursion_limit``, ``max_concurrency``, ...
Config: TypeAlias = dict[str, Any]
N = TypeVar("N", bound=Hashable)
T = TypeVar("T")


@runtime_checkable
class StreamWriter(Protocol):
    """Writes any value to the *custom* stream; does nothing when nobody listens. For any thread."""

    def __call__(self, data: Any, /) -> None:
        """Write ``data``, and wait for nobody."""

    async def write(self, data: Any, /) -> None:
        """Write ``data``, then wait until every ``block`` receiver has room again."""

    def write_blocking(self, data: Any, /) -> None:
        """Do what :meth:`write` does from a sync node: it is the node's thread that waits.

        Raises:
            RuntimeError: called on an event loop's thread, which would wait for itself.
            CancelledError: nobody waits for the node any more.
        """


class Missing:
    """The type of :data:`MISSING`: no value, where None is one."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"  # the same one in every process


MISSING = Missing()


@dataclass(slots=True)
class Interrupt:
    """What a run waits for: ``value`` is shown to whoever answers, ``id`` names it in a resume map.

    ``response_schema``: JSON schema of the answer, if one was asked for.
    """

    value: Any
    id: str = "placeholder-id"
    response_schema: type[Any] | dict[str, Any] | None = None


class Word:
    """A word that LangGraph's code, where that is loaded, takes for its own of this name.

    It asks with ``isinstance``, which asks an object for its ``__class__``. So its ``ToolNode`` passes on
    what a tool has returned, and its graphs follow what their nodes have.
    """

    __slots__ = ()
    #: What both call it.
    _name: ClassVar[str]

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - nobody sets it
        theirs = getattr(sys.modules.get("langgraph.types"), self._name, None)
        return theirs if isinstance(theirs, type) else type(self)


class Send(Word):
    """Schedule ``node`` for the next superstep with ``arg`` as its private input."""

    __slots__ = ("arg", "node", "timeout")
    _name = "Send"

    def __init__(self, /, node: str, arg: Any, *, timeout: Any = None) -> None:
        self.node = node
        self.arg = arg
        self.timeout = TimeoutPolicy.coerce(timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return Send, (self.node, self.arg), (None, {"timeout": self.timeout})

    def __hash__(self) -> int:
        return hash((self.node, self.arg))

    def __repr__(self) -> str:
        limit = f", timeout={self.timeout!r}" if self.timeout else ""
        return f"Send(node={self.node!r}, arg={self.arg!r}{limit})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Send)
            and self.node == other.node
            and self.arg == other.arg
            and self.timeout == other.timeout
        )


class _Answer(Word):
    """Holds the place of LangChain's ``ToolOutputMixin`` until that is loaded."""


class _ToolAnswer(_Answer):
    """What LangChain passes on as it is when a tool returns it, instead of as text.

    LangChain asks for a base class, and a graph must not load LangChain to have it.
    """

    def __post_init__(self) -> None:
        if _ToolAnswer.__bases__ == (_Answer,):
            mixin = getattr(sys.modules.get("langchain_core.messages.tool"), "ToolOutputMixin", None)
            if mixin is not None:
                _ToolAnswer.__bases__ = (_Answer, mixin)


@dataclass(frozen=True, kw_only=True, repr=False)
class Command(_ToolAnswer, Generic[N]):
    """Update and route in one: returned by a node, or given as input to resume or redirect a run.

    ``graph``: None for the graph the node is in, ``Command.PARENT`` for the one around it.
    ``goto``: one node name or ``Send``, or several in any iterable. ``resume``: the answer to the
    pending interrupt, or a mapping of interrupt ids to answers.

    ``update`` is written to the state.
    """

    graph: str | None = None
    update: Any | None = None
    resume: dict[str, Any] | Any | None = None
    goto: Send | Sequence[Send | N] | N = ()

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"
    _name: ClassVar[str] = "Command"

    def __repr__(self) -> str:
        shown = ((f.name, getattr(self, f.name)) for f in fields(self))
        return f"Command({', '.join(f'{name}={value!r}' for name, value in shown if value)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _command, (type(self), {one.name: getattr(self, one.name) for one in fields(self)})

    def here(self) -> Command[N]:
        """Return the same command for the graph that the node is in."""
        return _command(type(self), {"update": self.update, "resume": self.resume, "goto": self.goto})

    def destinations(self) -> tuple[Any, ...]:
        """Return ``goto`` as a tuple."""
        goto: Any = self.goto
        if not isinstance(goto, (tuple, list)):
            if isinstance(goto, str) or not isinstance(goto, Iterable):
                return (ours(goto),)
            goto = tuple(goto)
            object.__setattr__(self, "goto", goto)  # it is asked more than once, and an iterator answers once
        return tuple(map(ours, goto))

    def update_as_tuples(self) -> list[tuple[str, Any]]:
        """Return ``update`` as writes: pairs of channel and value."""
        update = self.update
        if isinstance(update, Mapping):
            return list(update.items())
        if isinstance(update, (list, tuple)) and all(
            isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in update
        ):
            return list(update)
        if update is not None and declares_fields(type(update)):
            return field_updates(update)
        return [] if update is None else [("__root__", update)]

    #: LangGraph's graphs ask for it by this name.
    _update_as_tuples = update_as_tuples


def _command(kind: type[Command[Any]], values: dict[str, Any]) -> Command[Any]:
    return kind(**values)


def ours(value: Any) -> Any:
    """Return LangGraph's ``Command`` or ``Send`` as ours, also in a list or tuple; else the value itself."""
    kind = type(value)
    if kind is list or kind is tuple:
        return value if all(type(item) in _OWN for item in value) else kind(map(_one, value))
    return _one(value)


#: Types that are surely no words of LangGraph's.
_OWN = frozenset({Command, Send, dict, str, int, float, bool, type(None)})


def _one(value: Any) -> Any:
    kind = type(value)
    if kind in _OWN or isinstance(value, (Command, Send)):
        return value
    if _has(kind, "graph", "update", "resume", "goto"):
        return Command(graph=value.graph, update=value.update, resume=value.resume, goto=value.goto)
    if kind.__name__ == "Send" and _has(kind, "node", "arg"):
        return Send(value.node, value.arg, timeout=getattr(value, "timeout", None))
    return value


def _has(kind: type, *names: str) -> bool:
    return all(hasattr(kind, name) for name in names)


def declares_fields(kind: type) -> bool:
    """Whether instances of ``kind`` have named fields: a dataclass, pydantic model, or annotated class."""
    return is_dataclass(kind) or hasattr(kind, "model_fields") or bool(getattr(kind, "__annotations__", None))


def field_updates(value: Any) -> list[tuple[str, Any]]:
    """Turn a state object into writes; of a pydantic model not what is None because nobody has set it."""
    model_fields = getattr(type(value), "model_fields", None)
    if model_fields is not None:
        pairs = [(name, spec, getattr(value, name)) for name, spec in model_fields.items()]
        is_set = value.model_fields_set
        return [
            (name, held)
            for name, spec, held in pairs
            if held is not None or name in is_set or spec.default is not None
        ]
    names = [f.name for f in fields(value)] if is_dataclass(value) else list(get_type_hints(type(value)))
    return [(name, getattr(value, name)) for name in names if getattr(value, name, MISSING) is not MISSING]


@dataclass(slots=True)
class Overwrite:
    """Wraps a written value so that it replaces the channel's instead of going through the reducer.

    ``type`` marks it, as in JSON.
    """

    value: Any
    type: Literal["__overwrite__"] = "__overwrite__"


class StateUpdate(NamedTuple):
    """One update for ``bulk_update_state``."""

    #: What the node is taken to have returned.
    values: dict[str, Any] | None
    #: The node that is taken to have returned it; needed unless a single node wrote last.
    as_node: str | None = None
    #: The task on whose behalf it is written; one that is made up unless it is given.
    task_id: str | None = None


class PregelTask(NamedTuple):
    """A task as ``get_state`` shows it."""

    #: Tells it from other tasks of the same node, in every checkpoint of the thread.
    id: str
    #: The node's.
    name: str
    #: Why it was planned: an edge or trigger, or its place among what a ``Send`` or a call asked for.
    path: tuple[Any, ...]
    #: What it raised, if it failed.
    error: Any = None
    #: What it asks.
    interrupts: tuple[Interrupt, ...] = ()
    #: The state of its subgraph with ``subgraphs=True``, else the config that finds it.
    state: Any = None
    #: What it wrote, if it has ended.
    result: Any = None


class StateSnapshot(NamedTuple):
    """The state of a thread at one checkpoint."""

    #: The state.
    values: dict[str, Any] | Any
    #: The nodes that would run now; empty when the graph has come to its end.
    next: tuple[str, ...]
    #: What finds this checkpoint again; ``invoke(None, snapshot.config)`` goes on from it.
    config: Config
    #: How it came about: its ``source`` and ``step``, and what the run's config said.
    metadata: Mapping[str, Any] | None
    #: When, as ISO 8601.
    created_at: str | None
    #: What finds the checkpoint before it; None of the first of its thread.
    parent_config: Config | None
    #: The tasks that come next, or have failed.
    tasks: tuple[PregelTask, ...]
    #: What they ask.
    interrupts: tuple[Interrupt, ...]


@dataclass(frozen=True)
class GraphOutput(Generic[T]):
    """What ``invoke(version="v2")`` returns: the output and what the run waits for, apart.

    ``value`` is the output, ``interrupts`` what is waited for.
    """

    value: T
    interrupts: tuple[Interrupt, ...] = ()

    def __getitem__(self, key: str) -> Any:
        if key == INTERRUPT:
            return self.interrupts
        return self.value[key]  # type: ignore[index]

    def __contains__(self, key: object) -> bool:
        if key == INTERRUPT:
            return bool(self.interrupts)
        return key in self.value  # type: ignore[operator]
