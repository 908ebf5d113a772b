"""What is called in place of a node: each attempt, and the node's own code alone, runs below it.

It stands for the task's ``proc``, which LangGraph calls once for every attempt. The context of the attempt
is current in there, and only there: in a copy of the context variables where the call is synchronous, else
set and reset around every stretch of code in which nobody else's can run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import Context, Token, copy_context
from typing import Any

from opentelemetry.context import Context as Values
from opentelemetry.context import attach, detach, get_current

from otel_stream.adapters.langgraph.guard import guarded
from otel_stream.adapters.langgraph.task import CURRENT, NodeTask
from otel_stream.adapters.langgraph.tries import attempt_ended, attempt_started


class Attempts:
    """Calls ``proc`` on behalf of ``task``."""

    __slots__ = ("_count", "_proc", "_task")

    def __init__(self, proc: Any, task: NodeTask) -> None:
        self._proc = proc
        self._task = task
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proc, name)

    def invoke(self, input: Any, config: Any = None, **options: Any) -> Any:
        """Call the node."""
        context, number = self._begin()
        try:
            answer = context.run(self._proc.invoke, input, config, **options)
        except BaseException as error:
            guarded(attempt_ended, self._task.tap, self._task, number, error)
            raise
        guarded(attempt_ended, self._task.tap, self._task, number, None, answer)
        return answer

    async def ainvoke(self, input: Any, config: Any = None, **options: Any) -> Any:
        """Call the node and wait for it."""
        context, number = self._begin()
        here = _enter(self._task, context.run(get_current))
        try:
            answer = await self._proc.ainvoke(input, config, **options)
        except BaseException as error:
            _leave(here, error)
            guarded(attempt_ended, self._task.tap, self._task, number, error)
            raise
        _leave(here, None)
        guarded(attempt_ended, self._task.tap, self._task, number, None, answer)
        return answer

    async def astream(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        """Call the node and pass on what it yields. Whoever drives this has their own context in between."""
        context, number = self._begin()
        values = context.run(get_current)
        parts = self._proc.astream(input, config, **options)
        try:
            while True:
                here = _enter(self._task, values)
                try:
                    part = await anext(parts)
                except BaseException as error:
                    _leave(here, error)
                    raise
                _leave(here, None)
                yield part
        except StopAsyncIteration:
            guarded(attempt_ended, self._task.tap, self._task, number, None)
        except BaseException as error:
            guarded(attempt_ended, self._task.tap, self._task, number, error)
            raise
        finally:
            await parts.aclose()

    def _begin(self) -> tuple[Context, int]:
        """Return the context variables of the attempt that begins, and its number."""
        self._count += 1
        context = copy_context()
        context.run(CURRENT.set, self._task)
        guarded(attempt_started, self._task.tap, self._task, self._count, context)
        return context, self._count


def _enter(task: NodeTask, values: Values) -> tuple[Token[NodeTask | None], Token[Values]]:
    return CURRENT.set(task), attach(values)


def _leave(here: tuple[Token[NodeTask | None], Token[Values]], error: BaseException | None) -> None:
    """Go back to the context that was current before; a coroutine that is given up may end anywhere."""
    if not isinstance(error, GeneratorExit):
        detach(here[1])
        CURRENT.reset(here[0])
