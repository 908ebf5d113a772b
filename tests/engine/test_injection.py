"""Which parameters of a node are filled in, and which are the user's own."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypedDict

import anyio
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime as LangGraphRuntime
from langgraph.store.base import BaseStore as LangGraphStore
from langgraph.types import StreamWriter as LangGraphWriter

from engine import START, InMemorySaver, InMemoryStore, Runtime, StateGraph, StreamWriter, entrypoint, task
from engine.store.base import BaseStore
from engine.types import Config

if TYPE_CHECKING:
    import somewhere  # type: ignore[import-not-found]


class S(TypedDict, total=False):
    seen: Any


class Settings:
    pass


class VectorStore:
    pass


SETTINGS, VECTORS = Settings(), VectorStore()


def kind_given_to(node: Any) -> str:
    """The name of the type of what the node gets, which it returns as ``seen``."""
    graph = StateGraph(S).add_node("n", node).add_edge(START, "n").compile(store=InMemoryStore())
    return type(graph.invoke({})["seen"]).__name__


def bare_config(s: S, config):
    return {"seen": config}  # type: ignore[no-untyped-def]


def optional_config(s: S, config=None):
    return {"seen": config}  # type: ignore[no-untyped-def]


def stand_in_config(s: S, config={}):  # noqa: B006 - as people write it

    return {"seen": config}  # type: ignore[no-untyped-def]


def langchain_config(s: S, config: RunnableConfig) -> S:
    return {"seen": config}


def maybe_config(s: S, config: RunnableConfig | None = None) -> S:
    return {"seen": config}


def old_maybe_config(s: S, config: RunnableConfig | None = None) -> S:
    return {"seen": config}


def our_config(s: S, config: Config) -> S:
    return {"seen": config}


def dict_config(s: S, config: dict[str, Any]) -> S:
    return {"seen": config}


def any_config(s: S, *, config: Any) -> S:
    return {"seen": config}


def bare_store(s: S, store):
    return {"seen": store}  # type: ignore[no-untyped-def]


def our_store(s: S, store: BaseStore | None = None) -> S:
    return {"seen": store}


def langgraph_store(s: S, store: LangGraphStore) -> S:
    return {"seen": store}


def unseen_store(s: S, store: somewhere.BaseStore | None = None) -> S:
    return {"seen": store}


def particular_store(s: S, store: InMemoryStore) -> S:
    return {"seen": store}


def bare_writer(s: S, writer=print):
    return {"seen": writer}  # type: ignore[no-untyped-def]


def our_writer(s: S, writer: StreamWriter = print) -> S:
    return {"seen": writer}


def langgraph_writer(s: S, writer: LangGraphWriter) -> S:
    return {"seen": writer}


def bare_runtime(s: S, runtime):
    return {"seen": runtime}  # type: ignore[no-untyped-def]


def our_runtime(s: S, runtime: Runtime[Any]) -> S:
    return {"seen": runtime}


def langgraph_runtime(s: S, runtime: LangGraphRuntime[Any] | None = None) -> S:
    return {"seen": runtime}


def any_runtime(s: S, runtime: Any = None) -> S:
    return {"seen": runtime}


@pytest.mark.parametrize(
    ("node", "given"),
    [
        *(
            (node, "dict")
            for node in (
                bare_config,
                optional_config,
                stand_in_config,
                langchain_config,
                maybe_config,
                old_maybe_config,
                our_config,
                dict_config,
                any_config,
            )
        ),
        *(
            (node, "InMemoryStore")
            for node in (
                bare_store,
                our_store,
                langgraph_store,
                unseen_store,
                particular_store,
            )
        ),
        *((node, "function") for node in (bare_writer, our_writer, langgraph_writer)),
        *((node, "Runtime") for node in (bare_runtime, our_runtime, langgraph_runtime, any_runtime)),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_is_not_annotated_or_with_our_type_is_filled_in(node: Any, given: str) -> None:
    assert kind_given_to(node) == given


def own_config(s: S, config: Settings = SETTINGS) -> S:
    return {"seen": config}


def own_default(s: S, config=SETTINGS):
    return {"seen": config}  # type: ignore[no-untyped-def]


def own_store(s: S, store: VectorStore = VECTORS) -> S:
    return {"seen": store}


def own_unseen(s: S, store: somewhere.VectorStore = VECTORS) -> S:
    return {"seen": store}  # type: ignore[no-any-unimported]


def own_writer(s: S, writer: int = 1) -> S:
    return {"seen": writer}


def own_runtime(s: S, runtime: float = 1.5) -> S:
    return {"seen": runtime}


def own_previous(s: S, previous: int = 1) -> S:
    return {"seen": previous}


def own_keyword(s: S, *, store: VectorStore = VECTORS) -> S:
    return {"seen": store}


class Nodes:
    def method(self, s: S, config: Settings = SETTINGS) -> S:
        return {"seen": config}

    def __call__(self, s: S, store: VectorStore = VECTORS) -> S:
        return {"seen": store}


@wraps(own_store)
def wrapped(*args: Any, **kwargs: Any) -> S:
    return own_store(*args, **kwargs)


@pytest.mark.parametrize(
    ("node", "kept"),
    [
        (own_config, "Settings"),
        (own_default, "Settings"),
        (own_store, "VectorStore"),
        (own_unseen, "VectorStore"),
        (own_writer, "int"),
        (own_runtime, "float"),
        (own_previous, "int"),
        (own_keyword, "VectorStore"),
        (Nodes().method, "Settings"),
        (Nodes(), "VectorStore"),
        (wrapped, "VectorStore"),
        (partial(bare_config, config=Settings()), "Settings"),
        (partial(own_config, config=Settings()), "Settings"),
        (partial(partial(bare_store, store=VectorStore())), "VectorStore"),
    ],
    ids=range(14),
)
def test_a_parameter_of_another_kind_is_the_users_own(node: Any, kept: str) -> None:
    assert kind_given_to(node) == kept


class Tasks:
    def method(self, n: int, config: RunnableConfig) -> Any:
        return config

    @classmethod
    def of_class(cls, n: int, *, store: BaseStore) -> Any:
        return store

    @staticmethod
    async def of_none(n: int, writer: StreamWriter = print) -> Any:
        return writer

    def __call__(self, n: int, runtime: Runtime[Any]) -> Any:
        return runtime


def call_given(n: int, config, store, writer=None):  # type: ignore[no-untyped-def]
    return [config, store, writer]


def call_own(n: int, config: Settings = SETTINGS, store: VectorStore = VECTORS) -> Any:
    return [config, store]


def kinds_given_to(call: Any, *args: Any, **kwargs: Any) -> list[str]:
    """The names of the types of what the task gets, which it returns."""

    @entrypoint(store=InMemoryStore())
    async def main(x: int) -> Any:
        return await task(call)(1, *args, **kwargs)

    found = anyio.run(main.ainvoke, 1)
    return [type(one).__name__ for one in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (call_given, ["dict", "InMemoryStore", "function"]),
        (partial(call_given), ["dict", "InMemoryStore", "function"]),
        (partial(call_given, store=VECTORS), ["dict", "VectorStore", "function"]),
        (call_own, ["Settings", "VectorStore"]),
        (Tasks().method, ["dict"]),
        (Tasks.of_class, ["InMemoryStore"]),
        (Tasks.of_none, ["function"]),
        (Tasks(), ["Runtime"]),
    ],
    ids=range(8),
)
def test_a_functional_task_is_given_what_a_node_is(call: Any, given: list[str]) -> None:
    assert kinds_given_to(call) == given


def test_what_its_caller_gives_a_functional_task_comes_first() -> None:
    assert kinds_given_to(call_given, SETTINGS) == ["Settings", "InMemoryStore", "function"]
    assert kinds_given_to(call_given, SETTINGS, VECTORS) == ["Settings", "VectorStore", "function"]
    assert kinds_given_to(call_given, store=VECTORS) == ["dict", "VectorStore", "function"]


def test_a_functional_task_is_given_what_its_entrypoint_remembers() -> None:
    @task
    def more(n: int, previous: int | None = None) -> int:
        return (previous or 0) + n

    @entrypoint(checkpointer=InMemorySaver())
    def counting(x: int) -> Any:
        return more(x).result()

    config = {"configurable": {"thread_id": "1"}}
    assert [counting.invoke(1, config), counting.invoke(1, config)] == [1, 2]


def test_a_parameter_that_is_not_ours_and_has_no_value_is_missed_aloud() -> None:
    def node(s: S, store: VectorStore) -> S:
        return {"seen": store}

    with pytest.raises(TypeError, match="store"):
        kind_given_to(node)


def test_an_entrypoint_is_given_what_it_remembers_in_place_of_a_default() -> None:
    @entrypoint(checkpointer=InMemorySaver())
    def counting(x: int, previous: int | None = 7) -> int:
        return (previous or 0) + x

    config = {"configurable": {"thread_id": "1"}}
    assert [counting.invoke(1, config), counting.invoke(1, config)] == [1, 2]


async def test_what_a_generator_yields_last_is_its_answer() -> None:
    def steps(s: S):  # type: ignore[no-untyped-def]
        yield {"seen": 1}
        yield {"seen": 2}

    async def asteps(s: S):  # type: ignore[no-untyped-def]
        yield {"seen": 3}
        yield {"seen": s["seen"] + 2}

    graph = StateGraph(S).add_node("a", steps).add_node("b", asteps).add_edge(START, "a").add_edge("a", "b")
    assert await graph.compile().ainvoke({}) == {"seen": 4}
