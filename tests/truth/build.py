"""Graphs of ``tests/differential``, whose nodes and routers note down what they do."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
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
    end: str = "going on"


class Notes:
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
        self.lock = threading.Lock()
        #: Called with the number of every call, as it begins.
        self.when_called: Any = lambda number: None

    def next_leg(self) -> None:
        self.calls, self.routes = [], []

    @contextmanager
    def call(
        self, node: str, runtime: Runtime, numbers: Iterator[int], task: str | None = None
    ) -> Iterator[Call]:
        info = runtime.execution_info
        assert info is not None
        noted = Call(next(numbers), node, task or info.task_id, info.node_attempt)
        with self.lock:
            self.calls.append(noted)
        self.when_called(len(self.calls))
        try:
            yield noted
            noted.end = "ok"
        except INTERRUPTS:
            noted.end = "interrupted"
            raise
        except BUBBLES:
            noted.end = "ok"
            raise
        except Exception as error:
            noted.end = type(error).__name__
            error.task_id = info.task_id  # type: ignore[attr-defined]
            raise
        except BaseException:
            noted.end = "cancelled"
            raise


class NotingBuilder(Builder):
    """Builds one graph. ``handled`` names the nodes that have an error handler."""

    def __init__(
        self, notes: Notes, tracer: Tracer, *, is_async: bool, handled: frozenset[str], api: Any = OURS
    ) -> None:
        super().__init__(api, is_async=is_async)
        self.notes = notes
        self.tracer = tracer
        self.handled = handled
        self.attempts: Counter[str] = Counter()
        self.numbers = count()
        self.names = count()

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
            with self.notes.call(name, runtime, self.numbers, task) as noted, self.inside(noted):
                self.notes.handled[noted.task] = info.task_id if task else getattr(error.error, "task_id", "")
                return {"log": [f"{node.name} failed"], "total": 1}

        async def handle_later(state: Any, error: NodeError, runtime: Runtime) -> dict[str, Any]:
            return handle(state, error, runtime)

        # What LangGraph runs in a thread outlives its end.
        return handle_later if self.is_async and self.api is LANGGRAPH else handle

    def router(self, route: Route, _: str = "") -> Any:
        name = f"route{next(self.names)}"

        def choose(state: Any, runtime: Runtime) -> Any:
            chosen: list[Any] = list(route.targets)
            if state.get("total", 0) >= route.below:
                chosen = ["__end__"]
            elif route.items:
                chosen = [self.api.Send(to, {"item": item}) for to in route.targets for item in route.items]
            info = runtime.execution_info
            assert info is not None
            names = tuple(one.node if isinstance(one, PACKETS) else one for one in chosen)
            with self.notes.lock:
                self.notes.choices[info.task_id][name] = chosen
                self.notes.routes.append((info.task_id, name, names))
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

        def work(state: Any, writer: Any) -> dict[str, Any]:
            tag = f"{node.name}{state.get('item', '')}"
            for said in range(node.says):
                writer({"by": node.name, "says": f"{tag}.{said}"})
            with self.notes.lock:
                self.attempts[tag] += 1
                fails = self.attempts[tag] <= node.fails
            if fails:
                raise ConnectionError(f"{tag} failed at first")
            answers = [self.api.interrupt(f"{tag}?{asked}") for asked in range(node.asks)]
            if node.raises:
                raise ERRORS[node.raises](f"{tag} failed")
            update = {"log": [tag, *map(str, answers)], "total": 1}
            return update | ({"note": [tag]} if own_keys else {"last": tag} if node.sets_last else {})

        if self.is_async and node.is_async:
            return self._awaiting(node, inner, work)

        def act(state: Any, writer: StreamWriter, runtime: Runtime) -> Any:
            with self.notes.call(node.name, runtime, self.numbers) as noted, self.inside(noted):
                update = work(state, writer)
                if inner is not None:
                    update["log"] = [*update["log"], *inner.invoke({"log": [], "total": 0})["log"]]
                if node.message == "streamed":
                    update["messages"] = model(node).invoke("go on")
                return self.noted_answer(node, update, noted)

        return act

    def _awaiting(self, node: Node, inner: Any, work: Any) -> Any:
        async def act(state: Any, writer: StreamWriter, runtime: Runtime) -> Any:
            with self.notes.call(node.name, runtime, self.numbers) as noted, self.inside(noted):
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
        return self.tracer.start_as_current_span(
            f"inside {noted.number}", record_exception=False, set_status_on_exception=False
        )

    def noted_answer(self, node: Node, update: dict[str, Any], noted: Call) -> Any:
        if node.returns in ("command", "commands"):
            self.notes.commands[noted.task] = node.goto
            if node.goto:
                with self.notes.lock:
                    self.notes.routes.append((noted.task, node.name, node.goto))
        elif node.returns == "parent":
            self.notes.upwards[noted.task] = node.goto
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
