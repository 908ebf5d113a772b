"""Graphs of ``tests/differential``, whose nodes and routers note down what they do."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import langgraph.errors
import langgraph.types
from langgraph.config import get_config
from langgraph.types import StreamWriter
from opentelemetry.trace import Tracer

import engine
from engine import NodeError, Runtime
from tests.differential.build import ERRORS, LANGGRAPH, OURS, Builder, model
from tests.differential.specs import Graph, Node, Route

#: Of either engine.
INTERRUPTS = (engine.GraphInterrupt, langgraph.errors.GraphInterrupt)
BUBBLES = (engine.GraphBubbleUp, langgraph.errors.GraphBubbleUp)
PACKETS = (engine.Send, langgraph.types.Send)


@dataclass
class Call:
    """One call of a node's code: an attempt, as the node itself saw it."""

    number: int
    node: str
    task: str
    attempt: int
    #: Whether it opens a span.
    traced: bool = True
    end: str = "going on"


class Noting:
    """What nodes and routers note down, and with whom: ``Notes``, or who brings it there."""

    #: Whether it is where the graph runs.
    here = True

    def began(self, node: str, task: str, attempt: int, traced: bool) -> Call:
        """Note a call of a node's code, and give it its number."""
        raise NotImplementedError

    def ended(self, number: int, end: str) -> None:
        """Note how a call has ended."""

    def chose(self, task: str, edge: str, chosen: list[Any], names: tuple[str, ...]) -> None:
        """Note what a conditional edge chose: nodes, and packets, and the names of all."""

    def went(self, task: str, node: str, goto: tuple[str, ...]) -> None:
        """Note where the Command goes that a node returns."""

    def left(self, task: str, goto: tuple[str, ...]) -> None:
        """Note where the Command goes that it raised for the graph around."""

    def handled_by(self, task: str, failed: str) -> None:
        """Note the task whose failure a handler's is for."""

    @contextmanager
    def call(
        self, node: str, runtime: Runtime, task: str | None = None, *, traced: bool = True
    ) -> Iterator[Call]:
        info = runtime.execution_info
        assert info is not None
        noted = self.began(node, task or info.task_id, info.node_attempt, traced)
        end = "going on"
        try:
            yield noted
            end = "ok"
        except INTERRUPTS:
            end = "interrupted"
            raise
        except BUBBLES:
            end = "ok"
            raise
        except Exception as error:
            end = type(error).__name__
            error.task_id = info.task_id  # type: ignore[attr-defined]
            raise
        except BaseException:
            end = "cancelled"
            raise
        finally:
            self.ended(noted.number, end)


class Notes(Noting):
    """What nodes and routers have noted down, of one thread: ids of tasks outlive a run that is resumed."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        #: Task → conditional edge → what it chose last: names, and packets.
        self.choices: dict[str, dict[str, list[Any]]] = defaultdict(dict)
        #: In their order: the task, who decided, and the names.
        self.routes: list[tuple[str, str, tuple[str, ...]]] = []
        #: Task → where the Command that it returned goes; and, for the graph around, that it raised.
        self.commands: dict[str, tuple[str, ...]] = {}
        self.upwards: dict[str, tuple[str, ...]] = {}
        #: Task of an error handler → the task that failed.
        self.handled: dict[str, str] = {}
        self._all: list[Call] = []
        self._lock = threading.Lock()
        #: Called with the number of every call, as it begins.
        self.when_called: Any = lambda number: None

    def next_leg(self) -> None:
        self.calls, self.routes = [], []

    def began(self, node: str, task: str, attempt: int, traced: bool) -> Call:
        with self._lock:
            noted = Call(len(self._all), node, task, attempt, traced)
            self._all.append(noted)
            self.calls.append(noted)
        self.when_called(len(self.calls))
        return noted

    def ended(self, number: int, end: str) -> None:
        self._all[number].end = end

    def chose(self, task: str, edge: str, chosen: list[Any], names: tuple[str, ...]) -> None:
        with self._lock:
            self.choices[task][edge] = chosen
            self.routes.append((task, edge, names))

    def went(self, task: str, node: str, goto: tuple[str, ...]) -> None:
        self.commands[task] = goto
        if goto:
            with self._lock:
                self.routes.append((task, node, goto))

    def left(self, task: str, goto: tuple[str, ...]) -> None:
        self.upwards[task] = goto

    def handled_by(self, task: str, failed: str) -> None:
        self.handled[task] = failed


class Attempts:
    """Those of one node, each of whose tasks has a tag. In another process they begin anew."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def of(self, tag: str) -> int:
        """Return the number of one that begins."""
        with self._lock:
            self._counts[tag] += 1
            return self._counts[tag]

    def __reduce__(self) -> Any:
        return (Attempts, ())


class NotingBuilder(Builder):
    """Builds one graph. ``handled`` names the nodes that have an error handler."""

    def __init__(
        self, notes: Noting, tracer: Tracer, *, is_async: bool, handled: frozenset[str], api: Any = OURS
    ) -> None:
        super().__init__(api, is_async=is_async)
        self.notes = notes
        self.tracer = tracer
        self.handled = handled
        self.routers = 0

    def options(self, node: Node) -> dict[str, Any]:
        options = super().options(node)
        if node.name in self.handled:
            options["error_handler"] = self.handler(node)
        return options

    def handler(self, node: Node) -> Any:
        def handle(state: Any, error: NodeError, runtime: Runtime) -> dict[str, Any]:
            name = f"__error_handler__{node.name}"
            info = runtime.execution_info
            assert info is not None
            # LangGraph's runtime tells a handler the id of the task that failed.
            task = get_config()["configurable"]["__pregel_task_id"] if self.api is LANGGRAPH else None
            # In a graph elsewhere it would be in the span of the node that this is, whose handler it is not.
            traced = self.notes.here
            with self.notes.call(name, runtime, task, traced=traced) as noted, self.inside(noted):
                failed = info.task_id if task else getattr(error.error, "task_id", "")
                self.notes.handled_by(noted.task, failed)
                return {"log": [f"{node.name} failed"], "total": 1}

        async def handle_later(state: Any, error: NodeError, runtime: Runtime) -> dict[str, Any]:
            return handle(state, error, runtime)

        # What LangGraph runs in a thread outlives its end.
        return handle_later if self.is_async and self.api is LANGGRAPH else handle

    def router(self, route: Route, _: str = "") -> Any:
        name = f"route{self.routers}"
        self.routers += 1

        def choose(state: Any, runtime: Runtime) -> Any:
            chosen: list[Any] = list(route.targets)
            if state.get("total", 0) >= route.below:
                chosen = ["__end__"]
            elif route.items:
                chosen = [self.api.Send(to, {"item": item}) for to in route.targets for item in route.items]
            info = runtime.execution_info
            assert info is not None
            names = tuple(one.node if isinstance(one, PACKETS) else one for one in chosen)
            self.notes.chose(info.task_id, name, chosen, names)
            return chosen

        choose.__name__ = name
        return choose

    def action(self, node: Node, own_keys: bool) -> Any:
        inner, on_loop = None, self.is_async
        if node.graph is not None:
            # What a sync node calls is sync all through.
            self.is_async = on_loop and (node.is_async or not node.calls)
            inner, self.is_async = self.graph(node.graph), on_loop
        if inner is not None and not node.calls:
            return inner

        attempts = Attempts()

        def work(state: Any, writer: Any) -> dict[str, Any]:
            tag = f"{node.name}{state.get('item', '')}"
            for said in range(node.says):
                writer({"by": node.name, "says": f"{tag}.{said}"})
            if attempts.of(tag) <= node.fails:
                raise ConnectionError(f"{tag} failed at first")
            answers = [self.api.interrupt(f"{tag}?{asked}") for asked in range(node.asks)]
            if node.raises:
                raise ERRORS[node.raises](f"{tag} failed")
            update = {"log": [tag, *map(str, answers)], "total": 1}
            return update | ({"note": [tag]} if own_keys else {"last": tag} if node.sets_last else {})

        if self.is_async and node.is_async:
            return self._awaiting(node, inner, work)

        def act(state: Any, writer: StreamWriter, runtime: Runtime) -> Any:
            with self.notes.call(node.name, runtime) as noted, self.inside(noted):
                update = work(state, writer)
                if inner is not None:
                    update["log"] = [*update["log"], *inner.invoke({"log": [], "total": 0})["log"]]
                if node.message == "streamed":
                    update["messages"] = model(node).invoke("go on")
                return self.noted_answer(node, update, noted)

        return act

    def _awaiting(self, node: Node, inner: Any, work: Any) -> Any:
        async def act(state: Any, writer: StreamWriter, runtime: Runtime) -> Any:
            with self.notes.call(node.name, runtime) as noted, self.inside(noted):
                update = work(state, writer)
                await asyncio.sleep(0)
                if inner is not None:
                    update["log"] = [*update["log"], *(await inner.ainvoke({"log": [], "total": 0}))["log"]]
                if node.message == "streamed":
                    update["messages"] = await model(node).ainvoke("go on")
                return self.noted_answer(node, update, noted)

        return act

    def inside(self, noted: Call) -> Any:
        """Open a span, the way a node's own code does: it belongs where the node is."""
        if not noted.traced:
            return nullcontext()
        return self.tracer.start_as_current_span(
            f"inside {noted.number}", record_exception=False, set_status_on_exception=False
        )

    def noted_answer(self, node: Node, update: dict[str, Any], noted: Call) -> Any:
        if node.returns in ("command", "commands"):
            self.notes.went(noted.task, node.name, node.goto)
        elif node.returns == "parent":
            self.notes.left(noted.task, node.goto)
        return self.answer(node, update)


class NotingSaver:
    """Notes down which run stored a checkpoint, and which checkpoint a run began with."""

    def __init__(self, *, signed: bool) -> None:
        super().__init__()
        #: Whether every checkpoint says who has stored it.
        self.signed = signed
        self.leg = 0
        #: Namespace and id of a checkpoint → the leg that stored it, or was interrupted there later.
        self.stored: dict[tuple[str, str], int] = {}
        #: Leg and namespace → the checkpoints that were loaded there, one after the other.
        self.loaded: dict[tuple[int, str], list[Any]] = defaultdict(list)
        #: Namespace → the id of the checkpoint that its run has come to.
        self.current: dict[str, str] = {}

    def get_tuple(self, config: Any) -> Any:
        found = super().get_tuple(config)
        if found is not None:
            place = (self.leg, config["configurable"].get("checkpoint_ns", ""))
            self.loaded[place].append(copy.deepcopy(found.checkpoint))  # what it becomes is the run's own
            self.current[place[1]] = found.checkpoint["id"]
        return found

    def interrupted(self, namespace: str) -> None:
        """Take note that a run waits where it has come to."""
        if namespace in self.current:
            self.stored[namespace, self.current[namespace]] = self.leg

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        place = (config["configurable"].get("checkpoint_ns", ""), checkpoint["id"])
        if self.signed:
            self.stored[place] = self.leg
        self.current[place[0]] = place[1]
        return super().put(config, checkpoint, metadata, new_versions)


def noting_saver(api: Any, *, signed: bool) -> Any:
    """Make a saver of an engine's that notes."""
    return type("Saver", (NotingSaver, api.InMemorySaver), {})(signed=signed)


def subgraphs_of(graph: Graph) -> Iterator[Graph]:
    """Yield a graph and all that are in it."""
    yield graph
    for node in graph.nodes:
        if node.graph is not None:
            yield from subgraphs_of(node.graph)
