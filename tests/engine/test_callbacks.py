"""``config["callbacks"]``, and tracers that are on without it: who is told of what, on whose event loop."""

import asyncio
import json
import subprocess
import sys
import threading
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import langgraph.callbacks
import langgraph.func
import langgraph.graph
import langgraph.types
import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    CallbackManager,
    dispatch_custom_event,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import register_configure_hook
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver

import engine
from engine import Command, InMemorySaver, StateGraph
from engine.callbacks import GraphCallbackHandler, GraphInterruptEvent, GraphResumeEvent
from tests.engine.test_runnable import Tree, asks, fails, graph_of


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


def threaded(thread: str = "1", **config: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}, **config}


# -- async handlers --------------------------------------------------------------------------------


class Awaits(AsyncCallbackHandler):
    """Waits on the loop it was made on before it writes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.names: dict[Any, str] = {}
        self.lock = asyncio.Lock()
        self.loops: set[Any] = set()

    async def _tell(self, what: str) -> None:
        async with self.lock:
            await asyncio.sleep(0)
            self.loops.add(asyncio.get_running_loop())
            self.seen.append(what)

    async def on_chain_start(self, s: Any, i: Any, *, run_id: Any, name: Any = None, **_: Any) -> None:
        self.names[run_id] = name
        await self._tell(f"+{name}")

    async def on_chain_end(self, o: Any, *, run_id: Any, **_: Any) -> None:
        await self._tell(f"-{self.names[run_id]}")

    async def on_chain_error(self, e: BaseException, *, run_id: Any, **_: Any) -> None:
        await self._tell(f"x{self.names[run_id]} {type(e).__name__}")

    async def on_custom_event(self, name: str, data: Any, *, run_id: Any, **_: Any) -> None:
        await self._tell(f"!{self.names[run_id]} {name}")


async def test_async_handlers_are_awaited_on_the_loop_of_the_run() -> None:
    handler = Awaits()
    await graph_of().ainvoke({}, {"callbacks": [handler]})
    assert handler.seen == ["+LangGraph", "+a", "-a", "-LangGraph"]
    assert handler.loops == {asyncio.get_running_loop()}
    with pytest.raises(LookupError):
        await graph_of(fails).ainvoke({}, {"callbacks": [handler]})
    assert handler.seen[4:] == ["+LangGraph", "+a", "xa LookupError", "xLangGraph LookupError"]


async def test_a_cancelled_run_tells_async_handlers_of_its_end() -> None:
    handler, begun = Awaits(), asyncio.Event()

    async def waits(state: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(graph_of(waits).ainvoke({}, {"callbacks": [handler]}))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert handler.seen == ["+LangGraph", "+a", "xa CancelledError", "xLangGraph CancelledError"]


def test_async_handlers_of_a_run_without_an_event_loop_are_told_too() -> None:
    async def make() -> Awaits:
        return Awaits()

    handler = asyncio.run(make())
    graph_of(lambda s: dispatch_custom_event("mine", 1)).invoke({}, {"callbacks": [handler]})
    assert handler.seen == ["+LangGraph", "+a", "!a mine", "-a", "-LangGraph"]


class Refuses(BaseCallbackHandler):
    raise_error = True

    def __init__(self, what: str, name: str) -> None:
        self.what, self.name = what, name

    def on_chain_start(self, s: Any, i: Any, *, name: Any = None, **_: Any) -> None:
        if (self.what, self.name) == ("start", name):
            raise PermissionError(name)

    def on_chain_end(self, o: Any, **_: Any) -> None:
        if self.what == "end":
            raise PermissionError


@pytest.mark.parametrize(("what", "name"), [("start", "LangGraph"), ("start", "a"), ("end", "")])
@pytest.mark.parametrize("lib", [StateGraph, langgraph.graph.StateGraph])
def test_a_handler_that_raises_errors_fails_the_run(what: str, name: str, lib: Any) -> None:
    with pytest.raises(PermissionError):
        graph_of(lib=lib).invoke({}, {"callbacks": [Refuses(what, name)]})


async def test_a_run_that_a_handler_refuses_ends_for_who_watches_it() -> None:
    config: Any = {"callbacks": [Refuses("start", "LangGraph")]}
    async with graph_of().open_stream({}, config=config) as stream:
        with pytest.raises(PermissionError):
            await stream.wait()
    assert stream.end is not None


# -- functional tasks ------------------------------------------------------------------------------


def flow_of(lib: Any) -> Any:
    @lib.task
    def double(x: int, *rest: int, by: int = 2, **more: int) -> int:
        return x * by

    @lib.task
    def outer(x: int) -> int:
        return int(double(x, 7, extra=1).result())

    @lib.entrypoint()
    def flow(x: int) -> int:
        return int(outer(x).result() + double(x).result())

    return flow


class Inputs(Tree):
    def on_chain_start(
        self, s: Any, i: Any, *, run_id: Any, parent_run_id: Any = None, name: Any = None, **_: Any
    ) -> None:
        super().on_chain_start(s, i, run_id=run_id, parent_run_id=parent_run_id, name=name)
        self.seen[-1] += f" {i} {_['tags']}"


def test_calls_of_tasks_are_told_of_below_who_calls_them_with_their_arguments() -> None:
    def told(lib: Any) -> list[str]:
        tree = Inputs()
        assert flow_of(lib).invoke(3, {"callbacks": [tree]}) == 12
        return tree.seen

    ours = told(engine)
    assert sorted(ours) == sorted(told(langgraph.func))
    assert "+LangGraph/flow/outer {'x': 3} ['seq:step:1']" in ours


# -- the lifecycle ---------------------------------------------------------------------------------


class Lifecycle(GraphCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.root: Any = None

    def on_chain_start(self, s: Any, i: Any, *, run_id: Any, parent_run_id: Any = None, **_: Any) -> None:
        self.root = self.root if parent_run_id else run_id

    def on_interrupt(self, event: GraphInterruptEvent) -> None:
        assert event.run_id == self.root
        asked = [one.value for one in event.interrupts]
        self.seen.append(("waits", event.status, bool(event.checkpoint_id), event.checkpoint_ns, asked))

    def on_resume(self, event: GraphResumeEvent) -> None:
        ns = tuple(level.partition(":")[0] for level in event.checkpoint_ns)
        self.seen.append(("goes on", event.status, bool(event.checkpoint_id), ns))


class Theirs(Lifecycle, langgraph.callbacks.GraphCallbackHandler):
    """One of LangGraph's, too."""


def theirs_asks(state: Any) -> Any:
    return {"log": [langgraph.types.interrupt("q")]}


@pytest.mark.parametrize("inside", [False, True], ids=["flat", "in a subgraph"])
@pytest.mark.parametrize("stop", ["interrupt", "interrupt_before", "interrupt_after"])
def test_the_lifecycle_is_told_as_langgraph_tells_it(stop: str, inside: bool) -> None:
    def told(lib: Any, saver: Any, ask: Any, handler: Any, command: Any) -> list[Any]:
        stops = {} if stop == "interrupt" else {stop: ["a"]}
        node = ask if stop == "interrupt" else lambda s: {"log": ["x"]}
        graph = graph_of(graph_of(node, lib) if inside else node, lib, checkpointer=saver, **stops)
        config = threaded(callbacks=[handler])
        graph.invoke({}, config)
        graph.invoke(command(resume="yes") if stop == "interrupt" else None, config)
        return list(handler.seen)

    ours = told(StateGraph, InMemorySaver(), asks, Lifecycle(), Command)
    assert ours == told(
        langgraph.graph.StateGraph, LangGraphSaver(), theirs_asks, Theirs(), langgraph.types.Command
    )
    assert len(ours) >= 2


def test_handlers_in_a_manager_are_told_of_the_lifecycle() -> None:
    handler = Lifecycle()
    manager = CallbackManager.configure(inheritable_callbacks=[Tree()])
    manager.add_handler(handler)
    graph_of(asks, checkpointer=InMemorySaver()).invoke({}, threaded(callbacks=manager))
    assert handler.seen == [("waits", "pending", True, (), ["q"])]


# -- tracers that are on without a config ------------------------------------------------------------


HOOK: ContextVar[Any] = ContextVar("HOOK", default=None)
register_configure_hook(HOOK, inheritable=True)


def test_a_handler_in_a_context_variable_gets_graph_and_nodes_as_one_tree() -> None:
    def told(lib: Any) -> list[str]:
        tree, inner = (
            Tree(),
            graph_of(lambda s: {"log": [RunnableLambda(len).invoke("x")]}, lib, name="inner"),
        )
        token = HOOK.set(tree)
        try:
            graph_of(inner, lib).invoke({})
        finally:
            HOOK.reset(token)
        return tree.seen

    assert told(StateGraph) == told(langgraph.graph.StateGraph)


PROGRAM = """
import sys
from engine import START, StateGraph
inner = StateGraph(dict).add_node("b", lambda s: {"x": 1}).add_edge(START, "b").compile(name="inner")
graph = StateGraph(dict).add_node("a", inner).add_edge(START, "a").compile(name="outer")
print(graph.invoke({}))
"""


#: The tracer's threads are given the time to send.
SENDS = "from langchain_core.tracers.langchain import wait_for_all_tracers; wait_for_all_tracers()"


def run_traced(endpoint: str, then: str = "") -> subprocess.CompletedProcess[str]:
    env = {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_API_KEY": "none",
        "LANGSMITH_ENDPOINT": endpoint,
        "PATH": "/usr/bin",
    }
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + then],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_tracer_whose_service_cannot_be_reached_breaks_no_run() -> None:
    done = run_traced("http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (0, "{'x': 1}\n")


def test_tracing_that_is_on_by_environment_alone_gets_the_whole_tree() -> None:
    bodies: list[bytes] = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            limits = {"size_limit": 100, "size_limit_bytes": 1 << 24, "scale_up_nthreads_limit": 1}
            batches = {"use_multipart_endpoint": False, "scale_up_qsize_trigger": 1000, **limits}
            self._answer(json.dumps({"batch_ingest_config": batches}).encode())

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self._answer(b"{}")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        done = run_traced(f"http://127.0.0.1:{server.server_port}", SENDS)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert done.stdout == "{'x': 1}\n"
    runs = [run for body in bodies for run in json.loads(body).get("post", [])]
    names = {run["id"]: run["name"] for run in runs}
    assert sorted((run["name"], names.get(run.get("parent_run_id"))) for run in runs) == [
        ("a", "outer"),
        ("b", "inner"),
        ("inner", "a"),
        ("outer", None),
    ]
