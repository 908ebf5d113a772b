"""Retry, timeout and cache policies of a node."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

from .cache.key import default_cache_key

#: Mistakes in code and refused operations: trying again would only repeat them.
_NOT_WORTH_RETRYING = (
    ValueError,
    TypeError,
    ArithmeticError,
    ImportError,
    LookupError,
    NameError,
    SyntaxError,
    RuntimeError,
    ReferenceError,
    StopIteration,
    StopAsyncIteration,
    OSError,
)


def default_retry_on(error: Exception) -> bool:
    """Retry what may pass: lost connections, answers from 500 on, errors not known to be mistakes."""
    if isinstance(error, ConnectionError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int) and type(error).__name__ in ("HTTPStatusError", "HTTPError"):
        return 500 <= status < 600
    if type(error).__module__.startswith("requests"):
        return True
    return not isinstance(error, _NOT_WORTH_RETRYING)


class RetryPolicy(NamedTuple):
    """When and how often to call a failing node again. Intervals are in seconds.

    The first pause is ``initial_interval``, each later one ``backoff_factor`` times as long, none longer
    than ``max_interval``. ``retry_on``: exceptions, or a function that says whether to try again; by default
    lost connections, answers from 500 on, and what is no mistake in code or refused operation: not
    ``ValueError``, ``RuntimeError`` and their like, nor ``OSError``, of which ``TimeoutError`` is one.
    """

    #: Seconds before the second call.
    initial_interval: float = 0.5
    #: Each pause is this many times the one before.
    backoff_factor: float = 2.0
    #: No pause is longer than so many seconds, jitter aside.
    max_interval: float = 128.0
    #: Calls in total, the first included.
    max_attempts: int = 3
    #: Adds up to one second to each pause.
    jitter: bool = True
    #: An exception class, several, or a function of the exception that says whether to call again.
    retry_on: type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool] = default_retry_on

    def matches(self, error: Exception) -> bool:
        """Whether ``error`` is one to try again after."""
        rule = self.retry_on
        if isinstance(rule, type):
            return isinstance(error, rule)
        if callable(rule):
            return bool(rule(error))
        if isinstance(rule, Sequence):
            return isinstance(error, tuple(rule))
        raise TypeError(
            f"RetryPolicy.retry_on: {rule!r} is not an exception class, a sequence of them, or a callable"
        )

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after failed attempt number ``attempt`` (from 1)."""
        interval = min(self.max_interval, self.initial_interval * self.backoff_factor ** (attempt - 1))
        return interval + random.uniform(0, 1) if self.jitter else interval


def _seconds(name: str, value: float | timedelta | None) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds <= 0:
        raise ValueError(f"{name} must be greater than 0 seconds, not {value!r}; None is no limit")
    return seconds


@dataclass(frozen=True, kw_only=True)
class TimeoutPolicy:
    """How long one attempt of an async node may take; times in seconds or as ``timedelta``.

    ``idle_timeout`` starts anew whenever the node makes progress: with ``refresh_on="auto"`` whenever it
    writes to a stream or calls ``runtime.heartbeat()``, with ``"heartbeat"`` only for the latter.

    ``run_timeout`` bounds the whole attempt.
    """

    run_timeout: float | timedelta | None = None
    idle_timeout: float | timedelta | None = None
    refresh_on: Literal["auto", "heartbeat"] = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "run_timeout", _seconds("run_timeout", self.run_timeout))
        object.__setattr__(self, "idle_timeout", _seconds("idle_timeout", self.idle_timeout))
        if self.refresh_on not in ("auto", "heartbeat"):
            raise ValueError(f"refresh_on: {self.refresh_on!r} is unknown; choose 'auto' or 'heartbeat'")

    @property
    def run_seconds(self) -> float | None:
        """``run_timeout`` in seconds."""
        return _seconds("run_timeout", self.run_timeout)

    @property
    def idle_seconds(self) -> float | None:
        """``idle_timeout`` in seconds."""
        return _seconds("idle_timeout", self.idle_timeout)

    @classmethod
    def coerce(cls, value: float | timedelta | TimeoutPolicy | None) -> TimeoutPolicy | None:
        """Accept a plain number of seconds, or a ``timedelta``, as a limit on the whole attempt.

        Raises:
            ValueError: it is none, or not above 0.
        """
        if isinstance(value, (int, float, timedelta)):
            value = cls(run_timeout=value)
        if value is not None and not hasattr(value, "run_timeout"):
            raise ValueError(f"timeout: {value!r} is none; give seconds, a timedelta or a TimeoutPolicy")
        if value is None or (value.run_timeout is None and value.idle_timeout is None):
            return None
        if not isinstance(value, cls):  # LangGraph's
            return cls(
                run_timeout=value.run_timeout, idle_timeout=value.idle_timeout, refresh_on=value.refresh_on
            )
        return value


@dataclass(kw_only=True, frozen=True)
class CachePolicy:
    """Skip a node whose input was seen before. ``ttl`` is in seconds; None keeps entries for good.

    ``key_func`` makes the key out of the node's input; by default a hash of it.
    """

    key_func: Callable[..., str | bytes] = field(default=default_cache_key)
    ttl: int | None = None


@dataclass(kw_only=True, frozen=True)
class TracePolicy:
    """What LangChain's tracers are shown of a node: its input and answer as these functions return them.

    The node itself, and callbacks that are no tracers, get them as they are.

    ``process_inputs`` and ``process_outputs`` change what is shown of the node's input and output.
    """

    process_inputs: Callable[[Any], Any] | None = None
    process_outputs: Callable[[Any], Any] | None = None


@dataclass(kw_only=True, frozen=True)
class Remote:
    """Where a node runs that outgrows the process of its graph: in a worker process on a Ray cluster.

    ``num_cpus``, ``num_gpus`` and ``resources`` are what one worker takes of the cluster. Nodes whose
    ``Remote`` is equal share workers: at most ``workers`` of them, each with at most ``concurrency`` tasks at
    a time; further tasks wait for a place. ``setup`` is called once in each worker before its first task: it
    loads a model, say, or calls ``otel_stream.configure()``.

    A worker that dies fails the attempt with :class:`~engine.WorkerLostError`. What the node had done by then
    nobody knows: a ``RetryPolicy`` tries again only if the node is declared ``idempotent``.

    Raises:
        ValueError: a number of CPUs or GPUs below 0, or less than one worker or task.
    """

    num_cpus: float = 1
    num_gpus: float = 0
    resources: Mapping[str, float] | None = None
    concurrency: int = 1
    workers: int = 1
    idempotent: bool = False
    setup: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("num_cpus", "num_gpus"):
            if getattr(self, name) < 0:
                raise ValueError(f"Remote.{name} must be 0 or more, not {getattr(self, name)!r}")
        for name in ("concurrency", "workers"):
            given = getattr(self, name)
            if not isinstance(given, int) or given < 1:
                raise ValueError(f"Remote.{name} must be a whole number, 1 or more, not {given!r}")

    @cached_property  # asked for each call
    def pool(self) -> tuple[Any, ...]:
        """What nodes that share workers have in common."""
        resources = tuple(sorted((self.resources or {}).items()))
        return (self.num_cpus, self.num_gpus, resources, self.concurrency, self.workers, self.setup)


def omit_payload(_value: Any) -> dict[str, Any]:
    """Show nothing of an input or answer: for a ``TracePolicy``."""
    return {}


def as_policies(value: RetryPolicy | Sequence[RetryPolicy] | None) -> tuple[RetryPolicy, ...]:
    """Normalise the ``retry_policy`` argument: a policy is itself a tuple."""
    if value is None:
        return ()
    if hasattr(value, "max_attempts"):
        value = (cast("RetryPolicy", value),)
    return tuple(_retry_policy(policy) for policy in value)


def _retry_policy(value: Any) -> RetryPolicy:
    """Take LangGraph's policy for ours."""
    if isinstance(value, RetryPolicy):
        return value
    try:
        return RetryPolicy(*(getattr(value, name) for name in RetryPolicy._fields))
    except AttributeError as error:
        raise TypeError(
            f"retry_policy: {value!r} is no RetryPolicy; give one, or a sequence of them, from engine"
        ) from error
