"""The loops of LangGraph with a tap: subclasses that do what they did, and tell.

Every method here is one of LangGraph's private ones; ``names.py`` looks whether they are there. Whatever is
ours in them is guarded: an observer never breaks a run.
"""

from __future__ import annotations

import functools
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

from langgraph.errors import GraphInterrupt, ParentCommand

from otel_stream import events
from otel_stream.adapters.langgraph import messages, writer
from otel_stream.adapters.langgraph.audience import audience, claimed
from otel_stream.adapters.langgraph.guard import guarded
from otel_stream.adapters.langgraph.others import hide_nodes
from otel_stream.adapters.langgraph.resuming import sign
from otel_stream.adapters.langgraph.tap import Tap
from otel_stream.adapters.langgraph.task import calling_task
from otel_stream.adapters.langgraph.words import INTERRUPT
from otel_stream.events import End
from otel_stream.stream.guard import say
from otel_stream.telemetry.options import OptionError
from otel_stream.trouble import placed

logger = logging.getLogger("otel_stream.adapters.langgraph")

if TYPE_CHECKING:

    class _Loop:
        """What the hooks build on: LangGraph's ``PregelLoop``."""

        tasks: Any
        status: str
        checkpointer: Any

        def __init__(self, *args: Any, **options: Any) -> None: ...
        def _first(self, *args: Any, **options: Any) -> Any: ...
        def _emit(self, mode: str, values: Any, *args: Any, **options: Any) -> None: ...
        def _suppress_interrupt(self, *args: Any) -> Any: ...
        def tick(self) -> bool: ...
        def after_tick(self) -> None: ...
        def output_writes(self, *args: Any, **options: Any) -> None: ...
        def accept_push(self, *args: Any, **options: Any) -> Any: ...
        async def aaccept_push(self, *args: Any, **options: Any) -> Any: ...
        def schedule_error_handler(self, *args: Any, **options: Any) -> Any: ...
        async def aschedule_error_handler(self, *args: Any, **options: Any) -> Any: ...
        def match_cached_writes(self) -> Any: ...
        async def amatch_cached_writes(self) -> Any: ...
        def _checkpointer_put_after_previous(self, *args: Any) -> Any: ...
        def __enter__(self) -> Self: ...
        def __exit__(self, *error: object) -> Any: ...
        async def __aenter__(self) -> Self: ...
        async def __aexit__(self, *error: object) -> Any: ...

    class _AsyncLoop(_Loop):
        async def _checkpointer_put_after_previous(self, *args: Any) -> Any: ...

else:
    _Loop = _AsyncLoop = object


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, OptionError) else placed(error)


class Hooks(_Loop):
    """What both kinds of loop have in common. Without an audience LangGraph's own loop is made."""

    original: ClassVar[Any] = None
    is_async: ClassVar[bool] = False
    #: The same without what only parts and links are made of.
    brief: ClassVar[Any] = None
    otel_stream_tap: Tap
    otel_stream_audience: Any

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Make a loop, with a tap if anybody wants to know."""
        try:
            called_by = None if claimed() else calling_task(options["config"])
            watching = audience() if called_by is None else called_by.tap.audience
        except Exception as error:  # noqa: BLE001 - LangGraph's run goes on without us
            say(logger, logging.ERROR, "A run of LangGraph's is not observed: %s", _told(error))
            watching = called_by = None
        if watching is None:
            return cls.original(*args, **options)
        loop = object.__new__(cls)
        loop.otel_stream_audience = watching, called_by
        return loop

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        watching, called_by = self.__dict__.pop("otel_stream_audience")
        graph = getattr(options.get("migrate_checkpoint"), "__self__", None)
        try:
            self.otel_stream_tap = tap = Tap(watching, self, graph, called_by)
        except Exception as error:  # noqa: BLE001 - LangGraph's run goes on without us
            say(logger, logging.ERROR, "A run of LangGraph's is not observed: %s", _told(error))
            self.__class__ = self.original  # without the hooks
            return
        guarded(writer.listen, self, tap)
        guarded(hide_nodes, self)

    def _first(self, *args: Any, **options: Any) -> Any:
        guarded(self.otel_stream_tap.starts, self)
        guarded(messages.listen, self, self.otel_stream_tap)  # now that it is known who wants what
        if self.otel_stream_tap.brief:
            self.__class__ = self.brief
        return super()._first(*args, **options)

    def tick(self) -> bool:
        more = super().tick()
        if more:
            guarded(self.otel_stream_tap.superstep_starts, self)
            for task in self.tasks.values():
                if task.writes:
                    guarded(self.otel_stream_tap.task_wrote, self, task.id, task.writes, cached=True)
        return more

    def after_tick(self) -> None:
        guarded(self.otel_stream_tap.writes_are_in, self)
        try:
            super().after_tick()
        except GraphInterrupt:  # a breakpoint behind the superstep, which is complete
            guarded(self.otel_stream_tap.superstep_ends, self)
            raise
        if self.otel_stream_tap.closing:  # it was not told with the state
            guarded(self.otel_stream_tap.superstep_ends, self)

    def output_writes(self, task_id: str, writes: Any, *args: Any, **options: Any) -> None:
        super().output_writes(task_id, writes, *args, **options)
        cached = bool(args and args[0]) or options.get("cached", False)
        guarded(self.otel_stream_tap.task_wrote, self, task_id, writes, cached=cached)

    def _suppress_interrupt(self, *error: object) -> Any:
        tap = self.otel_stream_tap
        if isinstance(error[1], GraphInterrupt):
            guarded(tap.breaks, End.INTERRUPTED)
        answer = super()._suppress_interrupt(*error)
        waits = self.status == "draining" or isinstance(error[1], GraphInterrupt)
        if waits or self.status == "out_of_steps" or not isinstance(error[1], ParentCommand | None):
            guarded(sign, self, tap.run, waits=waits, is_async=self.is_async)
        return answer


def _drain_here(tap: Tap) -> None:
    """Wait in this thread until receivers have room, unless it has an event loop to run."""
    if tap.takes_a_break():
        waiting = tap.observer.drain()
        try:
            waiting.send(None)  # where there is no event loop, a wait blocks and is over by then
        except StopIteration:
            return
        waiting.close()


def _raised(error: tuple[object, ...]) -> BaseException | None:
    """Return what was raised, of the arguments of ``__exit__``."""
    raised = error[1]
    return raised if isinstance(raised, BaseException) else None


#: Modes in which LangGraph shows what we are to tell.
_WANTED = {"values": events.ValuesChanged.bit, "checkpoints": events.CheckpointSaved.bit}


def _show(loop: Any, mode: str, shown: Any) -> None:
    tap: Tap = loop.otel_stream_tap
    if mode == "checkpoints":
        tap.checkpoint_saved(loop, shown)
    elif not (isinstance(shown, dict) and INTERRUPT in shown):  # that is told with the task that waits
        tap.values_changed(loop, shown)


class Shown(_Loop):
    """What a loop tells besides, where parts or links are made of what it does."""

    otel_stream_tap: Tap

    def _emit(self, mode: str, values: Any, *args: Any, **options: Any) -> None:
        wanted = _WANTED.get(mode)
        if wanted is None:
            return super()._emit(mode, values, *args, **options)
        tap = self.otel_stream_tap
        if tap.closing and mode == "values":
            guarded(tap.superstep_ends, self)  # by the time its state is shown
        if not tap.observer.interest & wanted:
            return super()._emit(mode, values, *args, **options)
        made = list(values(*args, **options))
        for one in made:
            guarded(_show, self, mode, one)
        return super()._emit(mode, lambda: iter(made))


class SyncShown(Shown):
    """The same of the loop of ``stream`` and ``invoke``."""

    def match_cached_writes(self) -> Any:
        # Called once between two supersteps, when nothing runs: the place to wait for receivers.
        guarded(_drain_here, self.otel_stream_tap)
        return super().match_cached_writes()


class AsyncShown(Shown):
    """The same of the loop of ``astream`` and ``ainvoke``."""

    async def amatch_cached_writes(self) -> Any:
        # As above.
        try:
            if self.otel_stream_tap.takes_a_break():
                await self.otel_stream_tap.observer.drain()
        except Exception as error:  # noqa: BLE001 - LangGraph's run goes on without us
            told = "A run of LangGraph's does not wait for its receivers: %s"
            say(logger, logging.ERROR, told, placed(error))
        return await super().amatch_cached_writes()


class SyncHooks(Hooks):
    """The loop of ``stream`` and ``invoke``."""

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException as error:
            guarded(self.otel_stream_tap.ends, self, error)
            raise

    def __exit__(self, *error: object) -> Any:
        try:
            answer = super().__exit__(*error)
        except BaseException as last:
            guarded(self.otel_stream_tap.ends, self, last)
            raise
        guarded(self.otel_stream_tap.ends, self, _raised(error))
        return answer

    def accept_push(self, *args: Any, **options: Any) -> Any:
        pushed = super().accept_push(*args, **options)
        guarded(self.otel_stream_tap.call_joins, self, pushed)
        return pushed

    def schedule_error_handler(self, failed_task: Any, *args: Any, **options: Any) -> Any:
        handler = super().schedule_error_handler(failed_task, *args, **options)
        guarded(self.otel_stream_tap.task_joins, self, handler, failed_task)
        return handler

    def _checkpointer_put_after_previous(self, *args: Any) -> Any:
        began = perf_counter()
        answer = super()._checkpointer_put_after_previous(*args)
        guarded(self.otel_stream_tap.checkpoint_written, args[-2].get("step"), perf_counter() - began)
        return answer


class AsyncHooks(Hooks, _AsyncLoop):
    """The loop of ``astream`` and ``ainvoke``."""

    is_async = True

    async def __aenter__(self) -> Self:
        try:
            return await super().__aenter__()
        except BaseException as error:
            guarded(self.otel_stream_tap.ends, self, error)
            raise

    async def __aexit__(self, *error: object) -> Any:
        try:
            answer = await super().__aexit__(*error)
        except BaseException as last:
            # One that is cancelled here may not have come to say where it leaves off.
            guarded(sign, self, self.otel_stream_tap.run, waits=False, is_async=True)
            guarded(self.otel_stream_tap.ends, self, last)
            raise
        guarded(self.otel_stream_tap.ends, self, _raised(error))
        return answer

    async def aaccept_push(self, *args: Any, **options: Any) -> Any:
        pushed = await super().aaccept_push(*args, **options)
        guarded(self.otel_stream_tap.call_joins, self, pushed)
        return pushed

    async def aschedule_error_handler(self, failed_task: Any, *args: Any, **options: Any) -> Any:
        handler = await super().aschedule_error_handler(failed_task, *args, **options)
        guarded(self.otel_stream_tap.task_joins, self, handler, failed_task)
        return handler

    async def _checkpointer_put_after_previous(self, *args: Any) -> Any:
        began = perf_counter()
        answer = await super()._checkpointer_put_after_previous(*args)
        guarded(self.otel_stream_tap.checkpoint_written, args[-2].get("step"), perf_counter() - began)
        return answer


@functools.cache
def tapped(original: type) -> type:
    """Return ``original``, one of LangGraph's two loops, with a tap."""
    hooks, shown = (AsyncHooks, AsyncShown) if hasattr(original, "__aenter__") else (SyncHooks, SyncShown)
    about = {"original": original, "__module__": __name__}
    brief = type(original.__name__, (hooks, original), about)
    return type(original.__name__, (hooks, shown, original), {**about, "brief": brief})
