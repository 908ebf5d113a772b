"""Functional tasks as nodes: what calls their functions with what their callers have given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..policies import CachePolicy, RetryPolicy, TimeoutPolicy
from .injection import injected
from .node import Callback, Node, callable_name, is_coroutine_function


def task_node(
    function: Callable[..., Any],
    name: str | None,
    retry: tuple[RetryPolicy, ...],
    cache: CachePolicy | None,
    timeout: TimeoutPolicy | None,
) -> Node:
    """Return the node that a functional task is; its input is what its caller gives: ``(args, kwargs)``."""
    inject = tuple(one for one in injected(function, first=False, previous=True) if one != "error")
    called = _unpacked(function, inject)
    is_async = is_coroutine_function(function)
    callback = Callback(
        name or callable_name(function),
        None if is_async else called,
        called if is_async else None,
        inject=inject,
        original=function,
    )
    return Node(callback.name, callback, retry=retry, cache=cache, timeout=timeout)


def _unpacked(function: Callable[..., Any], inject: Sequence[str]) -> Callable[..., Any]:
    """Return what calls ``function`` with what its caller has given, and then with what is injected."""
    if not inject:
        return lambda packed: function(*packed[0], **packed[1])
    places = list(inspect.signature(function).parameters)

    def call(packed: Any, **injected: Any) -> Any:
        args, kwargs = packed
        given = {*places[: len(args)], *kwargs}
        rest = {name: value for name, value in injected.items() if name not in given}
        return function(*args, **kwargs, **rest)

    return call
