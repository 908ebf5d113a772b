"""What user code can ask for while it runs in a node: its config, store, stream writer and runtime."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, cast

from typing_extensions import TypeVar

from otel_stream.events import CustomWritten, MessageWritten
from otel_stream.stream.wakeup import in_event_loop, stop_asked

from .graph.node import OUTSIDE
from .task_config import speaking_task, task_config, task_metadata
from .types import Config, StreamWriter

if TYPE_CHECKING:
    from .core.task import NodeTask

ContextT = TypeVar("ContextT", default=None)

#: A task and its metadata, as ``emit_message`` shows them; set in the context of the task's attempt.
_ABOUT: ContextVar[tuple[NodeTask, dict[str, Any]] | None] = ContextVar("engine_about", default=None)


def _nothing() -> None:
    """Stand in for a heartbeat outside of a node."""


class _NoWriter:
    """Stands in for a stream writer outside of a node."""

    def __call__(self, data: Any, /) -> None:
        pass

    async def write(self, data: Any, /) -> None:
        pass

    def write_blocking(self, data: Any, /) -> None:
        pass


_NO_WRITER = _NoWriter()


class RunControl:
    """Lets a run be asked, from any thread, to stop at the next superstep boundary."""

    __slots__ = ("_reason",)

    def __init__(self) -> None:
        self._reason: str | None = None

    def request_drain(self, reason: str = "shutdown") -> None:
        """Stop before the next superstep: the run raises ``GraphDrained`` and can be resumed."""
        self._reason = reason

    @property
    def drain_requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._reason is not None

    @property
    def drain_reason(self) -> str | None:
        """What the stop was asked for with."""
        return self._reason


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """Where and how often the current task runs. ``node_first_attempt_time``: seconds since the epoch.

    ``checkpoint_id`` and ``checkpoint_ns`` say where it runs, ``task_id``, ``thread_id`` and ``run_id`` on
    whose behalf; ``node_attempt`` counts from 1.
    """

    checkpoint_id: str
    checkpoint_ns: str
    task_id: str
    thread_id: str | None = None
    run_id: str | None = None
    node_attempt: int = 1
    node_first_attempt_time: float | None = None

    def patch(self, **changes: Any) -> ExecutionInfo:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says about the run it serves, by way of ``configurable``.

    ``user`` is whoever it has authenticated: any object with an ``identity``.

    ``assistant_id`` and ``graph_id`` are the server's names; ``user`` is who asked.
    """

    assistant_id: str
    graph_id: str
    user: Any = None

    @classmethod
    def of(cls, configurable: Mapping[str, Any]) -> ServerInfo | None:
        """Read it from a run's ``configurable``; None if no server speaks there."""
        assistant, graph = configurable.get("assistant_id"), configurable.get("graph_id")
        user = configurable.get("langgraph_auth_user")
        user = user if hasattr(user, "identity") else None
        if assistant is None and graph is None and user is None:
            return None
        return cls(str(assistant or ""), str(graph or ""), user)


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime(Generic[ContextT]):
    """What a run offers its nodes; declare a parameter ``runtime: Runtime[Context]`` to get it.

    ``context`` is the run's, ``store`` the graph's; ``stream_writer`` writes to *custom*; ``heartbeat``
    shows that a node is alive; ``previous`` is what an entrypoint remembered; ``execution_info`` and
    ``server_info`` say where it runs; ``control`` asks the run to stop.
    """

    context: ContextT = field(default=None)  # type: ignore[assignment]
    store: Any = None
    stream_writer: StreamWriter = _NO_WRITER
    #: Tells an idle timeout that the node is alive.
    heartbeat: Callable[[], None] = _nothing
    #: What the previous run of an ``entrypoint`` on this thread returned or saved.
    previous: Any = None
    execution_info: ExecutionInfo | None = None
    server_info: ServerInfo | None = None
    control: RunControl | None = None

    def override(self, **changes: Any) -> Runtime[ContextT]:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def merge(self, other: Runtime[ContextT]) -> Runtime[ContextT]:
        """Return a copy in which whatever ``other`` sets wins."""
        changes = {
            name: getattr(other, name)
            for name in ("context", "store", "previous", "execution_info", "server_info", "control")
            if getattr(other, name) is not None
        }
        for name, nothing in (("stream_writer", _NO_WRITER), ("heartbeat", _nothing)):
            if getattr(other, name) is not nothing:
                changes[name] = getattr(other, name)
        return replace(self, **changes)

    def patch_execution_info(self, **changes: Any) -> Runtime[ContextT]:
        """Return a copy with some fields of ``execution_info`` changed.

        Raises:
            RuntimeError: there is none, as outside of a run.
        """
        if self.execution_info is None:
            raise RuntimeError("Cannot patch execution_info before it has been set: only runs set it")
        return replace(self, execution_info=self.execution_info.patch(**changes))

    @property
    def drain_reason(self) -> str | None:
        """What the run was asked to stop with."""
        return self.control.drain_reason if self.control is not None else None

    @property
    def drain_requested(self) -> bool:
        """Whether the run was asked to stop."""
        return self.control is not None and self.control.drain_requested

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for this code any more: a sync node should look now and then, and return."""
        return stop_asked()


#: What code outside of any run can hold on to.
DEFAULT_RUNTIME: Runtime[Any] = Runtime()


def show_life(task: NodeTask) -> None:
    """Take a write for a sign of life, if the task's policy does."""
    if task.progress is not None and task.timeout is not None and task.timeout.refresh_on == "auto":
        task.progress()


def task_writer(task: NodeTask) -> StreamWriter:
    """Return the stream writer of one task: call it with anything, or await ``write`` to feel backpressure.

    A function with attributes, since calling an object takes five times as long, and nodes call it a lot.
    It writes to the *custom* stream, never waits, and may be called from any thread.
    """
    env, bit, now = task.env, CustomWritten.bit, time.time_ns

    def writer(data: Any) -> None:
        if task.progress is not None:
            show_life(task)
        observer = env.observer
        if observer is not None and observer.interest & bit:
            observer.emit(CustomWritten(task, data, now()))

    own: Any = writer
    # Not closures that know `writer`: it would be garbage in a circle then, with its task.
    own.write, own.write_blocking = partial(_write, task), partial(_write_blocking, task)
    return cast("StreamWriter", writer)


async def _write(task: NodeTask, data: Any) -> None:
    """Write ``data``, then wait until every ``block`` receiver has room again."""
    show_life(task)
    observer = task.env.observer
    if observer is not None:
        if observer.interest & CustomWritten.bit:
            observer.emit(CustomWritten(task, data, time.time_ns()))
        await observer.drain()


def _write_blocking(task: NodeTask, data: Any) -> None:
    """Do what :func:`_write` does from a sync node: it is the node's thread that waits.

    Raises:
        RuntimeError: called on an event loop's thread, which would wait for itself.
        CancelledError: nobody waits for the node any more.
    """
    if in_event_loop():
        raise RuntimeError(
            "write_blocking would block the event loop: await writer.write(...), or use a sync node"
        )
    with suppress(StopIteration):
        _write(task, data).send(None)
    if stop_asked():
        raise CancelledError("the run of this node has ended")


def current_task() -> NodeTask:
    """Return the task whose node is running.

    Raises:
        RuntimeError: called outside of a node.
    """
    task = speaking_task()
    if task is None:
        raise RuntimeError("Called get_config outside of a runnable context: this only works inside a node")
    return task


def get_config() -> Config:
    """Return the RunnableConfig of the node that is running."""
    return task_config(current_task())


def get_stream_writer() -> StreamWriter:
    """Return the function that writes to the *custom* stream on behalf of the running node."""
    return task_writer(current_task())


def get_store() -> Any:
    """Return the store the graph was compiled with."""
    return current_task().env.store


def get_runtime(context_schema: Any = None) -> Runtime[Any]:  # noqa: ARG001 - it tells type checkers
    """Return the runtime of the node that is running."""
    return make_runtime(current_task())


def make_runtime(task: NodeTask) -> Runtime[Any]:
    """Build the runtime a task's node is given."""
    env = task.env

    def heartbeat() -> None:
        if task.progress is not None:
            task.progress()

    return Runtime(
        context=env.context,
        store=env.store,
        stream_writer=task_writer(task),
        heartbeat=heartbeat,
        previous=env.continuation.previous,
        execution_info=ExecutionInfo(
            checkpoint_id=env.state.checkpoint_id,
            checkpoint_ns=task.ns,
            task_id=task.id,
            thread_id=task.run.thread_id,
            run_id=task.run.root.id,
            node_attempt=task.attempt,
            node_first_attempt_time=task.first_attempt_at,
        ),
        server_info=ServerInfo.of(env.config.get("configurable") or {}),
        control=env.control,
    )


def _outside(of: Callable[[NodeTask], Any], otherwise: Any) -> Callable[[Mapping[str, Any] | None], Any]:
    """Return what fills in a parameter of a node that is called by itself, in a task or not."""

    def filled(config: Mapping[str, Any] | None) -> Any:
        task = speaking_task(config)
        return otherwise if task is None else of(task)

    return filled


OUTSIDE.update(
    config=lambda config: {} if config is None else dict(config),
    writer=_outside(task_writer, _NO_WRITER),
    store=_outside(lambda task: task.env.store, None),
    previous=_outside(lambda task: task.env.continuation.previous, None),
    runtime=_outside(make_runtime, DEFAULT_RUNTIME),
    error=_outside(lambda task: task.failure, None),
)


def emit_message(chunk: Any, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a message, or a chunk of one, to the *messages* stream on behalf of the running node.

    For clients that are not LangChain chat models: give chunks of one message the same ``id``. ``metadata``
    is added to what says where the message comes from.

    Raises:
        RuntimeError: called outside of a node.
    """
    task = current_task()
    observer = task.env.observer
    show_life(task)
    if observer is not None and observer.interest & MessageWritten.bit:
        name = chunk.get("id") if isinstance(chunk, dict) else getattr(chunk, "id", None)
        if task.env.langchain is not None and isinstance(name, str):
            task.env.langchain.shown(task, name)  # so that it isn't shown again when the node returns it
        about = _about(task)
        if metadata:
            about = {**about, **metadata}
        observer.emit(MessageWritten(task, chunk, about, time.time_ns()))


def _about(task: NodeTask) -> dict[str, Any]:
    """Return the metadata of ``task``: one mapping for all chunks that it writes itself."""
    known = _ABOUT.get()
    if known is None or known[0] is not task:
        known = task, task_metadata(task)
        _ABOUT.set(known)
    return known[1]
