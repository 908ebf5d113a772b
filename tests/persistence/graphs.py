"""The same graph of either library, over any of LangGraph's savers and stores.

``python -m tests.persistence.graphs LIBRARY ACTION PLACES`` starts or resumes threads, and prints what it
saw.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import Any

import langgraph.graph
import langgraph.types
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.base import BaseStore
from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore

import engine
from tests.persistence.shapes import ANSWER, TREE, Colour, Part, Point, Question, State

#: Database → how to reach it synchronously, and how asynchronously: a saver and a store each.
KINDS: dict[str, dict[str, tuple[Any, Any]]] = {
    "sqlite": {"sync": (SqliteSaver, SqliteStore), "async": (AsyncSqliteSaver, AsyncSqliteStore)},
    "postgres": {"sync": (PostgresSaver, PostgresStore), "async": (AsyncPostgresSaver, AsyncPostgresStore)},
}
MODES = ("sync", "async")


@dataclass(frozen=True)
class Thread:
    """Who starts a thread, who resumes it, and how each reaches the database."""

    database: str
    started: str
    resumed: str
    writer: str
    reader: str

    @property
    def name(self) -> str:
        return f"{self.database}-{self.started}-{self.resumed}-{self.writer}-{self.reader}"


THREADS = [
    Thread(database, started, resumed, writer, reader)
    for database in KINDS
    for started in MODES
    for resumed in MODES
    for writer in ("engine", "langgraph")
    for reader in ("engine", "langgraph")
]


def _words(library: str) -> Any:
    return engine if library == "engine" else langgraph.types


def build(library: str, mode: str) -> Any:
    """Declare the graph: it remembers something, fans out, and one of the parts asks."""
    words = _words(library)

    def split(state: State) -> list[Any]:
        return [words.Send("work", Part(number, state["tree"])) for number in range(3)]

    def work(part: Part) -> dict[str, Any]:
        if part.number != 1:
            return {"points": [Point(part.number, Colour.BLUE)]}
        answer = words.interrupt(Question(part.tree.leaves["a"].point, tuple(part.tree.colours)))
        return {"answers": [answer], "points": [Point(part.number)]}

    def remember(state: State, *, store: BaseStore) -> dict[str, Any]:
        store.put(("people", "ada"), "likes", {"colour": "blue"})
        return {"tree": state["tree"], "asked": Question(Point(0))}

    async def aremember(state: State, *, store: BaseStore) -> dict[str, Any]:
        await store.aput(("people", "ada"), "likes", {"colour": "blue"})
        return {"tree": state["tree"], "asked": Question(Point(0))}

    def recall(state: State, *, store: BaseStore) -> dict[str, Any]:
        return {"remembered": [item.value["colour"] for item in store.search(("people",))]}

    async def arecall(state: State, *, store: BaseStore) -> dict[str, Any]:
        return {"remembered": [item.value["colour"] for item in await store.asearch(("people",))]}

    graph = (engine if library == "engine" else langgraph.graph).StateGraph(State)
    graph.add_node("remember", remember if mode == "sync" else aremember)
    graph.add_node("work", work)
    graph.add_node("recall", recall if mode == "sync" else arecall)
    graph.add_edge("__start__", "remember").add_conditional_edges("remember", split, ["work"])
    return graph.add_edge("work", "recall")


def seen(state: Any) -> list[str]:
    """Say what a snapshot shows, types included."""
    values = {key: state.values[key] for key in sorted(state.values)}
    tasks = sorted((task.name, repr(task.interrupts), repr(task.result)) for task in state.tasks)
    kinds = sorted({f"{type(one).__module__}" for one in state.interrupts})
    return [repr(values), repr(state.next), repr(tasks), repr(kinds)]


def input_of(library: str, action: str) -> Any:
    """Return what a run begins with."""
    return {"tree": TREE} if action == "start" else _words(library).Command(resume=ANSWER)


async def asynchronously(library: str, action: str, place: str, database: str, threads: list[Thread]) -> Any:
    """Run threads on an event loop, and return what was there after it."""
    saver_of, store_of = KINDS[database]["async"]
    async with AsyncExitStack() as stack:
        saver = await stack.enter_async_context(saver_of.from_conn_string(place))
        store = await stack.enter_async_context(store_of.from_conn_string(place))
        await saver.setup()
        await store.setup()
        graph = build(library, "async").compile(checkpointer=saver, store=store)
        found = {}
        for thread in threads:
            config = {"configurable": {"thread_id": thread.name}}
            before = seen(await graph.aget_state(config))
            result = await graph.ainvoke(input_of(library, action), config)
            found[thread.name] = [before, repr(sorted(result.items())), seen(await graph.aget_state(config))]
        return found


def synchronously(library: str, action: str, place: str, database: str, threads: list[Thread]) -> Any:
    """Do the same without one."""
    saver_of, store_of = KINDS[database]["sync"]
    with ExitStack() as stack:
        saver = stack.enter_context(saver_of.from_conn_string(place))
        store = stack.enter_context(store_of.from_conn_string(place))
        saver.setup()
        store.setup()
        graph = build(library, "sync").compile(checkpointer=saver, store=store)
        found = {}
        for thread in threads:
            config = {"configurable": {"thread_id": thread.name}}
            before = seen(graph.get_state(config))
            result = graph.invoke(input_of(library, action), config)
            found[thread.name] = [before, repr(sorted(result.items())), seen(graph.get_state(config))]
        return found


def main(library: str, action: str, places: dict[str, str]) -> None:
    """Start, or resume, all threads that are this library's to start or resume."""
    found = {}
    for database, place in places.items():
        for mode in MODES:
            if action == "start":
                threads = [t for t in THREADS if (t.writer, t.started) == (library, mode)]
            else:
                threads = [t for t in THREADS if (t.reader, t.resumed) == (library, mode)]
            threads = [thread for thread in threads if thread.database == database]
            if mode == "sync":
                found |= synchronously(library, action, place, database, threads)
            else:
                found |= asyncio.run(asynchronously(library, action, place, database, threads))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
