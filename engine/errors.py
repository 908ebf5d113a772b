"""What can go wrong, by LangGraph's names so that ``except`` clauses carry over."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from .types import Interrupt


class _AlsoLangGraphs:
    """Makes an exception one of LangGraph's class of that name, too, in a program that has loaded it.

    So the ``except`` clauses of code that still imports them from there know ours. Each class calls
    ``Exception.__init__`` itself: what LangGraph's do with their arguments is not for ours.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(_joined(cls), *args, **kwargs)


def _joined(cls: type[Any]) -> type[Any]:
    twin = getattr(sys.modules.get("langgraph.errors"), cls.__name__, None)
    if not isinstance(twin, type) or issubclass(cls, twin):
        return cls
    if (cls, twin) not in _JOINED:
        names = {
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            # It is pickled as ours: where it is read there may be no LangGraph.
            "__reduce__": lambda self: (cls, *super(cls, self).__reduce__()[1:]),
        }
        _JOINED[cls, twin] = type(cls.__name__, (cls, twin), names)
    return _JOINED[cls, twin]


_JOINED: dict[tuple[type[Any], type[Any]], type[Any]] = {}


class ErrorCode(Enum):
    """Stable names of the mistakes that are worth looking up."""

    GRAPH_RECURSION_LIMIT = "GRAPH_RECURSION_LIMIT"
    INVALID_CONCURRENT_GRAPH_UPDATE = "INVALID_CONCURRENT_GRAPH_UPDATE"
    INVALID_GRAPH_NODE_RETURN_VALUE = "INVALID_GRAPH_NODE_RETURN_VALUE"
    MULTIPLE_SUBGRAPHS = "MULTIPLE_SUBGRAPHS"
    INVALID_CHAT_HISTORY = "INVALID_CHAT_HISTORY"


class GraphRecursionError(_AlsoLangGraphs, RecursionError):
    """The run took more supersteps than ``config["recursion_limit"]`` allows."""


class InvalidUpdateError(_AlsoLangGraphs, Exception):
    """A node wrote something its channel cannot take."""


class EmptyChannelError(Exception):
    """A channel was read before anything was written to it."""


class EmptyInputError(_AlsoLangGraphs, Exception):
    """A run was started with nothing to do: no input, and no checkpoint to go on from."""


class ThreadBusyError(RuntimeError):
    """Another worker runs this thread of conversation, and the lease of it was not to be had in time."""


class LeaseLostError(RuntimeError):
    """A run can't be sure any more that no other worker runs its thread, and stops."""


class WorkerLostError(ConnectionError):
    """The worker that ran a node elsewhere is gone, or out of reach.

    ``begun``: whether the node may have begun there. It is not tried again then, unless it is declared
    idempotent.
    """

    def __init__(self, node: str, why: str, *, begun: bool) -> None:
        self.node = node
        self.why = why
        self.begun = begun
        state = "was running on it, and may have done part of its work" if begun else "had not begun"
        super().__init__(f"node {node!r} lost its worker ({why}); it {state}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_worker_lost, (self.node, self.why, self.begun))


def _worker_lost(node: str, why: str, begun: bool) -> WorkerLostError:
    return WorkerLostError(node, why, begun=begun)


class RemoteNodeError(Exception):
    """A node raised something elsewhere that can't be brought here: its type's name, and what it says."""


class TaskNotFound(_AlsoLangGraphs, Exception):
    """A task that an executor was asked for does not exist."""


#: What ends the program, and is no failure of whoever raises it.
EXITS = (SystemExit, KeyboardInterrupt)


def add_note(error: BaseException, note: str) -> None:
    """Add ``note``, once. An exception that takes none stays as it is, and nothing takes its place."""
    with suppress(BaseException):  # its class may be anybody's
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)


def put_on(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute, unless the class of ``error`` allows none."""
    with suppress(BaseException):
        setattr(error, name, value)


def found_on(error: BaseException, name: str) -> Any:
    """Return what :func:`put_on` has set; None if it has not, whatever the class makes of being asked."""
    with suppress(BaseException):
        return getattr(error, name, None)
    return None


_INVALID_RESUME = "_engine_invalid_resume"


def mark_invalid_resume(error: BaseException) -> None:
    """Note that ``error`` is about an answer that did not fit; see :func:`is_invalid_resume`."""
    put_on(error, _INVALID_RESUME, True)


def is_invalid_resume(error: BaseException) -> bool:
    """Whether ``error`` says that an answer did not fit the ``response_schema`` it was asked for with.

    The question is still open then: the run can be resumed with another answer.
    """
    return found_on(error, _INVALID_RESUME) is True


class GraphBubbleUp(_AlsoLangGraphs, Exception):
    """Control flow that travels as an exception; user code should let it pass."""


class GraphDrained(GraphBubbleUp):
    """The run stopped at a superstep boundary because ``RunControl.request_drain`` asked for it."""

    def __init__(self, reason: str = "shutdown") -> None:
        self.reason = reason
        Exception.__init__(self, reason)


class GraphInterrupt(GraphBubbleUp):
    """A node waits for a human; never surfaces from a root graph. ``args[0]`` holds the interrupts."""

    def __init__(self, interrupts: Sequence[Any] = ()) -> None:
        Exception.__init__(self, interrupts)


class NodeInterrupt(GraphInterrupt):
    """An interrupt raised by hand; :func:`engine.interrupt` is the better way."""

    def __init__(self, value: Any, id: str | None = None) -> None:
        super().__init__([Interrupt(value) if id is None else Interrupt(value, id)])


class ParentCommand(GraphBubbleUp):
    """A ``Command(graph=Command.PARENT)``, or several, on the way to the graph they are for."""

    def __init__(self, *commands: Any) -> None:
        Exception.__init__(self, *commands)


class NodeCancelledError(_AlsoLangGraphs, Exception):
    """A node cancelled itself although nobody had cancelled the run."""

    def __init__(self, node: str, message: str | None = None) -> None:
        self.node = node
        Exception.__init__(
            self, message or f"node {node!r} raised CancelledError although its run was not cancelled"
        )


class NodeTimeoutError(Exception):
    """An attempt of a node took longer than its :class:`TimeoutPolicy` allows.

    ``kind`` tells which limit was hit: ``"run"`` (the whole attempt) or ``"idle"`` (no progress).
    Times are in seconds.
    """

    def __init__(
        self,
        node: str,
        elapsed: float,
        *,
        kind: Literal["idle", "run"],
        idle_timeout: float | None = None,
        run_timeout: float | None = None,
    ) -> None:
        self.node = node
        self.elapsed = elapsed
        self.kind = kind
        self.idle_timeout = idle_timeout
        self.run_timeout = run_timeout
        self.timeout = idle_timeout if kind == "idle" else run_timeout
        limit = f"idle for more than {idle_timeout}" if kind == "idle" else f"longer than {run_timeout}"
        super().__init__(
            f"node {node!r} was {limit} s (elapsed: {elapsed:.3f} s); raise its TimeoutPolicy or speed it up"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_timeout_error, (self.node, self.elapsed, self.kind, self.idle_timeout, self.run_timeout))


def _timeout_error(
    node: str, elapsed: float, kind: Literal["idle", "run"], idle: float | None, run: float | None
) -> NodeTimeoutError:
    return NodeTimeoutError(node, elapsed, kind=kind, idle_timeout=idle, run_timeout=run)


@dataclass(frozen=True, slots=True)
class NodeError:
    """What an ``error_handler`` is given: the node that failed, and how.

    ``node`` is its name, ``error`` what it raised.
    """

    node: str
    error: BaseException


class UnknownInterruptError(_AlsoLangGraphs, Exception):
    """A strict resume named an interrupt that nobody waits on."""

    def __init__(
        self,
        message: str,
        *,
        reason: Literal["not_pending", "empty_map", "ambiguous"],
        interrupt_ids: Sequence[str] = (),
        pending_ids: Sequence[str] = (),
    ) -> None:
        Exception.__init__(self, message)
        self.reason = reason
        self.interrupt_ids = tuple(interrupt_ids)
        self.pending_ids = tuple(pending_ids)
