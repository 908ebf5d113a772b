"""The graphs that every contender runs, described once for LangGraph and for our engine.

Imported in the environments of the peers, where nothing of otel-stream is installed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

from opentelemetry import trace

#: Supersteps of one run of the loop whose cost is measured.
STEPS = 100
#: Bytes of the part of the state that never changes, and of what one superstep adds.
DOCUMENT, LINE = 100_000, 100

#: Words that can be found in whatever is exported.
CUSTOM, STATE, REASON, METADATA = (
    f"canary-{where}" for where in ("custom", "state", "exception", "metadata")
)
THREAD = "canary-thread"


def library(ours: bool) -> SimpleNamespace:
    """Return the names of one of the two libraries."""
    if ours:
        everything = vars(import_module("engine"))
    else:
        modules = ("constants", "graph", "types", "config", "checkpoint.memory")
        everything = {}
        for module in modules:
            everything |= vars(import_module(f"langgraph.{module}"))
    wanted = (
        "StateGraph",
        "START",
        "END",
        "Command",
        "InMemorySaver",
        "RetryPolicy",
        "get_stream_writer",
        "interrupt",
    )
    quick = {"quick": True} if ours else {}  # for routers: LangGraph has no such thing
    return SimpleNamespace(quick=quick, **{name: everything[name] for name in wanted})


class Count(TypedDict):
    """The smallest state there is."""

    n: int


def loop(names: SimpleNamespace) -> Any:
    """Return a graph of ``STEPS`` supersteps: one node that counts, one conditional edge."""

    async def count(state: Count) -> Count:
        return {"n": state["n"] + 1}

    def again(state: Count) -> str:
        return "count" if state["n"] < STEPS else names.END

    builder = names.StateGraph(Count)
    builder.add_node("count", count)
    builder.add_edge(names.START, "count")
    builder.add_conditional_edges("count", again, ["count", names.END], **names.quick)
    return builder.compile()


class Document(TypedDict):
    """A long text that stays, and a log that grows."""

    document: str
    log: Annotated[list[str], operator.add]
    n: int


def document() -> str:
    """Return the text, no part of it twice: so that it is not found by accident."""
    return "".join(f"{n:05d}" for n in range(DOCUMENT // 5))


def line(number: int) -> str:
    """Return what one superstep adds, no two the same."""
    return f"{number:04d}".ljust(LINE, "x")


def growing(names: SimpleNamespace, steps: int) -> Any:
    """Return a graph that adds a line of ``LINE`` bytes to its state in each of ``steps`` supersteps."""

    async def write(state: Document) -> dict[str, Any]:
        n = state["n"] + 1
        return {"log": [line(n)], "n": n}

    def again(state: Document) -> str:
        return "write" if state["n"] < steps else names.END

    builder = names.StateGraph(Document)
    builder.add_node("write", write)
    builder.add_edge(names.START, "write")
    builder.add_conditional_edges("write", again, ["write", names.END], **names.quick)
    return builder.compile()


class Found(TypedDict):
    """What the nodes of the scene leave behind."""

    secret: str
    found: Annotated[list[str], operator.add]


#: The scene's supersteps, as they happen. ``flaky`` takes two attempts, ``omega`` runs twice.
SUPERSTEPS = (("alpha",), ("beta", "gamma"), ("delta",), ("flaky",), ("omega",), ("omega",))
#: Which task made which one run: (node, which of its tasks), from 0.
EDGES = (
    (("alpha", 0), ("beta", 0)),
    (("alpha", 0), ("gamma", 0)),
    (("beta", 0), ("delta", 0)),
    (("gamma", 0), ("delta", 0)),
    (("delta", 0), ("flaky", 0)),
    (("flaky", 0), ("omega", 0)),
    (("omega", 0), ("omega", 1)),
)
#: The functions behind conditional edges, which are no nodes.
ROUTERS = ("onwards", "once_more")
USER_SPAN = "work of the user"


class Refused(Exception):
    """What the node that fails raises."""


def scene(names: SimpleNamespace) -> Any:
    """Return the graph of ``SUPERSTEPS``: a fork and a join, a retry, a loop, a user's span in ``beta``."""
    failures: list[str] = []

    def leaving(name: str) -> Callable[[Found], Any]:
        async def node(_: Found) -> dict[str, Any]:
            return {"found": [name]}

        return node

    async def alpha(_: Found) -> dict[str, Any]:
        names.get_stream_writer()({"progress": CUSTOM})
        return {"found": ["alpha"]}

    async def beta(_: Found) -> dict[str, Any]:
        with trace.get_tracer("user").start_as_current_span(USER_SPAN):
            return {"found": ["beta"]}

    async def flaky(_: Found) -> dict[str, Any]:
        failures.append("flaky")
        if len(failures) % 2:
            raise ConnectionError("try again")
        return {"found": ["flaky"]}

    def onwards(_: Found) -> str:
        return "flaky"

    def once_more(state: Found) -> str:
        return "omega" if state["found"].count("omega") < 2 else names.END

    builder = names.StateGraph(Found)
    retry = names.RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False)
    for name, node in {
        "alpha": alpha,
        "beta": beta,
        "gamma": leaving("gamma"),
        "delta": leaving("delta"),
    }.items():
        builder.add_node(name, node)
    builder.add_node("flaky", flaky, retry_policy=retry)
    builder.add_node("omega", leaving("omega"))
    builder.add_edge(names.START, "alpha")
    builder.add_edge("alpha", "beta")
    builder.add_edge("alpha", "gamma")
    builder.add_edge(["beta", "gamma"], "delta")
    builder.add_conditional_edges("delta", onwards, ["flaky"], **names.quick)
    builder.add_edge("flaky", "omega")
    builder.add_conditional_edges("omega", once_more, ["omega", names.END], **names.quick)
    return builder.compile(name="scene")


def asking(names: SimpleNamespace) -> Any:
    """Return a graph whose node ``ask`` waits for an answer."""

    async def ask(_: Found) -> dict[str, Any]:
        return {"found": [names.interrupt("which one?")]}

    builder = names.StateGraph(Found)
    builder.add_node("ask", ask)
    builder.add_edge(names.START, "ask")
    builder.add_edge("ask", names.END)
    return builder.compile(checkpointer=names.InMemorySaver(), name="asking")


def failing(names: SimpleNamespace) -> Any:
    """Return a graph whose node ``refuse`` raises ``Refused``."""

    async def refuse(_: Found) -> dict[str, Any]:
        raise Refused(REASON)

    builder = names.StateGraph(Found)
    builder.add_node("refuse", refuse)
    builder.add_edge(names.START, "refuse")
    builder.add_edge("refuse", names.END)
    return builder.compile(name="failing")
