"""What is called in place of a node: each attempt, and the node's own code alone, runs below it.

It stands for the task's ``proc``, which LangGraph calls once for every attempt. The context of the attempt is
set and reset around every stretch of code in which nobody else's can run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import Token
from typing import Any, TypeAlias

from opentelemetry.context import Context as Values
from opentelemetry.context import attach, detach

from otel_stream.adapters.langgraph.guard import guarded
from otel_stream.adapters.langgraph.task import CURRENT, NodeTask
from otel_stream.adapters.langgraph.tries import attempt_ended, attempt_started

#: How to get back to where an attempt was entered.
_Here: TypeAlias = tuple[Token[NodeTask | None], Token[Values] | None]


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
        number = self._begin()
        here = _enter(self._task)
        try:
            answer = self._proc.invoke(input, config, **options)
        except BaseException as error:
            _leave(here)
            self._end(number, error)
            raise
        _leave(here)
        self._end(number, None, answer)
        return answer

    async def ainvoke(self, input: Any, config: Any = None, **options: Any) -> Any:
        """Call the node and wait for it."""
        number = self._begin()
        here = _enter(self._task)
        try:
            answer = await self._proc.ainvoke(input, config, **options)
        except BaseException as error:
            _leave(here)
            self._end(number, error)
            raise
        _leave(here)
        self._end(number, None, answer)
        return answer

    async def astream(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        """Call the node and pass on what it yields. Whoever drives this has their own context in between."""
        number = self._begin()
        parts = self._proc.astream(input, config, **options)
        try:
            while True:
                here = _enter(self._task)
                try:
                    part = await anext(parts)
                except BaseException:
                    _leave(here)
                    raise
                _leave(here)
                yield part
        except StopAsyncIteration:
            self._end(number, None)
        except BaseException as error:
            self._end(number, error)
            raise
        finally:
            await parts.aclose()

    def _begin(self) -> int:
        """Tell of the attempt that begins, and return its number; 0 where nobody is to be told of it."""
        task = self._task
        if task.tap.brief and not task.retryable:
            task.values = task.tap.values
            return 0
        self._count += 1
        guarded(attempt_started, task.tap, task, self._count)
        return self._count

    def _end(self, number: int, error: BaseException | None, answer: Any = None) -> None:
        if number:
            guarded(attempt_ended, self._task.tap, self._task, number, error, answer)
        else:
            self._task.left_by = error


def _enter(task: NodeTask) -> _Here:
    return CURRENT.set(task), None if task.values is None else attach(task.values)


def _leave(here: _Here) -> None:
    """Go back to the context that was current before, unless it was given up and ends elsewhere."""
    try:
        CURRENT.reset(here[0])
    except ValueError:
        return
    if here[1] is not None:
        detach(here[1])
