"""Running a case, leg by leg, and telling both what happened and what was exported."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from typing import Any
from unittest.mock import patch

import engine.api.execution
import engine.api.run_stream
from otel_stream.events import End
from tests.differential.build import OURS
from tests.truth.build import Notes, NotingBuilder, noting_saver
from tests.truth.execution import Execution, Run
from tests.truth.generate import Case
from tests.truth.happened import Leg, Teller, Witness, parts_of, type_name
from tests.truth.rebuild import Document

LEGS = 4
INPUT = {"log": ["in"], "total": 0}


class Program:
    """One case, built and ready to be run."""

    api = OURS
    #: Where telemetry is asked for.
    asking: Any = engine.api.run_stream
    #: Whether every checkpoint says which run has stored it; and the ends of runs that say in the one they
    #: leave that they have left it.
    signed = True
    signing: Collection[End] = (End.INTERRUPTED,)

    def __init__(self, case: Case, pipeline: Any) -> None:
        self.case, self.pipeline = case, pipeline
        self.notes = self.made_notes()
        self.saver = noting_saver(self.api, signed=self.signed) if case.saver else None
        self.builder = NotingBuilder(
            self.notes,
            self.tracer(),
            is_async=case.world == "asyncio",
            handled=case.handled,
            api=self.api,
        )
        self.graph = self.builder.graph(case.graph, self.saver)
        self.config: dict[str, Any] = {"configurable": {"thread_id": "1"}, "recursion_limit": case.limit}
        if not case.abreast:
            self.config["max_concurrency"] = 1
        self.options: dict[str, Any] = {} if case.durability is None else {"durability": case.durability}
        self.witnesses: list[Witness] = []
        self.roots: dict[int, str] = {}
        self.contradictions: list[str] = []

    def made_notes(self) -> Notes:
        return Notes()

    def tracer(self) -> Any:
        return self.pipeline.tracer

    # -- legs ----------------------------------------------------------------------------------------

    def run(self) -> Execution:
        """Run leg after leg, and return what happened."""
        runs: list[Any] = []
        parts: dict[str, Any] = {}
        input: Any = INPUT
        answers: tuple[str, ...] = ()
        for number in range(LEGS):
            leg = self._leg(number, input, answers)
            teller = Teller(leg, self.case.graph, self.notes, self.saver, self.roots)
            if len(teller.roots_here()) != 1:
                self.contradictions.append(f"{len(teller.roots_here())} runs, and {self.raised!r}")
            for root in teller.roots_here():
                self.roots[number] = root.id
                runs.append(teller.run(root, self.case.graph))
                self.contradictions += self._unlike(runs[-1], leaves=number == 0)
            teller.remember(self.signing)
            self.contradictions += teller.contradictions()
            parts |= parts_of(leg, exactly=True)
            following = self._following(number)
            if following is None:
                break
            input, answers = following
        return Execution(tuple(runs), parts)

    def _leg(self, number: int, input: Any, answers: tuple[str, ...]) -> Leg:
        self.notes.next_leg()
        self.witnesses = []
        if self.saver is not None:
            self.saver.leg = number
        with patch.object(self.asking, "consumer_for_run", self._watched):
            if self.case.world == "threads":
                self._in_threads(input, number)
            else:
                asyncio.run(self._on_loop(input, number))
        return Leg(self.witnesses, self.notes.calls, self.notes.routes, answers)

    def _watched(self, **given: Any) -> Witness:
        witness = Witness(self.pipeline.consumer())
        self.witnesses.append(witness)
        return witness

    @contextlib.contextmanager
    def _seen(self) -> Iterator[None]:
        """Note down what the caller sees raised."""
        self.raised: BaseException | None = None
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:
            self.raised = error

    def _unlike(self, run: Run, *, leaves: bool) -> Iterator[str]:
        """Say what the caller has seen that is not how the run ended; unless it left meanwhile."""
        if leaves and (self.case.breaks or isinstance(self.raised, asyncio.CancelledError)):
            return
        raised = None if self.raised is None else type_name(self.raised)
        expected = {"cancelled": "asyncio.exceptions.CancelledError"}.get(run.end, run.error)
        if raised != expected:
            yield f"the caller saw {raised} raised, and the run ended {run.end} with {run.error}"

    def _in_threads(self, input: Any, leg: int) -> None:
        with self._seen():
            if not self.case.streams:
                self.graph.invoke(input, self.config, **self.options)
                return
            parts = self.graph.stream(input, self.config, stream_mode="updates", **self.options)
            with contextlib.closing(parts):
                for count, _ in enumerate(parts, 1):
                    if leg == 0 and count == self.case.breaks:
                        break

    async def _on_loop(self, input: Any, leg: int) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        inner = asyncio.ensure_future(self._consume(input, leg))

        def called(count: int) -> None:
            if leg == 0 and count == self.case.cancels:
                loop.call_soon_threadsafe(inner.cancel)

        self.notes.when_called = called
        with self._seen():
            await inner

    async def _consume(self, input: Any, leg: int) -> None:
        if not self.case.streams:
            await self.graph.ainvoke(input, self.config, **self.options)
            return
        parts = self.graph.astream(input, self.config, stream_mode="updates", **self.options)
        async with contextlib.aclosing(parts):
            count = 0
            async for _ in parts:
                count += 1
                if leg == 0 and count == self.case.breaks:
                    break

    def _following(self, number: int) -> tuple[Any, tuple[str, ...]] | None:
        """Return what to go on with, and the ids of the interrupts that it answers."""
        if self.saver is None:
            return None
        try:
            state = self.graph.get_state(self.config)
        except Exception:
            return None
        if not state.next:
            return None
        asked = state.interrupts
        if not asked:
            return None, ()
        ids = tuple(sorted(one.id for one in asked))
        if len(asked) == 1:
            return self.api.Command(resume=f"leg {number}"), ids
        return self.api.Command(resume={one.id: f"to {one.value}" for one in asked}), ids


def told(
    case: Case, pipeline: Any, kind: type[Program] = Program
) -> tuple[Execution, list[Document], list[str]]:
    """Run ``case``; return what happened, what was exported, and what nodes say against the engine."""
    pipeline.counting.unbalanced()
    program = kind(case, pipeline)
    happened = program.run()
    return happened, pipeline.take(), program.contradictions + pipeline.counting.unbalanced()
