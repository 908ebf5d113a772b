"""What belongs to the graph's process and is used by a node elsewhere: checkpointer, store, what a run keeps.

Each use is a question that goes with what the node says, and is answered with what is asked of it next.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from itertools import count
from typing import Any, Final

from otel_stream.stream.wakeup import Waiter, in_event_loop, stop_asked, waiter

from ...checkpoint.base import BaseCheckpointSaver
from ...run.checkpointing import Kept
from ...store.base import BaseStore, Op
from ...types import MISSING
from .outlet import Outlet

#: What may be used, by name: who is asked for anything else refuses.
LENT: Final = {
    "saver": frozenset({"get_tuple", "list", "put", "put_writes"}),
    "store": frozenset({"batch"}),
    "memory": frozenset({"keep"}),
}


class Questions:
    """Those of one task that wait for their answers."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._numbers = count()
        self._waiting: dict[int, Waiter] = {}
        self._answers: dict[int, tuple[bool, Any]] = {}

    async def ask(self, whom: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Have a method called there, and return or raise what it does."""
        number, news = next(self._numbers), waiter()
        self._waiting[number] = news
        self._outlet.say(("ask", number, whom, method, args, kwargs))
        await news.wait()
        return self._answer(number)

    def ask_here(self, whom: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Do the same from a thread.

        Raises:
            RuntimeError: called on an event loop's thread, which the answer comes to.
        """
        if in_event_loop():
            raise RuntimeError(
                f"{whom}.{method} would block the event loop that its answer comes to: await its async form"
            )
        asked = self.ask(whom, method, *args, **kwargs)
        try:
            asked.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("a thread's waiter does not suspend")

    def take(self, answers: Iterable[tuple[int, bool, Any]]) -> None:
        """Hand out answers to those who wait for them."""
        for number, well, value in answers:
            self._answers[number] = well, value
            self._waiting[number].wake()

    def _answer(self, number: int) -> Any:
        del self._waiting[number]
        if number not in self._answers and stop_asked():
            raise CancelledError("the run of this node has ended")
        well, value = self._answers.pop(number)
        if not well:
            raise value
        return value


class _Forwarding:
    """A checkpointer's methods, each a question."""

    questions: Questions
    #: What the checkpointer calls the first version of a channel.
    first_version: Any
    signed_by_lender = True

    def get_tuple(self, config: Any) -> Any:
        return self.questions.ask_here("saver", "get_tuple", config)

    def list(self, config: Any, **which: Any) -> Any:
        return iter(self.questions.ask_here("saver", "list", config, **which))

    def put(self, *what: Any) -> Any:
        return self.questions.ask_here("saver", "put", *what)

    def put_writes(self, *what: Any) -> None:
        self.questions.ask_here("saver", "put_writes", *what)

    async def aget_tuple(self, config: Any) -> Any:
        return await self.questions.ask("saver", "get_tuple", config)

    async def alist(self, config: Any, **which: Any) -> Any:
        for found in await self.questions.ask("saver", "list", config, **which):
            yield found

    async def aput(self, *what: Any) -> Any:
        return await self.questions.ask("saver", "put", *what)

    async def aput_writes(self, *what: Any) -> None:
        await self.questions.ask("saver", "put_writes", *what)

    def get_next_version(self, current: Any, channel: None) -> Any:
        first = self.first_version
        if current is None:
            return first
        if isinstance(current, str):  # LangGraph's: a number, and chance behind the point
            number, point, chance = current.partition(".")
            return f"{int(number) + 1:0{len(number)}}{point}{chance}"
        return current + 1


def borrowed_saver(questions: Questions, first_version: Any, *, langgraphs: bool) -> Any:
    """Return what stands for a checkpointer; of LangGraph's kind if that is, since it is given its words."""
    base: type[Any] = BaseCheckpointSaver
    if langgraphs:
        base = import_module("langgraph.checkpoint.base").BaseCheckpointSaver
    saver = type("BorrowedSaver", (_Forwarding, base), {})()
    saver.questions, saver.first_version = questions, first_version
    return saver


class BorrowedStore(BaseStore):
    """Stands for the graph's store."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        found: list[Any] = self._questions.ask_here("store", "batch", [*ops])
        return found

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        found: list[Any] = await self._questions.ask("store", "batch", [*ops])
        return found


class BorrowedMemory(Kept):
    """Stands for what the run keeps: as it was when the node began, and with what the node adds."""

    def __init__(
        self,
        questions: Questions,
        took: Callable[[], None],
        *,
        checkpointer: Any,
        durability: str,
        pending: Sequence[tuple[str, str, Any]],
        answer: Any = MISSING,
    ) -> None:
        self._questions = questions
        self._took = took
        self.checkpointer = checkpointer
        self.durability = durability
        self.pending = [*pending]
        self._given = answer

    async def keep(self, task_id: str, writes: Sequence[tuple[str, Any]]) -> None:
        """Keep a task's writes there, and here."""
        self.pending = [one for one in self.pending if one[0] != task_id]
        self.pending += [(task_id, name, value) for name, value in writes]
        await self._questions.ask("memory", "keep", task_id, writes)

    def take_answer(self, *, keep: bool = False) -> Any:
        """Take the one answer that was given without an interrupt id; MISSING if none is, or it is taken."""
        answer = self._given
        if not keep and answer is not MISSING:
            self._given = MISSING
            self._took()
        return answer
