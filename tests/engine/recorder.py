"""Watching the engine without a stream: an observer that keeps every event, and what must hold for them."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import anyio

from engine.api.compiled import CompiledStateGraph
from engine.api.launch import launch
from engine.api.options import Asked
from engine.executors import Executor, ThreadExecutor, async_executor, drive
from engine.run.loop import RunLoop
from otel_stream import events as e
from otel_stream.events import ALL, Event, Run, Task

#: Where a graph can run: on either event loop, or without one.
WORLDS = ("asyncio", "trio", "threads")


class Recorder:
    """An observer that wants everything and keeps it, in the order of its arrival."""

    interest = ALL

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    async def drain(self) -> None:
        pass

    def of(self, *kinds: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def ends(self) -> list[tuple[str, str]]:
        """Return the graph and the end of every run, in the order of the ends."""
        return [(event.run.graph, event.end.value) for event in self.of(e.RunEnded)]

    def task_ends(self) -> list[tuple[str, str]]:
        return [(event.task.node, event.end.value) for event in self.of(e.TaskEnded)]


def record(
    graph: CompiledStateGraph,
    input: Any,
    config: dict[str, Any] | None = None,
    *,
    world: str = "asyncio",
    options: Asked = Asked(),  # noqa: B008 - a NamedTuple
) -> tuple[Recorder, RunLoop]:
    """Run ``graph`` to its end, whatever that is, and return what was reported, and the loop."""
    recorder = Recorder()

    def made(executor: Executor) -> RunLoop:
        return launch(graph.spec, input, config, options, executor, recorder)

    limit = (config or {}).get("max_concurrency")
    if world == "threads":
        executor = ThreadExecutor(limit)
        loop = made(executor)
        try:
            drive(loop.execute())
        except BaseException as error:  # sys.exit, too
            _check(error, loop)
        finally:
            executor.close()
        return recorder, loop

    async def main() -> RunLoop:
        loop = made(async_executor(limit))
        try:
            await loop.execute()
        except BaseException as error:  # a panic, too
            _check(error, loop)
        return loop

    return recorder, anyio.run(main, backend=world)


def _check(raised: BaseException, loop: RunLoop) -> None:
    assert raised is loop.error


def unbalanced(events: Iterable[Event]) -> list[str]:
    """Return what is wrong with the pairs of events of a root run that has ended; [] if nothing is.

    Every run, superstep, task and attempt ends exactly once, after it has started and before what it is
    part of ends; and with the root's end, everything is over.
    """
    wrong: list[str] = []
    open: dict[Any, list[Any]] = {}
    ended: Counter[Any] = Counter()

    def start(key: Any, around: Any) -> None:
        if key in open:
            wrong.append(f"{key} starts twice")
        if around is not None and around not in open:
            wrong.append(f"{key} starts outside of {around}")
        open[key] = []
        if around in open:
            open[around].append(key)

    def end(key: Any) -> None:
        ended[key] += 1
        if key not in open:
            wrong.append(f"{key} ends without a start" if ended[key] == 1 else f"{key} ends twice")
            return
        wrong.extend(f"{inner} is open when {key} ends" for inner in open.pop(key) if inner in open)

    for event in events:
        for kind, (keys, act) in _PAIRS.items():
            if isinstance(event, kind):
                (start if act == "start" else end)(*keys(event))
    wrong.extend(f"{key} never ends" for key in open)
    return wrong


def _run(run: Run) -> Any:
    return ("run", run.graph, id(run))


def _step(run: Run, step: int) -> Any:
    return ("superstep", run.graph, step, id(run))


def _task(task: Task) -> Any:
    return ("task", task.node, id(task))


def _around_run(run: Run) -> Any:
    return None if run.parent is None else _task(run.parent)


Keys = Callable[[Any], tuple[Any, ...]]
_PAIRS: dict[type[Event], tuple[Keys, str]] = {
    e.RunStarted: (lambda x: (_run(x.run), _around_run(x.run)), "start"),
    e.RunEnded: (lambda x: (_run(x.run),), "end"),
    e.SuperstepStarted: (lambda x: (_step(x.run, x.step), _run(x.run)), "start"),
    e.SuperstepEnded: (lambda x: (_step(x.run, x.step),), "end"),
    e.TaskStarted: (lambda x: (_task(x.task), _step(x.task.run, x.task.step)), "start"),
    e.TaskEnded: (lambda x: (_task(x.task),), "end"),
    e.AttemptStarted: (lambda x: ((*_task(x.task), x.attempt), _task(x.task)), "start"),
    e.AttemptEnded: (lambda x: ((*_task(x.task), x.attempt),), "end"),
}
