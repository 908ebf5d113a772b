"""The functional API: ``@entrypoint`` makes a graph of one function, ``@task`` makes its calls tasks.

A call of a task inside a run is scheduled like a node of the same superstep: it is streamed, retried, cached,
and its result is kept in the checkpoint, so that a resumed run does not call it again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from ..channels import EphemeralValue, LastValue
from ..checkpoint.lease import ThreadLease
from ..deprecated import by_old_name, refuse_others
from ..graph.compiler import check_lease
from ..graph.description import Description
from ..graph.functions import task_node
from ..graph.node import Callback, Node, Writes, callable_name, is_coroutine_function
from ..graph.program import Program
from ..graph.spec import GraphSpec
from ..policies import CachePolicy, RetryPolicy, TimeoutPolicy, as_policies
from ..run.caching import cache_namespace
from ..run.calls import call
from ..runtime import current_task
from ..types import END, START
from .compiled import CompiledStateGraph

PREVIOUS = "__previous__"
R = TypeVar("R")
S = TypeVar("S")


class TaskFunction:
    """A function whose calls inside a run are tasks; a call returns a future."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None,
        retry: tuple[RetryPolicy, ...],
        cache: CachePolicy | None,
        timeout: TimeoutPolicy | None,
    ) -> None:
        self.func = function
        update_wrapper(self, function)
        self.spec = task_node(function, name, retry, cache, timeout)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Schedule a call; return what to await, or ``result()``, for its outcome.

        Raises:
            RuntimeError: called outside of a run.
        """
        return call(self.spec, current_task(), args, kwargs)

    def clear_cache(self, cache: Any) -> None:
        """Forget the cached results of the task."""
        if self.spec.cache is not None:
            cache.clear([cache_namespace(self.spec)])

    async def aclear_cache(self, cache: Any) -> None:
        """Do what :meth:`clear_cache` does."""
        if self.spec.cache is not None:
            await cache.aclear([cache_namespace(self.spec)])


def task(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Any = None,
    **old: Any,
) -> Any:
    """Make a function's calls tasks of the run they happen in.

    Raises:
        ValueError: a timeout on a sync function.
    """
    retry_policy = by_old_name(old, "retry", "retry_policy", retry_policy)
    refuse_others(old, "task")
    limit = TimeoutPolicy.coerce(timeout)

    def decorate(function: Callable[..., Any]) -> TaskFunction:
        return TaskFunction(
            function, name, as_policies(retry_policy), cache_policy, _allowed(function, limit)
        )

    return decorate if function is None else decorate(function)


def _allowed(function: Callable[..., Any], limit: TimeoutPolicy | None) -> TimeoutPolicy | None:
    if limit is not None and not is_coroutine_function(function):
        raise ValueError(
            f"Node timeouts are only supported for async nodes: {callable_name(function)!r} is sync, "
            f"and a thread can't be stopped; make it async or drop the timeout"
        )
    return limit


@dataclass(slots=True)
class _Final(Generic[R, S]):
    """What an entrypoint returns when the value for its caller is not the one to remember."""

    value: R
    save: S


class _EntryNode(Node):
    """Writes its answer to the caller, and to the thread's memory."""

    __slots__ = ()

    def writes_of(self, answer: Any) -> Writes:
        if isinstance(answer, _Final):
            return [(END, answer.value), (PREVIOUS, answer.save)]
        return [(END, answer), (PREVIOUS, answer)]


class entrypoint:  # noqa: N801 - LangGraph's name
    """Make a function of one input a graph.

    It may also take ``previous``, ``writer``, ``store``, ``config`` and ``runtime``.
    ``entrypoint.final(value=..., save=...)`` returns one value and remembers another. ``lease``: a
    ``PostgresLease`` or ``SqliteLease``, so that of several workers only one at a time runs a thread.

    Raises:
        TypeError: ``lease`` is none.
    """

    final = _Final

    def __init__(
        self,
        checkpointer: Any = None,
        store: Any = None,
        cache: Any = None,
        context_schema: Any = None,
        cache_policy: CachePolicy | None = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        timeout: Any = None,
        *,
        lease: ThreadLease | None = None,
        **old: Any,
    ) -> None:
        context_schema = by_old_name(old, "config_schema", "context_schema", context_schema)
        retry_policy = by_old_name(old, "retry", "retry_policy", retry_policy)
        refuse_others(old, "entrypoint")
        self.checkpointer = checkpointer
        self.store = store
        self.cache = cache
        self.context_schema = context_schema
        self.cache_policy = cache_policy
        self.retry_policy = as_policies(retry_policy)
        self.timeout = TimeoutPolicy.coerce(timeout)
        self.lease = check_lease(lease, "entrypoint")

    def __call__(self, function: Callable[..., Any]) -> CompiledStateGraph:
        """Compile ``function``.

        Raises:
            NotImplementedError: it is a generator.
            ValueError: it takes no input.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise NotImplementedError(
                "Generators are disabled in entrypoints: return a value, and stream with a writer"
            )
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            raise ValueError("Entrypoint function must have at least one parameter")
        hints = _hints(function)
        given = hints.get(parameters[0].name, Any)
        returned, saved = _returned(hints)
        callback = Callback.of(function, previous=True)
        node = _EntryNode(
            callback.name,
            callback,
            triggers=(START,),
            keys=(START,),
            single=True,
            retry=self.retry_policy,
            cache=self.cache_policy,
            timeout=_allowed(function, self.timeout),
        )
        program = Program(
            start=None,
            nodes={node.name: node},
            channels={
                START: EphemeralValue(given, START),
                END: LastValue(returned, END),
                PREVIOUS: LastValue(saved, PREVIOUS),
            },
            output_keys=(END,),
            state_keys=(END,),
            schemas=(self.context_schema,),
        )
        described = Description(
            state_schema=given,
            input_schema=given,
            output_schema=returned,
            context_schema=self.context_schema,
            edges={(START, callback.name): None},
        )
        stores = (self.checkpointer, self.store, self.cache)
        return CompiledStateGraph(GraphSpec("LangGraph", program, described, *stores, lease=self.lease))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # noqa: BLE001 - annotations that can't be resolved say nothing
        return {}


def _returned(hints: dict[str, Any]) -> tuple[Any, Any]:
    hint = hints.get("return", Any)
    if get_origin(hint) is _Final or hint is _Final:
        args = get_args(hint) or (Any, Any)
        return args[0], args[1]
    return hint, hint
