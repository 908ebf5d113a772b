"""The loop: plan a superstep, run its tasks, apply their writes, tell whoever watches; until nothing is left.

The loop owns everything that happens in time. What happens *next* is decided by the pure functions in
``core/superstep.py``; what a node does is up to ``attempt.py``; how tasks run side by side is the executor's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from anyio import CancelScope, fail_after

from otel_stream.encoding import shown
from otel_stream.events import CheckpointSaved, End
from otel_stream.leaving import ProcessEndsError

from ..checkpoint.lease import Held
from ..core.state import PULL, Writer, Written
from ..core.superstep import apply, order, plan, should_pause
from ..core.task import NodeTask, RunEnv
from ..errors import (
    EXITS,
    GraphBubbleUp,
    GraphDrained,
    GraphInterrupt,
    GraphRecursionError,
    ParentCommand,
    add_note,
)
from ..executors import finished
from ..graph.node import Node
from ..langgraph import refuse_to_ask_langgraph
from ..task_config import CURRENT_TASK
from ..types import START, Interrupt
from . import reporting as reports
from .attempt import run_task
from .caching import cached_writes
from .checkpointing import Checkpoints
from .failures import raise_failures
from .leasing import leased, still
from .leaving import IN_PROGRESS
from .outcomes import keep, keep_cancelled, task_done
from .resume import take_back
from .showing import checkpoint_saved
from .start import start
from .writes import writes_of


class RunLoop:
    """One run of a graph, used once. Its tasks know nothing of it, but what stands in ``env``."""

    __slots__ = (
        "abandoned",
        "begun",
        "checkpoints",
        "end",
        "env",
        "error",
        "fleeting",
        "input",
        "interrupts",
        "result",
        "resumed",
        "shown",
        "state",
        "status",
        "step",
        "stop",
        "stopped",
        "tasks",
        "updated",
    )

    def __init__(self, env: RunEnv, checkpoints: Checkpoints | None, input: Any) -> None:
        self.env = env
        self.state = env.state
        self.checkpoints = checkpoints
        self.input = input
        self.step, self.stop = -1, env.recursion_limit
        #: Channels that the superstep before changed; None when any may have.
        self.updated: set[str] | None = None
        self.begun = self.stopped = self.resumed = False
        #: Where it stops if it is interrupted, in LangGraph's words.
        self.status = "pending"
        #: The tasks of the superstep that is planned or runs.
        self.tasks: list[NodeTask] = []
        #: Whether the state was ever shown to be anything.
        self.shown = False
        #: Its consumer left: the cancellation that follows is no failure.
        self.abandoned = False
        self.result: Any = None
        #: Whether what the result is made of may be gone at the end: it is what was last written then.
        self.fleeting = not env.program.transient.isdisjoint(env.output.names)
        self.interrupts: tuple[Interrupt, ...] = ()
        #: How the run ended, and what it raised.
        self.end: End | None = None
        self.error: BaseException | None = None

    # -- the run ---------------------------------------------------------------------------------

    async def execute(self) -> Any:
        """Run to the end and return the result.

        Raises:
            GraphRecursionError: more supersteps than allowed.
            GraphInterrupt: in a subgraph; at the root an interrupted run ends normally.
            BaseException: whatever a node raised.
        """
        self.begun, end = True, End.OK
        error: BaseException | None = None
        executor = self.env.executor
        executor.begin(self.env.run.context)
        if self.env.parent_task is None:
            IN_PROGRESS.add(self)
        try:
            run = self._to_the_end()
            end = await (run if executor.scope is None else _within(executor.scope, run))
            await self._tell_callbacks(None)
        except BaseException as failure:
            self.result = None
            end = self._end_of(failure)
            error = None if end is End.INTERRUPTED else failure
            if end is End.CANCELLED and self.stopped:
                error = ProcessEndsError()
            if error is not None and self.checkpoints is not None and self.checkpoints.durability == "exit":
                await self._last(self.checkpoints.leave(self.state), failure)
            await self._tell_callbacks(None if end is End.OK else failure)
            if self.stopped and error is not None and not executor.is_async:
                raise error from failure
            raise
        finally:
            IN_PROGRESS.discard(self)
            self._ended(end, error)
        return self.result

    def leave(self) -> bool:
        """Stop it, since its process is about to end; return whether its end can be waited for here."""
        self.stopped = True
        return self.env.executor.leave()

    async def _to_the_end(self) -> End:
        if self.env.spec.lease is None:
            return await self._supersteps(None)
        async with leased(self.env, self.input) as held:
            return await self._supersteps(held)

    async def _supersteps(self, held: Held | None) -> End:
        try:
            await self._start()
            while tasks := self._next():
                if held is not None:
                    await still(self.env.executor, held)
                await self._superstep(tasks)
            if not self.fleeting:
                self._take_result()
            if self.checkpoints is not None and self._keeps_its_end:
                await self.checkpoints.leave(self.state)
        except GraphInterrupt as pause:
            await self._interrupted(pause)
            return End.INTERRUPTED
        return End.OK

    async def _tell_callbacks(self, error: BaseException | None) -> None:
        if self.env.langchain is not None:
            await finished(self.env.langchain.end(self.result, error))

    async def _last(self, stored: Coroutine[Any, Any, None], failure: BaseException) -> None:
        """Store something after ``failure``, which is raised then, whether or not that can be done."""
        is_async = self.env.executor.is_async
        if is_async and isinstance(failure, GeneratorExit):  # nothing can be awaited any more
            stored.close()
            return
        with CancelScope(shield=True) if is_async else nullcontext():
            try:
                await stored
            except Exception as broken:  # noqa: BLE001 - told with what was to be raised
                add_note(failure, f"The checkpoint could not be stored: its saver raised {shown(broken)}")

    def raise_upwards(self) -> None:
        """Pass on what a subgraph's run has to say to the node that has made it.

        For who learns of its end otherwise than by awaiting :meth:`execute`.

        Raises:
            GraphInterrupt: it waits for an answer.
            GraphBubbleUp: it has handed off, or was asked to stop.
        """
        if self.env.parent_task is None:
            return
        if self.end is End.INTERRUPTED:
            raise GraphInterrupt(self.interrupts)
        if isinstance(self.error, GraphBubbleUp):
            raise self.error

    def abandon(self) -> None:
        """Take note that its consumer leaves; for a run that has not ended."""
        self.abandoned = self.end is None

    def left(self) -> None:
        """End a run that was left before its first step."""
        if not self.begun:
            reports.run_started(self.env, self.input, False)
            self._ended(End.ABANDONED if self.abandoned else End.CANCELLED, None)

    async def _begin(self) -> None:
        """Tell LangChain's callbacks that the run begins; they may refuse that."""
        if self.env.langchain is None:
            return
        try:
            await finished(self.env.langchain.begin(self.env, self.input))
        except BaseException:
            reports.run_started(self.env, self.input, False)
            raise

    async def _start(self) -> None:
        await self._begin()
        begun = await start(self.env, self.state, self.checkpoints, self.input)
        self.step, self.stop, self.updated = begun.step, begun.stop, begun.updated
        self.resumed = begun.resumed
        self.env.continuation.begin(
            begun.goes_on,
            begun.anew,
            begun.answers,
            begun.replay,
            begun.former,
            begun.previous,
            begun.stop,
        )
        if begun.resumed:
            self._show_values()
            self._take_result()
            if self.env.langchain is not None:
                await finished(self.env.langchain.resumed(self.env))
        node = self.env.program.start
        if node is not None and self.state.channels[START].available:
            await self._run_start(node)

    async def _interrupted(self, pause: GraphInterrupt) -> None:
        """End an interrupted run: normally at the root, by passing the interrupt on in a subgraph."""
        if self.checkpoints is not None:
            await self.checkpoints.leave(self.state)
            await self.checkpoints.sign()
        self.interrupts = tuple(pause.args[0]) if pause.args else ()
        if self.env.parent_task is not None:
            raise pause
        refuse_to_ask_langgraph(self.env, self.interrupts)
        ended = [task for task in self.tasks if task.writes]
        if ended:
            updated = apply(self.env.program, self.state, order(ended))
            if not updated.isdisjoint(self.env.view.names):
                self._show_values()
            if not updated.isdisjoint(self.env.output.names):
                self._take_result()
        reports.run_interrupted(self.env, self.step, self.interrupts)
        if not self.fleeting:
            self._take_result()
        if self.env.langchain is not None:
            await finished(self.env.langchain.interrupted(self.env, self.status, self.interrupts))

    @property
    def _keeps_its_end(self) -> bool:
        """Whether somebody may go on from its end: nobody does from that of a subgraph without memory."""
        return self.env.parent_task is None or self.env.spec.checkpointer is True

    def _end_of(self, failure: BaseException) -> End:
        if isinstance(failure, GraphInterrupt):
            return End.INTERRUPTED
        if isinstance(failure, GraphRecursionError):
            return End.RECURSION_LIMIT
        if isinstance(failure, GraphDrained):
            return End.DRAINED
        if isinstance(failure, ParentCommand) and self.env.parent_task is not None:
            return End.OK  # what comes next is up to the graph around
        if isinstance(failure, (*EXITS, ProcessEndsError)) or self.env.executor.is_cancellation(failure):
            return End.ABANDONED if self.abandoned else End.CANCELLED
        failed = next((task for task in self.tasks if task.error is failure and task.end is not None), None)
        return failed.end if failed is not None and failed.end is not None else End.ERROR

    def _ended(self, end: End, error: BaseException | None) -> None:
        self.end, self.error = end, error
        self.env.lineage.finish(())  # else the last tasks and what they share would wait for the collector
        reports.run_ended(self.env, self.step, end, self.result, error, self.interrupts)

    # -- one superstep ---------------------------------------------------------------------------

    async def _run_start(self, node: Node) -> None:
        """Superstep 0: write the input to the state, and ask where to start."""
        env, given = self.env, self.state.channels[START].value
        if self.checkpoints is None and not node.branches and type(given) is dict:
            # Nothing is kept, nobody is asked: all that happens is what it writes.
            written = [Written(START, node.triggers, [*node.writes_of(given), *node.edges])]
            self.updated = apply(env.program, self.state, written)
            later = self._finish(written, self.updated)
            if later is not None:
                await later
            return
        task = NodeTask(
            env.run,
            node,
            self.step,
            seed=self.state.checkpoint_id,
            input=given,
            path=(PULL, START),
            triggers=(START,),
        )
        task.env = env
        # Input that update_state has given a thread joins the tasks that wait there.
        others = self._plan(task) if self.resumed else []
        if self.checkpoints is not None and not self.resumed:
            self._show_checkpoint(self.checkpoints, [task])
        context = env.run.context.copy()
        context.run(CURRENT_TASK.set, task)
        task.writes, task.end = await writes_of(task, context, task.input), End.OK
        task.late = 0
        if self.checkpoints is not None:
            await keep(task, self.checkpoints)
        if others:
            await self._superstep(others, task)
            return
        later = self._finish([task], self._merge([task]))
        if later is not None:
            await later

    def _next(self) -> list[NodeTask]:
        """Return the tasks of the next superstep; none if nothing is left to do."""
        tasks = self._plan()
        if self.step > self.stop:
            raise GraphRecursionError(
                f"Recursion limit of {self.env.recursion_limit} reached without hitting a stop condition. "
                "You can increase the limit by setting the `recursion_limit` config key. "
                "[GRAPH_RECURSION_LIMIT]"
            )
        return tasks

    async def _superstep(self, tasks: list[NodeTask], *over: NodeTask) -> None:
        """Run the tasks of a superstep; those ``over`` have run already."""
        env = self.env
        waiting: Sequence[NodeTask] = take_back(env, tasks) if self.checkpoints is not None else tasks
        if env.before or env.control is not None:
            self._heed_stops(tasks)
        if env.observer is not None:
            reports.superstep_started(env, self.step, tasks)
        try:
            if env.cache is not None:
                waiting = await cached_writes(env, waiting, self._done)
            while waiting:
                if len(waiting) > 1 or env.executor.live or env.spec.step_timeout is not None:
                    await self._run_all(waiting)
                    break
                await run_task(waiting[0])
                later = task_done(waiting[0])
                waiting = () if later is None else await self._joined(later) or ()
            updated = self._merge([*over, *tasks] if over else tasks)
        except BaseException as failure:
            self.tasks = [*over, *self.tasks]
            if self.checkpoints is not None and len(tasks) > 1 and self.checkpoints.durability != "exit":
                await self._last(keep_cancelled(tasks, self.checkpoints, failure), failure)
            reports.superstep_broken(env, self.step, tasks, self._end_of(failure))
            raise
        if env.observer is not None:
            reports.superstep_ended(env, self.step, updated)
        later = self._finish(tasks, updated)
        if later is not None:
            await later

    def _plan(self, *first: NodeTask) -> list[NodeTask]:
        env = self.env
        tasks = plan(env.program, self.state, env.run, self.step, self.stop, self.updated)
        for task in tasks:
            task.env = env
        self.tasks = tasks
        if self.checkpoints is not None:
            self._show_checkpoint(self.checkpoints, [*first, *tasks])
        return tasks

    def _heed_stops(self, tasks: list[NodeTask]) -> None:
        """Stop in front of a breakpoint, or because somebody asked for it."""
        if self.env.before and should_pause(self.state, self.env.before, tasks):
            self.status = "interrupt_before"
            raise GraphInterrupt
        control = self.env.control
        if control is not None and control.drain_requested:
            raise GraphDrained(control.drain_reason or "shutdown")

    async def _run_all(self, tasks: Sequence[NodeTask]) -> None:
        """Run tasks side by side, within ``step_timeout``; threads can't be stopped, so not there."""
        executor, limit = self.env.executor, self.env.spec.step_timeout
        with fail_after(limit) if limit is not None and executor.is_async else nullcontext():
            await executor.run_all(tasks, run_task, self._done)

    def _done(self, task: NodeTask) -> Awaitable[list[NodeTask] | None] | None:
        later = task_done(task)
        return later if later is None else self._joined(later)

    async def _joined(self, later: Awaitable[list[NodeTask] | None]) -> list[NodeTask] | None:
        """Let the tasks that take over from one that has ended be of this superstep, too."""
        joining = await later
        self.tasks += joining or ()
        return joining

    def _merge(self, tasks: list[NodeTask]) -> set[str]:
        """Apply the writes of a superstep, if nothing went wrong: the barrier."""
        for task in tasks:
            if task.end is not End.OK or task.error is not None:
                raise_failures(tasks)
                break
        ordered = order(tasks) if len(tasks) > 1 else tasks
        self.env.lineage.finish(ordered)
        self.updated = apply(self.env.program, self.state, ordered)
        return self.updated

    def _finish(self, tasks: Sequence[Writer], updated: set[str]) -> Awaitable[None] | None:
        """Show the state after a superstep, which changed the channels ``updated``.

        Returns what there is to await before the next one, if anything.
        """
        env = self.env
        if not updated.isdisjoint(env.view.names):
            self._show_values()
        if self.fleeting and not updated.isdisjoint(env.output.names):
            self._take_result()
        env.continuation.superstep_over()
        if self.checkpoints is not None or env.after or env.drain is not None:
            return self._keep_and_wait(tasks, updated)
        self.step += 1
        return None

    async def _keep_and_wait(self, tasks: Sequence[Writer], updated: set[str]) -> None:
        env = self.env
        if self.checkpoints is not None:
            self.checkpoints.drop()
            await self.checkpoints.save(self.state, "loop", self.step, updated)
        self.step += 1
        if env.after and should_pause(self.state, env.after, tasks):
            self._plan()
            self.status = "interrupt_after"
            raise GraphInterrupt
        if env.drain is not None:
            await env.drain()

    def _take_result(self) -> None:
        self.result = self.env.output.read(self.state.channels)

    # -- reports ---------------------------------------------------------------------------------

    def _show_values(self) -> None:
        self.shown = True
        if self.env.observer is not None:
            reports.values_changed(self.env, self.step)

    def _show_checkpoint(self, checkpoints: Checkpoints, tasks: Sequence[NodeTask]) -> None:
        observer = self.env.observer
        if observer is not None and observer.interest & CheckpointSaved.bit:
            observer.emit(checkpoint_saved(self.env, checkpoints, tasks))


async def _within(scope: AbstractContextManager[Any], run: Awaitable[End]) -> End:
    with scope:
        return await run
    raise ProcessEndsError
