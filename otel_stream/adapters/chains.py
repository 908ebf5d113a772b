"""LangChain's callbacks, told of the graph and its nodes: tracers build their tree of it.

Sync handlers are told where it happens. Async ones are awaited in runs on asyncio: then a method returns what
is to be awaited. Where nothing can be awaited, in a thread, under trio, or when a run is cancelled, LangChain
runs them in an event loop of their own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.callbacks.manager import CallbackManagerForChainRun, ahandle_event, handle_event
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.base import BaseTracer
from langchain_core.utils.uuid import uuid7

from otel_stream.adapters.langchain import MessagesHandler
from otel_stream.adapters.lifecycle import GraphInterruptEvent, GraphResumeEvent, is_told

logger = logging.getLogger(__name__)

#: What is still to be awaited, if anything.
Later: TypeAlias = Awaitable[None] | None


def chains_of(config: Mapping[str, Any]) -> Chains | None:
    """Return who tells those of a run with ``config``; None if there is nobody to be told."""
    metadata = {**(config.get("metadata") or {})}
    thread_id = (config.get("configurable") or {}).get("thread_id")
    if thread_id is not None:
        metadata.setdefault("thread_id", thread_id)
    metadata.setdefault("ls_integration", "langgraph")
    manager = CallbackManager.configure(
        inheritable_callbacks=config.get("callbacks"),
        inheritable_tags=[*(config.get("tags") or ())],
        inheritable_metadata=metadata,
    )
    # What nodes say is heard where it is said; a handler of the node around would hear it once more.
    for told in (manager.handlers, manager.inheritable_handlers):
        told[:] = [handler for handler in told if not isinstance(handler, MessagesHandler)]
    return Chains(manager, _run_id(config)) if manager.handlers else None


class Chains:
    """One run of a graph, as a chain of chains."""

    def __init__(self, manager: CallbackManager, run_id: uuid.UUID) -> None:
        self._graph = _Chain(manager, run_id)
        self._nodes: dict[Any, _Chain] = {}

    @property
    def callbacks(self) -> CallbackManager:
        """The callbacks for what the graph calls."""
        return self._graph.run.get_child()

    def started(self, name: str, input: Any) -> Later:
        """Tell of the start of the run."""
        return self._graph.start(name, input)

    def ended(self, result: Any, error: BaseException | None) -> Later:
        """Tell of the end of the run."""
        return self._graph.end(result) if error is None else self._graph.fail(error)

    def interrupted(
        self, status: Any, checkpoint_id: str, ns: tuple[str, ...], interrupts: tuple[Any, ...]
    ) -> Later:
        """Tell handlers of the lifecycle that the run stops and waits."""
        event = GraphInterruptEvent(self._graph.run.run_id, status, checkpoint_id, ns, interrupts)
        return _tell(self._of_the_lifecycle, "on_interrupt", None, event)

    def resumed(self, checkpoint_id: str, ns: tuple[str, ...]) -> Later:
        """Tell handlers of the lifecycle that the run goes on from a checkpoint."""
        event = GraphResumeEvent(self._graph.run.run_id, "pending", checkpoint_id, ns)
        return _tell(self._of_the_lifecycle, "on_resume", None, event)

    @property
    def _of_the_lifecycle(self) -> list[BaseCallbackHandler]:
        return [handler for handler in self._graph.run.handlers if is_told(handler)]

    def node_started(self, task: Any, metadata: Mapping[str, Any], function: Callable[..., Any]) -> Later:
        """Tell of an attempt of a node, or of the call of a functional task, which calls ``function``."""
        caller = self._nodes.get(task.caller)
        if caller is None:
            manager, input = self._graph.run.get_child(f"graph:step:{task.step}"), task.input
        else:
            manager, input = caller.run.get_child("seq:step:1"), _arguments(function, *task.input)
        manager.add_metadata({**metadata})
        node = self._nodes[task] = _Chain(manager, uuid7(), task.spec.trace)
        return node.start(task.node, input)

    def callbacks_of(self, task: Any) -> Any:
        """Return the callbacks for what a node calls; None if it does not run."""
        node = self._nodes.get(task)
        return None if node is None else node.run.get_child()

    def node_ended(self, task: Any, answer: Any) -> Later:
        """Tell of a node's answer."""
        node = self._nodes.pop(task, None)
        if node is None:
            return None
        for handler in node.run.handlers:
            if isinstance(handler, _StreamingCallbackHandler):
                for _ in handler.tap_output_iter(node.run.run_id, iter([answer])):
                    pass
        return node.end(answer)

    def node_failed(self, task: Any, error: BaseException) -> Later:
        """Tell of a node that raised, an interrupt included."""
        node = self._nodes.pop(task, None)
        return None if node is None else node.fail(error)


class _Chain:
    """What handlers take for a chain; tracers are shown of it what its ``TracePolicy`` lets through."""

    def __init__(self, manager: CallbackManager, run_id: uuid.UUID, policy: Any = None) -> None:
        self._policy = policy
        self.run = CallbackManagerForChainRun(
            run_id=run_id,
            handlers=manager.handlers,
            inheritable_handlers=manager.inheritable_handlers,
            parent_run_id=manager.parent_run_id,
            tags=manager.tags,
            inheritable_tags=manager.inheritable_tags,
            metadata=manager.metadata,
            inheritable_metadata=manager.inheritable_metadata,
        )

    def start(self, name: str, input: Any) -> Later:
        return _both(
            self._tell(handlers, "on_chain_start", None, value, metadata=self.run.metadata, name=name)
            for handlers, value in self._shown(input, "process_inputs")
        )

    def end(self, output: Any) -> Later:
        return _both(
            self._tell(handlers, "on_chain_end", value)
            for handlers, value in self._shown(output, "process_outputs")
        )

    def fail(self, error: BaseException) -> Later:
        return self._tell(self.run.handlers, "on_chain_error", error, wait=isinstance(error, Exception))

    def _shown(self, value: Any, of: str) -> list[tuple[list[BaseCallbackHandler], Any]]:
        """Return who is told what: tracers only what the policy lets through."""
        handlers, process = self.run.handlers, getattr(self._policy, of, None)
        if process is None:
            return [(handlers, value)]
        tracers = [handler for handler in handlers if _only_traces(handler)]
        others = [handler for handler in handlers if not _only_traces(handler)]
        return [(others, value), (tracers, _processed(process, value))]

    def _tell(
        self,
        handlers: Sequence[BaseCallbackHandler],
        event: str,
        *what: Any,
        wait: bool = True,
        **more: Any,
    ) -> Later:
        run = self.run
        about = {"run_id": run.run_id, "parent_run_id": run.parent_run_id, "tags": run.tags, **more}
        return _tell(handlers, event, "ignore_chain", *what, wait=wait, **about)


def _only_traces(handler: BaseCallbackHandler) -> bool:
    """Whether a handler records; some tracers are what feeds the caller's stream."""
    return isinstance(handler, BaseTracer) and not isinstance(handler, _StreamingCallbackHandler)


def _processed(process: Callable[[Any], Any], value: Any) -> Any:
    """Return what a policy makes of a value; if it fails nothing, since that may be what is to be hidden."""
    try:
        return process(value)
    except Exception:
        logger.warning("a TracePolicy failed, so tracers are shown nothing in its place", exc_info=True)
        return {}


def _both(told: Iterable[Later]) -> Later:
    """Return what awaits all that is still to be awaited."""
    rest = [later for later in told if later is not None]
    if len(rest) < 2:
        return rest[0] if rest else None

    async def one_after_the_other() -> None:
        for later in rest:
            await later

    return one_after_the_other()


def _tell(
    handlers: Sequence[BaseCallbackHandler],
    event: str,
    unless: str | None,
    *what: Any,
    wait: bool = True,
    **about: Any,
) -> Later:
    """Tell ``handlers`` of ``event``; return what awaits those that are async, if that can be awaited."""
    later: list[BaseCallbackHandler] = []
    if wait and _on_asyncio():
        later = [one for one in handlers if inspect.iscoroutinefunction(getattr(one, event, None))]
    at_once = [one for one in handlers if not any(one is other for other in later)]
    handle_event(at_once, event, unless, *what, **about)
    return ahandle_event(later, event, unless, *what, **about) if later else None


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what a call gives its function, by the names of its parameters."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind_partial(*args, **kwargs)
    except (TypeError, ValueError):  # no such call, as its failure is going to say
        return args, kwargs
    bound.apply_defaults()
    rest = [one.name for one in signature.parameters.values() if one.kind is one.VAR_KEYWORD]
    given = {name: value for name, value in bound.arguments.items() if name not in ("self", "cls", *rest)}
    return given | {key: value for name in rest for key, value in bound.arguments[name].items()}


def _run_id(config: Mapping[str, Any]) -> uuid.UUID:
    given = config.get("run_id")
    try:
        return given if isinstance(given, uuid.UUID) else uuid.UUID(str(given))
    except ValueError:
        return uuid7()
