"""Where *messages* and *tools* come from when a node calls LangChain: the seam to the adapter.

Nothing of LangChain is loaded unless somebody wants messages, or the program has loaded it already.

Each attempt runs in a context whose LangChain config is the task's, with a handler that speaks for this task
and no other, so a call is heard as the task that its config names, in whichever thread or context it is made.
The config is made when LangChain looks into it: a node that makes no such call pays for setting a variable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, ContextVar
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from otel_stream.adapters.ambient import ambient_variable, maybe_traced, traced_by_environment, when_loaded
from otel_stream.adapters.chunks import Ask, Show, register
from otel_stream.adapters.projections import BY_EVENTS
from otel_stream.events import (
    CallStarted,
    Event,
    MessageReturned,
    MessageWritten,
    Observer,
    Task,
    ToolReported,
)

from ..core.task import Later, NodeTask, RunEnv
from ..runtime import show_life
from ..task_config import CURRENT_TASK, TaskConfig, speaking_task, task_metadata
from ..types import Config
from .langgraph_keys import Live, is_loaded, langgraph_keys

if TYPE_CHECKING:
    from otel_stream.adapters.chains import Chains

#: The tag that keeps a model's messages from being shown.
NOSTREAM: Final = "nostream"
#: Stands for the metadata of messages that a node returns, until one really is returned.
_RETURNED: Final[Mapping[str, Any]] = {"ls_integration": "langgraph"}
#: Types of values that are no message and hold none.
_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})


class LangChainHook:
    """Lets LangChain calls in nodes inherit the run's config, and report their messages to its observer."""

    def __init__(
        self,
        observer: Observer | None,
        variable: ContextVar[Any],
        outer: LangChainHook | None,
        *,
        nested: bool,
    ) -> None:
        self.observer = observer
        self._variable = variable
        #: Whether there is a run around this one: who watches that need not see what this one shows.
        self.nested = nested
        #: The hook of the run around this one, if that has another audience.
        self.around: LangChainHook | None = None
        if outer is not None and outer.observer is not observer:
            self.around, outer = outer, None
        #: Ids of messages that were shown; one set for the root run and its subgraphs.
        self.seen: set[str] = outer.seen if outer is not None else set()
        #: Those that only subgraphs have shown, so that who sees no subgraphs has not seen them.
        self.inside: set[str] = outer.inside if outer is not None else set()
        #: What goes with chunks of the call that was heard last: its task, its own metadata, all of it.
        self.told: tuple[NodeTask, Mapping[str, Any], dict[str, Any]] | None = None
        #: Who tells the user's callbacks of graph and nodes, if there are any.
        self._chains: Chains | None = None

    def begin(self, env: RunEnv, input: Any) -> Later:
        """Tell the callbacks of the run's config, and tracers that are on without one, that it starts."""
        given = env.config.get("callbacks")
        if not given and not maybe_traced():
            return None
        from otel_stream.adapters.chains import chains_of

        chains = self._chains = chains_of(env.config)
        if chains is None:
            return None
        if not given:
            env.config["callbacks"] = chains.callbacks  # for the runs inside it
        return chains.started(env.config.get("run_name") or env.run.graph, input)

    def resumed(self, env: RunEnv) -> Later:
        """Tell the callbacks that the run goes on from a checkpoint."""
        return None if self._chains is None else self._chains.resumed(env.state.checkpoint_id, env.run.path)

    def interrupted(self, env: RunEnv, status: str, interrupts: tuple[Any, ...]) -> Later:
        """Tell the callbacks that the run stops and waits."""
        if self._chains is None:
            return None
        return self._chains.interrupted(status, env.state.checkpoint_id, env.run.path, interrupts)

    def end(self, result: Any, error: BaseException | None) -> Later:
        """Tell the callbacks how the run ended."""
        return None if self._chains is None else self._chains.ended(result, error)

    def failed(self, task: NodeTask, error: BaseException) -> Later:
        """Tell the callbacks that a node raised."""
        return None if self._chains is None else self._chains.node_failed(task, error)

    @property
    def tells(self) -> bool:
        """Whether there are callbacks to be told of what runs."""
        return self._chains is not None

    @property
    def _wanted(self) -> bool:
        observer = self.observer
        return observer is not None and bool(observer.interest & MessageWritten.bit)

    def attempt(self, task: NodeTask, context: Context) -> Later:
        """Prepare for the LangChain calls of an attempt, which runs in ``context``."""
        context.run(self._variable.set, TaskConfig(task))
        if self.observer is not None and self._wanted and _may_hold_messages(task.input):
            known = _langchain().ids_in(task.input)
            if self.nested or self.inside:
                self._place(task, known)
            self.seen.update(known)
        if self._chains is None:
            return None
        return self._chains.node_started(task, task_metadata(task), task.spec.callback.original)

    def complete(self, task: NodeTask, config: Config) -> None:
        """Add to a task's config what LangChain's and LangGraph's functions look for in it."""
        own = [_calls().CallsHandler(partial(_where, task))] if _hears_calls(self.observer) else []
        if self._wanted:
            own.append(self._handler(task))
        if self.observer is not None and self.observer.interest & ToolReported.bit:
            own.append(_langchain().ToolsHandler(partial(_tell_of_tool, task)))
        inside = self._chains.callbacks_of(task) if self._chains is not None else None
        if inside is not None:
            config["callbacks"] = inside
        if own or config.get("callbacks") is not None:
            config["callbacks"] = _langchain().manager(own, config)
        if is_loaded():
            config.setdefault("callbacks", None)
            config["configurable"] = Live({**config["configurable"], **langgraph_keys(task)})

    def _handler(self, task: NodeTask) -> Any:
        emit, again = partial(_emit, task), partial(_emit_again, task)
        kind = _langchain().EventsHandler if self._tells_events(task) else _langchain().MessagesHandler
        return kind(emit, _RETURNED, self.seen, self.inside, again, partial(_emit_of_call, task))

    def _tells_events(self, task: NodeTask) -> bool:
        """Whether who watches asked for the events of LangGraph's protocol; an audience inside has not."""
        return self.around is None and BY_EVENTS in (task.env.config.get("configurable") or ())

    def answer(self, task: NodeTask, answer: Any) -> Later:
        """Report messages that the node returns and that nobody has seen."""
        if self.observer is not None and self._wanted and _may_hold_messages(answer):
            self._handler(task).node_output(task, answer)
        return None if self._chains is None else self._chains.node_ended(task, answer)

    def shown(self, task: Task, id: str) -> None:
        """Take note that ``task`` shows a message, so that it is not shown again when a node returns it."""
        if self.nested or self.inside or task.run.ns:
            self.places(task, id)
        self.seen.add(id)

    def places(self, task: Task, id: str) -> None:
        """Take note of where a message is shown, before it is in ``seen``."""
        self._place(task, (id,))
        if self.around is not None:
            self.around.shown_inside(id)

    def shown_inside(self, id: str) -> None:
        """Take note that a run with another audience shows a message."""
        if id not in self.seen:
            self.seen.add(id)
            self.inside.add(id)
            if self.around is not None:
                self.around.shown_inside(id)

    def _place(self, task: Task, ids: Sequence[str]) -> None:
        if task.run.ns:
            self.inside.update(id for id in ids if id not in self.seen)
        else:
            self.inside.difference_update(ids)


class NodeSpeaker:
    """The task that is running, as clients that are not LangChain's know it: who speaks through them."""

    __slots__ = ("_task",)

    def __init__(self, task: NodeTask) -> None:
        self._task = task

    def where(self) -> tuple[Callable[[Event], None], Task] | None:
        return _where(self._task)

    def asking(self, metadata: Mapping[str, Any]) -> Ask:
        task, observer, bit = self._task, self._task.env.observer, MessageWritten.bit
        if observer is None:
            return _nobody
        show: Show | None = None

        def ask() -> Show | None:
            nonlocal show
            # A stream may outlive its node, and what comes after the end of a task is nobody's any more.
            if not observer.interest & bit or task.end is not None:
                return None
            if show is None:
                show = _showing(task, observer, metadata)
            return show

        return ask


def _nobody() -> None:
    """Show nothing: nobody listens."""


def _showing(task: NodeTask, observer: Observer, metadata: Mapping[str, Any]) -> Show:
    """Return what shows the chunks of a client's stream; what goes with them is found out once."""
    about, emit, now = {**task_metadata(task), **metadata}, observer.emit, time.time_ns
    shown: str | None = None
    if NOSTREAM in (about.get("tags") or ()):
        return lambda _: show_life(task)

    def show(chunk: Any) -> None:
        nonlocal shown
        if task.progress is not None:
            show_life(task)
        if chunk.id != shown and task.env.langchain is not None:  # which may come later
            shown = chunk.id
            task.env.langchain.shown(task, chunk.id)
        emit(MessageWritten(task, chunk, about, now()))

    return show


def _where(task: NodeTask) -> tuple[Callable[[Event], None], Task] | None:
    """Return whom to tell of a call that ``task`` makes, None if nobody wants to know."""
    observer = task.env.observer
    return None if observer is None or not _hears_calls(observer) else (observer.emit, task)


def _hears_calls(observer: Observer | None) -> bool:
    return observer is not None and bool(observer.interest & CallStarted.bit)


def _speaker() -> NodeSpeaker | None:
    task = speaking_task()
    return None if task is None else NodeSpeaker(task)


register(_speaker)


def _may_hold_messages(value: Any) -> bool:
    """Rule out, at next to no cost, what most small states are: a mapping of plain values."""
    try:
        return type(value) is not dict or not _PLAIN.issuperset(map(type, value.values()))
    except TypeError:  # of a class that has no hash
        return True


def _hook(task: NodeTask) -> LangChainHook | None:
    return cast("LangChainHook | None", task.env.langchain)


def _emit(task: NodeTask, chunk: Any, metadata: Mapping[str, Any]) -> None:
    """Report a message on behalf of ``task``."""
    if task.env.observer is None:
        return
    show_life(task)
    hook = _hook(task)
    id = chunk.get("message_id") if isinstance(chunk, dict) else chunk.id
    if id is not None and hook is not None and (hook.nested or hook.inside):
        hook.places(task, id)
    found = returned_metadata(task) if metadata is _RETURNED else _told_by_model(task, hook, metadata)
    task.env.observer.emit(MessageWritten(task, chunk, found, time.time_ns()))


def _emit_of_call(task: NodeTask, metadata: Mapping[str, Any]) -> Callable[[Any], None]:
    """Return what does so with the chunks of one call; what goes with them is found out once."""
    hook, observer = _hook(task), task.env.observer
    if observer is None:
        return _ignore
    emit, now, about = observer.emit, time.time_ns, _told_by_model(task, hook, metadata)
    placed: str | None = None

    def tell(chunk: Any) -> None:
        nonlocal placed
        if task.progress is not None:
            show_life(task)
        if hook is not None and chunk.id != placed:
            placed = id = chunk.id
            if hook.nested or hook.inside:
                hook.places(task, id)
        emit(MessageWritten(task, chunk, about, now()))

    return tell


def _ignore(_: Any) -> None:
    """Do nothing: nobody listens."""


def _told_by_model(task: NodeTask, hook: LangChainHook | None, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes with a chunk of a model's: of one call always the same, as LangGraph does it."""
    known = None if hook is None else hook.told
    if known is not None and known[0] is task and known[1] is metadata:
        return known[2]
    found = {**task_metadata(task), **metadata}
    if "tags" not in metadata:
        found.pop("tags", None)
    _in_subgraph(task, found)
    if hook is not None:
        hook.told = task, metadata, found
    return found


def _tell_of_tool(task: NodeTask, data: Mapping[str, Any]) -> None:
    """Report what a tool that ``task`` has called does."""
    show_life(task)
    if task.env.observer is not None:
        task.env.observer.emit(ToolReported(task, data, time.time_ns()))


def _emit_again(task: NodeTask, message: Any) -> None:
    """Report a message that a node returns to those who were not shown it: it came up in a subgraph."""
    hook = _hook(task)
    if task.run.ns or hook is None:
        return
    hook.inside.discard(message.id)
    observer = task.env.observer
    if observer is not None and observer.interest & MessageReturned.bit:
        observer.emit(MessageReturned(task, message, returned_metadata(task), time.time_ns()))


def returned_metadata(task: NodeTask) -> dict[str, Any]:
    """Return what goes with messages a node returns: no model's metadata, so less than a model's."""
    metadata = {**task_metadata(task), **_RETURNED}
    metadata.pop("tags", None)
    metadata.pop("checkpoint_ns", None)
    if "checkpoint_ns" in task.run.metadata:
        metadata["checkpoint_ns"] = task.run.metadata["checkpoint_ns"]
    _in_subgraph(task, metadata)
    return metadata


def _in_subgraph(task: NodeTask, metadata: dict[str, Any]) -> None:
    """Name the outermost subgraph's namespace, as LangGraph does however deep the task is."""
    outer = task.env.parent_task
    while outer is not None and outer.env.parent_task is not None:
        outer = outer.env.parent_task
    if outer is not None:
        metadata["checkpoint_ns"] = outer.ns


def langchain_hook(observer: Observer | None, parent: NodeTask | None) -> LangChainHook | None:
    """Return the hook, or None when LangChain is not there, or nobody has loaded it or needs it."""
    wanted = observer is not None and bool(observer.interest & (MessageWritten.bit | ToolReported.bit))
    if wanted or traced_by_environment():
        _langchain()  # which loads it
    variable = ambient_variable()
    if variable is None:
        return None
    outer = _hook(parent) if parent is not None else None
    return LangChainHook(observer, variable, outer, nested=parent is not None)


def _catch_up() -> None:
    """Let LangChain, which a node has just loaded, find the task there."""
    task, variable = CURRENT_TASK.get(), ambient_variable()
    if task is not None and variable is not None:
        _hook_late(task.env)
        variable.set(TaskConfig(task))


def _hook_late(env: RunEnv) -> None:
    if env.langchain is None:
        if env.around is not None:
            _hook_late(env.around)
        env.heard_by(langchain_hook(env.observer, env.parent_task))


when_loaded(_catch_up)


def _calls() -> ModuleType:
    from otel_stream.adapters import langchain_calls

    return langchain_calls


def _langchain() -> ModuleType:
    from otel_stream.adapters import langchain

    return langchain
