"""Nodes and branches as the engine runs them: what to call, with what, and what its answer writes."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from anyio import to_thread

from otel_stream.encoding import shown

from ..errors import ErrorCode, InvalidUpdateError, ParentCommand
from ..policies import CachePolicy, RetryPolicy, TimeoutPolicy, TracePolicy
from ..types import END, START, Command, Send, declares_fields, field_updates, ours
from .injection import INJECTABLE, injected
from .introspect import graph_in
from .schema import ROOT

#: The channel that holds the ``Send`` packets of the superstep before.
TASKS = "__pregel_tasks"
#: A task that wrote nothing still leaves this, so that a resumed run knows it has ended.
NO_WRITES = "__no_writes__"
Writes = list[tuple[str, Any]]
#: Types of answers that are surely nothing to invoke in turn.
PLAIN = frozenset({dict, str, list, tuple, int, float, bool, type(None), Command, Send})


def branch_to(node: str) -> str:
    """Name the channel whose update schedules ``node``."""
    return f"branch:to:{node}"


@dataclass(slots=True)
class Callback:
    """User code in the forms the engine can call: one for threads, one to await, or both."""

    name: str
    func: Callable[..., Any] | None
    afunc: Callable[..., Awaitable[Any]] | None
    #: Parameters to fill in by name; a subset of INJECTABLE.
    inject: tuple[str, ...] = ()
    #: A compiled graph, when that is what the callable is.
    subgraph: Any = None
    #: What the user gave.
    original: Any = None
    #: Whether it is called on the event loop's thread: a sync router that was declared quick.
    in_place: bool = False
    #: The functions of one of LangGraph's own runnables, to call without it where nobody hears of its calls.
    bare: Callback | None = None

    @classmethod
    def of(
        cls, target: Any, name: str | None = None, *, takes_error: bool = False, previous: bool = False
    ) -> Callback:
        """Wrap a function, coroutine function, generator, callable object, graph, or LangChain runnable.

        ``previous``: there may be something that the run before has remembered.

        Raises:
            TypeError: it can't be called.
        """
        if is_runnable(target):
            return cls._of_runnable(target, name)
        if not callable(target):
            raise TypeError(
                f"node {name or target!r}: expected a function, a compiled graph or a runnable, "
                f"got {type(target).__name__}"
            )
        is_async = is_coroutine_function(target)
        found = injected(target, previous=previous)
        inject = tuple(p for p in found if p != "error" or takes_error)
        called = _last_yield(target)
        return cls(
            name=name or callable_name(target),
            func=None if is_async else called,
            afunc=cast("Callable[..., Awaitable[Any]]", called) if is_async else None,
            inject=inject,
            original=target,
        )

    def outside(self, config: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the parameters to fill in for a call that no run makes."""
        return {name: OUTSIDE[name](config) for name in self.inject}

    @classmethod
    def _of_runnable(cls, target: Any, name: str | None) -> Callback:
        is_graph = getattr(target, "is_compiled_graph", False)
        original = target
        if is_graph and not _PLACE.isdisjoint(target.config.get("configurable") or ()):
            target = _anywhere(target)
        return cls(
            name=name or (target.get_name() if hasattr(target, "get_name") else type(target).__name__),
            func=target.invoke,
            afunc=target.ainvoke,
            inject=() if is_graph else ("config",),
            subgraph=original if is_graph else None,
            original=original,
            bare=cls._bare(target),
        )

    @classmethod
    def _bare(cls, target: Any) -> Callback | None:
        """Return what a ``RunnableCallable`` of LangGraph's, as in its prebuilt agents, is made of.

        None if it is anything else, or does more than to call its functions.
        """
        kind: Any = type(target)
        base = next((base for base in kind.__mro__ if base.__name__ == "RunnableCallable"), None)
        if base is None or not base.__module__.startswith("langgraph."):
            return None
        is_plain = (kind.invoke, kind.ainvoke) == (base.invoke, base.ainvoke) and not target.kwargs
        functions, inject = (target.func, target.afunc), tuple(target.func_accepts)
        if not is_plain or target.explode_args or None in functions or not INJECTABLE.issuperset(inject):
            return None
        return cls(target.get_name(), *functions, inject=inject, original=target)


#: What fills in each parameter of code that is called outside of a run, from the config of the call.
OUTSIDE: dict[str, Callable[[Mapping[str, Any] | None], Any]] = {}

#: Where in ``configurable`` a config says where checkpoints are.
_PLACE = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"})


def _anywhere(graph: Any) -> Any:
    """Return the same graph, bound to no place: where it is a node, its place is under its task."""
    other = copy(graph)
    configurable = graph.config["configurable"]
    other.config = {
        **graph.config,
        "configurable": {key: value for key, value in configurable.items() if key not in _PLACE},
    }
    return other


def is_runnable(target: Any) -> bool:
    """Whether ``target`` is a compiled graph or follows LangChain's Runnable protocol.

    What can be called and answers to any name, as a mock does, is a function.
    """
    asked = type(target) if callable(target) else target
    return not inspect.isclass(target) and hasattr(asked, "invoke") and hasattr(asked, "ainvoke")


def is_coroutine_function(target: Any) -> bool:
    """Whether calling ``target`` gives an awaitable; looks through partials and callable objects."""
    while isinstance(target, partial):
        target = target.func
    forms = (target, _call_of(target))
    return any(inspect.iscoroutinefunction(form) or inspect.isasyncgenfunction(form) for form in forms)


def _last_yield(target: Any) -> Callable[..., Any]:
    """Return what calls a generator function and takes what it yields last for its answer."""
    function = target
    while isinstance(function, partial):
        function = function.func
    forms = (function, _call_of(function))
    if any(inspect.isasyncgenfunction(form) for form in forms):

        async def drained(*args: Any, **kwargs: Any) -> Any:
            answer = None
            async with aclosing(target(*args, **kwargs)) as parts:
                async for answer in parts:  # noqa: B007 - the last one is the answer
                    pass
            return answer

        return drained
    if any(inspect.isgeneratorfunction(form) for form in forms):

        def exhausted(*args: Any, **kwargs: Any) -> Any:
            answer = None
            for answer in target(*args, **kwargs):  # noqa: B007 - the last one is the answer
                pass
            return answer

        return exhausted
    return cast("Callable[..., Any]", target)


def _call_of(target: Any) -> Any:
    """Return the method behind a callable object, None for one without."""
    return getattr(type(target), "__call__", None)  # noqa: B004 - the method itself is wanted


def callable_name(target: Any) -> str:
    """Return the name a callable goes by."""
    while isinstance(target, partial):
        target = target.func
    name = getattr(target, "__name__", None)
    return name if isinstance(name, str) and name else type(target).__name__


def annotated_destinations(target: Any) -> tuple[str, ...]:
    """Return the nodes that a ``-> Command[Literal["a", "b"]]`` annotation promises."""
    try:
        returned = get_type_hints(target if inspect.isroutine(target) else target.__call__).get("return")
    except Exception:  # noqa: BLE001 - hints that can't be resolved promise nothing
        return ()
    for candidate in (returned, *get_args(returned)):
        if getattr(get_origin(candidate), "__name__", None) == "Command" and get_args(candidate):
            choice = get_args(candidate)[0]
            if get_origin(choice) is Literal:
                return tuple(get_args(choice))
    return ()


def path_map_of(path: Any, path_map: Mapping[Hashable, str] | list[str] | None) -> dict[Hashable, str] | None:
    """Return what a router's answers stand for: as given, or as it is annotated; None if that is anything."""
    if isinstance(path_map, Mapping):
        return dict(path_map)
    if path_map is not None:
        return {name: name for name in path_map}
    try:
        returned = get_type_hints(path if hasattr(path, "__code__") else path.__call__).get("return")
    except Exception:  # noqa: BLE001 - a router without resolvable hints may go anywhere
        return None
    return {name: name for name in get_args(returned)} if get_origin(returned) is Literal else None


def first_parameter_schema(target: Any) -> Any:
    """Return the annotation of a callable's first parameter if it is a schema, else None."""
    is_function = inspect.isfunction(target) or inspect.ismethod(target)
    try:
        hints = get_type_hints(target if is_function else _call_of(target))
        name = next(iter(inspect.signature(target).parameters))
    except Exception:  # noqa: BLE001 - not every callable can be looked into; the graph's schema it is then
        return None
    hint = hints.get(name)
    return hint if inspect.isclass(hint) and get_type_hints(hint) else None


@dataclass(slots=True)
class Branch:
    """A conditional edge: a router, and the names its answers stand for."""

    name: str
    path: Callback
    ends: dict[Hashable, str] | None
    #: Keys to read for the router, and what to make of them.
    keys: tuple[str, ...] = ()
    make: Callable[[dict[str, Any]], Any] | None = None
    #: Its keys that are computed anew for every task.
    managed: Mapping[str, Any] = field(default_factory=dict)
    own_schema: Any = None

    def targets(self, answer: Any) -> list[str | Send]:
        """Translate the router's answer.

        Raises:
            ValueError: an answer is None or START.
            InvalidUpdateError: a packet is sent to END.
            KeyError: the answer is not in ``path_map``.
        """
        if type(answer) is str:  # one name, as nearly always
            named = self.ends.get(answer) if self.ends else answer
            if named is not None and named != START:
                return [named]
        answer = ours(answer)
        answers = list(answer) if isinstance(answer, (list, tuple)) else [answer]
        if self.ends:
            answers = [a if isinstance(a, Send) else self._end(a) for a in answers]
        for target in answers:
            if target is None or target == START:
                raise ValueError(
                    f"Branch did not return a valid destination: conditional edge '{self.name}' "
                    f"returned {shown(answer)}; "
                    f"return a node name, a Send, END, or a list of them"
                )
            if isinstance(target, Send) and target.node == END:
                raise InvalidUpdateError("Cannot send a packet to the END node")
        return answers

    def _end(self, answer: Any) -> str:
        assert self.ends is not None
        try:
            return self.ends[answer]
        except KeyError:
            raise KeyError(
                f"conditional edge '{self.name}' returned {shown(answer)}, which its path_map does not know; "
                f"known: {', '.join(map(repr, self.ends))}"
            ) from None


@dataclass(slots=True)
class Node:
    """All that a superstep needs to know of a node; tables are filled in by ``StateGraph.compile``."""

    name: str
    callback: Callback
    triggers: tuple[str, ...] = ()
    #: State keys to read; ``("__root__",)`` for a state that is one value.
    keys: tuple[str, ...] = ()
    #: Whether it is called with the value of its only key, instead of a mapping.
    single: bool = False
    managed: Mapping[str, Any] = field(default_factory=dict)
    make: Callable[[dict[str, Any]], Any] | None = None
    #: Keys it may write.
    writable: frozenset[str] = frozenset()
    root: bool = False
    #: Writes that always follow: static edges and joins.
    edges: tuple[tuple[str, Any], ...] = ()
    branches: tuple[Branch, ...] = ()
    retry: tuple[RetryPolicy, ...] = ()
    cache: CachePolicy | None = None
    timeout: TimeoutPolicy | None = None
    error_handler: str | None = None
    metadata: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    trace: TracePolicy | None = None
    #: Keys whose reducer is ``add_messages``.
    conversations: frozenset[str] = frozenset()
    #: Whether it may run again when nobody knows what it has done: a worker died that ran it elsewhere.
    repeatable: bool = True

    def copy(self, update: Mapping[str, Any]) -> Node:
        """Return the same node with some fields changed."""
        return replace(self, **update)

    @property
    def bound(self) -> Any:
        """What the node calls: a runnable as it was given, or a function as ``func`` and ``afunc``."""
        original = self.callback.original
        return original if is_runnable(original) else self.callback

    def invoke(self, input: Any, config: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Call the node alone, outside of any run, as a test of it does; return its answer.

        Raises:
            TypeError: it has no sync form.
        """
        call = self.callback
        if call.func is None:
            raise TypeError(f"node '{self.name}' is async and has no sync form: await ainvoke instead")
        return call.func(input, **call.outside(config), **kwargs)

    async def ainvoke(self, input: Any, config: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Do what :meth:`invoke` does on an event loop, sync code in a thread."""
        call = self.callback
        if call.afunc is not None:
            return await call.afunc(input, **call.outside(config), **kwargs)
        return await to_thread.run_sync(partial(self.invoke, input, config, **kwargs))

    @property
    def subgraphs(self) -> list[Any]:
        """The compiled graph that the node is, or calls, if any."""
        found = graph_in(self.callback.original)
        return [] if found is None else [found]

    @property
    def retryable(self) -> bool:
        """Whether a failing attempt may be followed by another one."""
        return any(policy.max_attempts > 1 for policy in self.retry)

    def writes_of(self, answer: Any) -> Writes:
        """Translate what the node returned into state writes.

        Raises:
            InvalidUpdateError: it returned something that names no keys.
            ParentCommand: it commanded the graph around this one.
        """
        if answer is None:
            return []
        if type(answer) is dict and not self.root:
            writable = self.writable
            if answer.keys() <= writable:
                return list(answer.items())
            return [item for item in answer.items() if item[0] in writable]
        return self._control(answer, root_updates(answer) if self.root else self._updates(answer))

    def _updates(self, answer: Any) -> Writes:
        if isinstance(answer, dict):
            pairs: Writes = list(answer.items())
        elif isinstance(answer, Send):
            pairs = []
        elif isinstance(answer, Command):
            pairs = [] if answer.graph == Command.PARENT else answer.update_as_tuples()
        elif _has_command(answer):
            pairs = [pair for item in answer if item is not None for pair in self._updates(item)]
        elif declares_fields(type(answer)):
            pairs = field_updates(answer)
        else:
            raise InvalidUpdateError(
                f"Expected dict, got {shown(answer)}: node '{self.name}' must return a mapping of state keys "
                f"to values, a Command, or None. [{ErrorCode.INVALID_GRAPH_NODE_RETURN_VALUE.value}]"
            )
        return [pair for pair in pairs if pair[0] in self.writable]

    def _control(self, answer: Any, writes: Writes) -> Writes:
        if isinstance(answer, Send):
            return [*writes, (TASKS, answer)]
        commands = commands_in(answer)
        upwards = [command for command in commands if command.graph == Command.PARENT]
        if upwards:
            raise ParentCommand(*upwards)
        for command in commands:
            writes.extend(goto_writes(command))
        return writes


def goto_writes(command: Command[Any]) -> Writes:
    """Translate ``command.goto`` into writes that schedule its destinations.

    Raises:
        TypeError: it is neither a node's name nor a ``Send``, nor several of them.
    """
    targets = command.destinations()
    if len(targets) == 1 and targets[0] is command.goto and not isinstance(targets[0], str | Send):
        raise TypeError(
            f"Command(goto={command.goto!r}): a {type(command.goto).__name__} is no destination; "
            "give the name of a node, a Send, or several of them"
        )
    return target_writes(one for one in targets if isinstance(one, str | Send))


def target_writes(targets: Iterable[str | Send], value: Any = None) -> Writes:
    """Translate destinations into writes that schedule them; END schedules nothing."""
    writes: Writes = []
    for target in targets:
        if isinstance(target, Send):
            writes.append((TASKS, target))
        elif target != END:
            writes.append((branch_to(target), value))
    return writes


def _has_command(answer: Any) -> bool:
    return isinstance(answer, (list, tuple)) and any(isinstance(item, Command) for item in answer)


def commands_in(answer: Any) -> Sequence[Command[Any]]:
    """Return the commands that a node's answer is, or holds."""
    if isinstance(answer, Command):
        return (answer,)
    if isinstance(answer, (list, tuple)):
        return [item for item in answer if isinstance(item, Command)]
    return ()


def root_updates(answer: Any) -> Writes:
    """Translate what a node of a single-value state returned."""
    if isinstance(answer, Command):
        return [] if answer.graph == Command.PARENT else answer.update_as_tuples()
    if not _has_command(answer):
        return [(ROOT, answer)]
    writes: Writes = []
    for item in answer:
        writes.extend(root_updates(item))
    return writes
