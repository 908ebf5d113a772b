"""The loop: plan a superstep, run its tasks, apply their writes, tell whoever watches; until nothing is left.

The loop owns everything that happens in time. What happens *next* is decided by the pure functions in
``superstep.py``; what a node does is up to ``task.py``; how tasks run side by side is the executor's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, fail_after

from otel_stream.events import End, Observer, Run

from ..cache.lookup import cached_writes, store_writes
from ..core.lineage import Lineage
from ..core.state import ERROR, ERROR_SOURCE, PULL, RESUME, NodeTask, State
from ..core.superstep import apply, order, plan, should_pause
from ..errors import GraphDrained, GraphInterrupt, GraphRecursionError
from ..executors import Executor
from ..graph.node import NO_WRITES, Node, Writes
from ..graph.program import View
from ..task_config import CURRENT_TASK
from ..types import INTERRUPT, START, Config, Interrupt
from . import reporting as reports
from .attempt import run_task, writes_of
from .checkpointing import Persistence
from .failures import handler_of, raise_failures
from .resume import give_answers, take_back
from .start import begin
from .time_travel import Replay, checkpoints_around

if TYPE_CHECKING:
    from ..api.compiled import CompiledStateGraph


class RunLoop:
    """One run of a graph. Made by ``CompiledStateGraph``, used once."""

    step = -1
    #: Channels that the superstep before changed; None when any may have.
    updated: set[str] | None = None
    #: Answers by interrupt id.
    resume_map: dict[str, Any] | None = None
    resumed = False
    #: Whether what tasks wrote before is to be done again instead of taken back.
    replaying = False
    #: What an ``entrypoint`` remembered from the run before.
    previous: Any = None
    result: Any = None
    interrupts: tuple[Interrupt, ...] = ()
    #: How the run ended, and what it raised.
    end: End | None = None
    error: BaseException | None = None
    #: Its consumer left: the cancellation that follows is no failure.
    abandoned = False
    #: Whether the state was ever shown to be anything.
    shown = False
    #: A task has failed: its siblings are told to stop, and none is tried again.
    given_up = False
    _started = False

    #: The tasks of the superstep before, in the order of their writes.
    finished: Sequence[NodeTask] = ()

    def __init__(
        self,
        graph: CompiledStateGraph,
        input: Any,
        config: Config,
        *,
        run: Run,
        executor: Executor,
        observer: Observer | None,
        recursion_limit: int,
        checkpointer: Any = None,
        durability: str = "async",
        context: Any = None,
        control: Any = None,
        breakpoints: tuple[Any, Any] = ((), ()),
        parent_task: NodeTask | None = None,
        checkpoint_ns: str = "",
        langchain: Any = None,
        view: View | None = None,
        output: View | None = None,
    ) -> None:
        self.graph = graph
        self.program = graph.program
        #: What *values* and *updates* show, and what the result is made of.
        self.view = view or graph.program.output_view
        self.output = output or graph.program.output_view
        self.input = input
        self.config = config
        self.run = run
        self.executor = executor
        self.observer = observer
        self.context = context
        self.control = control
        self.store = graph.store if graph.store is not None else _inherited(parent_task, "store")
        self.cache = graph.cache if graph.cache is not None else _inherited(parent_task, "cache")
        self.langchain = langchain
        self.parent_task = parent_task
        self.parent_loop: RunLoop | None = parent_task.loop if parent_task is not None else None
        self.checkpoint_ns = checkpoint_ns
        self.keeps_memory = graph.checkpointer is True
        self._enclose(self.parent_loop)
        self.before, self.after = breakpoints
        self.recursion_limit = recursion_limit
        self.persist = Persistence(checkpointer, self, durability) if checkpointer is not None else None
        self.state = State(
            self.program.fresh_channels(),
            checkpoint_id=run.id,
            track=checkpointer is not None or bool(self.before or self.after),
            next_version=getattr(checkpointer, "get_next_version", None),
        )
        self.stop = recursion_limit
        self.step_timeout = graph.step_timeout
        self.tasks: list[NodeTask] = []
        #: Who wrote to joins and deferred nodes; without any, made when somebody asks who triggered what.
        self.lineage = Lineage(self.program.lasting) if self.program.lasting else None
        #: Task → futures of the functional tasks it has called, while it runs.
        self.called: dict[NodeTask, list[Any]] = {}
        #: Awaited after every superstep; a run that is pulled by its caller waits here for its turn.
        self.drain = observer.drain if observer is not None else None

    def _enclose(self, parent: RunLoop | None) -> None:
        """Take over what the run around this one knows of resuming."""
        #: Whether subgraphs go on, too; None once a superstep is over, and when that is not known yet.
        self.resuming: bool | None = parent.resuming if parent is not None else None
        self.replay: Replay | None = parent.replay if parent is not None else None
        #: Namespace → id of the checkpoints around this run, or of those it is pointed at.
        self.checkpoint_map = checkpoints_around(self.config, parent)

    # -- the run ---------------------------------------------------------------------------------

    async def execute(self) -> Any:
        """Run to the end and return the result.

        Raises:
            GraphRecursionError: more supersteps than allowed.
            GraphInterrupt: in a subgraph; at the root an interrupted run ends normally.
            BaseException: whatever a node raised.
        """
        end, error = End.OK, None
        try:
            await begin(self)
            if self.program.start is not None and self.state.channels[START].available:
                await self._run_start(self.program.start)
            while await self._superstep():
                pass
            self.result = self.output.read(self.state.channels)
            if self.persist is not None:
                await self.persist.leave(failed=False)
        except GraphInterrupt as pause:
            end = End.INTERRUPTED
            await self._interrupted(pause)
        except BaseException as failure:
            end, error = self.end_of(failure), failure
            if self.persist is not None and self.persist.durability == "exit":
                with CancelScope(shield=True) if self.executor.is_async else nullcontext():
                    await self.persist.leave(failed=True)
            raise
        finally:
            self._ended(end, error)
        return self.result

    def raise_question(self) -> None:
        """Pass on, to the node that has made it, that a subgraph's run waits for an answer.

        For who learns of its end otherwise than by awaiting :meth:`execute`.

        Raises:
            GraphInterrupt: it does.
        """
        if self.end is End.INTERRUPTED and self.parent_task is not None:
            raise GraphInterrupt(self.interrupts)

    def end_of(self, failure: BaseException) -> End:
        """Tell what kind of end a failure is."""
        if isinstance(failure, GraphRecursionError):
            return End.RECURSION_LIMIT
        if isinstance(failure, GraphDrained):
            return End.DRAINED
        if not isinstance(failure, Exception):
            return End.ABANDONED if self.abandoned else End.CANCELLED
        failed = next((task for task in self.tasks if task.error is failure and task.end is not None), None)
        return failed.end if failed is not None and failed.end is not None else End.ERROR

    # -- one superstep ---------------------------------------------------------------------------

    async def _run_start(self, start: Node) -> None:
        """Superstep 0: write the input to the state, and ask where to start."""
        task = NodeTask(
            self.run,
            start,
            self.step,
            seed=self.state.checkpoint_id,
            input=self.state.channels[START].value,
            path=(PULL, START),
            triggers=(START,),
        )
        task.loop = self
        # Input that update_state has given a thread joins the tasks that wait there.
        others = self._plan(task) if self.resumed else []
        if self.persist is not None and not self.resumed:
            self._emit_checkpoint([task])
        context = self.run.context.copy()
        context.run(CURRENT_TASK.set, task)
        task.writes, task.end = await writes_of(task, self, context, task.input), End.OK
        if self.persist is not None:
            await self._keep(task)
        if others:
            await self.executor.run_all(take_back(self, others), run_task, self.task_done)
        tasks = [task, *others]
        later = self._finish(tasks, self._merge(tasks))
        if later is not None:
            await later

    async def _superstep(self) -> bool:
        """Run one superstep; return whether there may be another one."""
        tasks = self._plan()
        if self.step > self.stop:
            raise GraphRecursionError(
                f"Recursion limit of {self.recursion_limit} reached without hitting a stop condition. You "
                f"can increase the limit by setting the `recursion_limit` config key. [GRAPH_RECURSION_LIMIT]"
            )
        if not tasks:
            return False
        waiting: Sequence[NodeTask] = take_back(self, tasks) if self.persist is not None else tasks
        if self.before or self.control is not None:
            self._heed_stops(tasks)
        if self.observer is not None:
            reports.superstep_started(self, tasks)
        try:
            if self.cache is not None:
                waiting = await cached_writes(self, waiting)
            while waiting:
                if len(waiting) > 1 or self.executor.live or self.step_timeout is not None:
                    await self._run_all(waiting)
                    break
                await run_task(waiting[0])
                done = self.task_done(waiting[0])
                waiting = () if done is None else await done or ()
            updated = self._merge(tasks)
        except BaseException as failure:
            reports.superstep_broken(self, tasks, failure)
            raise
        if self.observer is not None:
            reports.superstep_ended(self, updated)
        later = self._finish(tasks, updated)
        if later is not None:
            await later
        return True

    def _heed_stops(self, tasks: list[NodeTask]) -> None:
        """Stop in front of a breakpoint, or because somebody asked for it."""
        if self.before and should_pause(self.state, self.before, tasks):
            raise GraphInterrupt
        if self.control is not None and self.control.drain_requested:
            raise GraphDrained(self.control.drain_reason or "shutdown")

    async def _run_all(self, tasks: Sequence[NodeTask]) -> None:
        """Run tasks side by side, within ``graph.step_timeout``; threads can't be stopped, so not there."""
        with fail_after(self.step_timeout) if self.executor.is_async else nullcontext():
            await self.executor.run_all(tasks, run_task, self.task_done)

    def _plan(self, *first: NodeTask) -> list[NodeTask]:
        tasks = plan(self.program, self.state, self.run, self.step, self.stop, self.updated)
        for task in tasks:
            task.loop = self
        self.tasks = tasks
        if self.persist is not None:
            self._emit_checkpoint([*first, *tasks])
        return tasks

    def task_done(self, task: NodeTask) -> Awaitable[list[NodeTask] | None] | None:
        """Keep what a task has written, and report its end.

        Returns what there is to await for it, if anything, and that in turn the tasks that take over.
        """
        if self.persist is None and self.cache is None and task.spec.error_handler is None:
            if self.observer is not None:
                reports.task_ended(self, task)
            return None
        return self._keep_and_report(task)

    async def _keep_and_report(self, task: NodeTask) -> list[NodeTask] | None:
        if self.persist is not None:
            await self._keep(task)
        if self.cache is not None and task.spec.cache is not None and task.end is End.OK:
            await store_writes(self, task)
        if self.observer is not None:
            reports.task_ended(self, task)
        handler = handler_of(self, task)
        if handler is None:
            return None
        give_answers(self, handler)
        reports.task_started(self, handler)
        return [handler]

    async def _keep(self, task: NodeTask) -> None:
        assert self.persist is not None
        answered: Writes = [(RESUME, task.answered)] if task.answered else []
        if task.end is End.INTERRUPTED:
            await self.persist.keep(task.id, [(INTERRUPT, task.interrupts), *answered])
        elif task.end is End.OK and task.error is None:
            await self.persist.keep(task.id, task.writes or [(NO_WRITES, None)])
        elif task.error is not None and task.end is not None and task.end.failed:
            handled: Writes = [(ERROR_SOURCE, task.node)] if task.spec.error_handler is not None else []
            await self.persist.keep(task.id, [(ERROR, task.error), *handled, *answered])

    def _merge(self, tasks: list[NodeTask]) -> set[str]:
        """Apply the writes of a superstep, if nothing went wrong: the barrier."""
        for task in tasks:
            if task.end is not End.OK or task.error is not None:
                raise_failures(tasks)
                break
        ordered = order(tasks) if len(tasks) > 1 else tasks
        self.finished = ordered
        if self.lineage is not None:
            self.lineage.remember(self, ordered)
        self.updated = apply(self.program, self.state, ordered)
        return self.updated

    def _finish(self, tasks: list[NodeTask], updated: set[str]) -> Awaitable[None] | None:
        """Show the state after a superstep, which changed the channels ``updated``.

        Returns what there is to await before the next one, if anything.
        """
        if not updated.isdisjoint(self.view.names):
            self.emit_values()
        self.replaying, self.resuming = False, None
        if self.persist is not None or self.after or self.drain is not None:
            return self._keep_and_wait(tasks, updated)
        self.step += 1
        return None

    async def _keep_and_wait(self, tasks: list[NodeTask], updated: set[str]) -> None:
        persist = self.persist
        if persist is not None:
            persist.pending = []
            await persist.save("loop", self.step, updated)
        self.step += 1
        if self.after and tasks[0].node != START and should_pause(self.state, self.after, tasks):
            self._plan()
            raise GraphInterrupt
        if self.drain is not None:
            await self.drain()

    # -- reports ---------------------------------------------------------------------------------

    def started(self) -> None:
        """Report the start of the run, once."""
        self._started = True
        reports.run_started(self)

    def emit_values(self) -> None:
        """Report the state."""
        self.shown = True
        reports.values_changed(self)

    def _emit_checkpoint(self, tasks: Any) -> None:
        from ..api.snapshots import checkpoint_event

        event = checkpoint_event(self, tasks)
        if event is not None and self.observer is not None:
            self.observer.emit(event)

    async def _interrupted(self, pause: GraphInterrupt) -> None:
        """End an interrupted run: normally at the root, by passing the interrupt on in a subgraph."""
        if self.persist is not None:
            await self.persist.leave(failed=True)
            await self.persist.sign()
        self.interrupts = tuple(pause.args[0]) if pause.args else ()
        if self.parent_task is not None:
            raise pause
        finished = [task for task in self.tasks if task.writes]
        if finished:
            updated = apply(self.program, self.state, order(finished))
            if not updated.isdisjoint(self.view.names):
                self.emit_values()
        reports.run_interrupted(self)
        self.result = self.output.read(self.state.channels)

    def stopped(self) -> None:
        """End a run that was left before its first step."""
        if self.end is None:
            self._ended(End.ABANDONED if self.abandoned else End.CANCELLED, None)

    def _ended(self, end: End, error: BaseException | None) -> None:
        self.end, self.error = end, error
        if not self._started:
            self.started()
        reports.run_ended(self, end, error)


def _inherited(parent_task: NodeTask | None, name: str) -> Any:
    return getattr(parent_task.loop, name) if parent_task is not None else None
