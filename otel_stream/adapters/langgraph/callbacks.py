"""What is left when LangGraph's loops are not what we know any more: runs and nodes, by public callbacks.

LangChain tells every handler of the chains that begin and end. A chain that bears its node's name is a
task, and the one around it is its graph's run. There are no supersteps, attempts, edges or checkpoints, no
parts but of ends, and what a node opens is not below the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context, ContextVar, copy_context
from time import time_ns
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from otel_stream import events
from otel_stream.adapters.langgraph.audience import audience
from otel_stream.adapters.langgraph.words import HIDDEN
from otel_stream.events import End, Observer, Run, Task


class _Chain(NamedTuple):
    """A chain that has begun, and may turn out to be a graph's run."""

    name: str
    input: Any
    parent: UUID | None
    context: Context
    metadata: Mapping[str, Any]
    time: int


class _Watched(NamedTuple):
    """A run or a task that goes on, and who is told of it."""

    origin: Run | Task
    observer: Observer


class Callbacks(BaseCallbackHandler):
    """Reports runs and tasks as far as LangChain tells of them."""

    run_inline = True
    # LangChain declares these as properties, and reads them as attributes.
    ignore_llm = ignore_chat_model = ignore_retriever = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    ignore_agent = ignore_custom_event = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self) -> None:
        super().__init__()
        #: Whether anything is to be reported.
        self.active = False
        self._chains: dict[UUID, _Chain] = {}
        self._watched: dict[UUID, _Watched] = {}

    @property
    def ignore_chain(self) -> bool:
        return not self.active

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        about = metadata or {}
        self._chains[run_id] = _Chain(
            name or "LangGraph", inputs, parent_run_id, copy_context(), about, time_ns()
        )
        if name != about.get("langgraph_node") or name is None or HIDDEN in (tags or ()):
            return
        around = self._run(parent_run_id)
        if around is not None and isinstance(around.origin, Run):
            self._task_starts(run_id, name, around.origin, around.observer)

    def _task_starts(self, id: UUID, name: str, run: Run, observer: Observer) -> None:
        chain = self._chains[id]
        task = Task(
            run,
            name,
            int(chain.metadata.get("langgraph_step", 0)),
            input=chain.input,
            triggers=tuple(chain.metadata.get("langgraph_triggers", ())),
            path=tuple(chain.metadata.get("langgraph_path", ())),
            id=str(chain.metadata.get("langgraph_checkpoint_ns", id)).rpartition(":")[2],
        )
        self._watched[id] = _Watched(task, observer)
        if observer.interest & events.TaskStarted.bit:
            observer.emit(events.TaskStarted(task, chain.time))

    def _run(self, id: UUID | None) -> _Watched | None:
        """Return the run that a chain is, now that a task turns up in it."""
        chain = None if id is None else self._chains.get(id)
        if id is None or chain is None:
            return None
        if id not in self._watched:
            outer = self._around(chain.parent)
            observer = outer.observer if outer is not None else _stream()
            if observer is None:
                return None
            self._watched[id] = _Watched(_run_of(id, chain, outer), observer)
            if observer.interest & events.RunStarted.bit:
                run: Any = self._watched[id].origin
                observer.emit(events.RunStarted(run, chain.input, False, chain.time))
        return self._watched[id]

    def _around(self, id: UUID | None) -> _Watched | None:
        """Return the task that a chain is in, however deep."""
        while id is not None:
            found = self._watched.get(id)
            if found is not None and isinstance(found.origin, Task):
                return found
            chain = self._chains.get(id)
            id = None if chain is None else chain.parent
        return None

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        self._ends(run_id, End.OK, outputs, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._ends(run_id, _END_OF.get(type(error).__name__, End.ERROR), None, error)

    def _ends(self, id: UUID, end: End, answer: Any, error: BaseException | None) -> None:
        self._chains.pop(id, None)
        watched = self._watched.pop(id, None)
        if watched is None:
            return
        origin, observer, now = watched.origin, watched.observer, time_ns()
        failure = error if end.failed else None
        if isinstance(origin, Run):
            if observer.interest & events.RunEnded.bit:
                observer.emit(events.RunEnded(origin, end, answer, failure, (), 0, now))
        elif observer.interest & events.TaskEnded.bit:
            result = answer if isinstance(answer, Mapping) else {}
            observer.emit(events.TaskEnded(origin, end, answer, result, failure, (), False, now))


_END_OF = {
    "GraphInterrupt": End.INTERRUPTED,
    "ParentCommand": End.OK,
    "GraphDrained": End.DRAINED,
    "GeneratorExit": End.ABANDONED,
    "CancelledError": End.CANCELLED,
    "NodeTimeoutError": End.TIMEOUT,
    "GraphRecursionError": End.RECURSION_LIMIT,
}


def _stream() -> Observer | None:
    watching = audience()
    return None if watching is None else watching.stream


def _run_of(id: UUID, chain: _Chain, outer: _Watched | None) -> Run:
    thread = chain.metadata.get("thread_id")
    return Run(
        str(id),
        chain.name,
        context=chain.context,
        parent=outer.origin if outer is not None and isinstance(outer.origin, Task) else None,
        ns=(*outer.origin.run.ns, f"{outer.origin.node}:{outer.origin.id}")
        if outer is not None and isinstance(outer.origin, Task)
        else (),
        thread_id=None if thread is None else str(thread),
    )


#: The one that LangChain puts into every config; it can't be taken out, only told to be silent.
CALLBACKS = Callbacks()
_VARIABLE: ContextVar[Any] = ContextVar("otel_stream_langgraph_callbacks", default=CALLBACKS)
register_configure_hook(_VARIABLE, inheritable=True)
