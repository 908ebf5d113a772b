"""``@entrypoint`` and ``@task``: functions as graphs, their calls as tasks."""

from collections import Counter
from functools import partial
from typing import Any

import pytest

from engine import CachePolicy, Command, InMemoryCache, InMemorySaver, entrypoint, interrupt, task

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}


@task
def double(n: int) -> int:
    return 2 * n


def test_a_task_is_shown_before_whoever_called_it() -> None:
    @entrypoint()
    def graph(n: int) -> int:
        return double(double(n).result()).result()

    assert list(graph.stream(1)) == [{"double": 2}, {"double": 4}, {"graph": 4}]


@pytest.mark.anyio
async def test_sync_code_in_an_async_run_waits_for_tasks_in_threads() -> None:
    @entrypoint()
    def graph(n: int) -> list[int]:
        return [one.result() for one in [double(n), double(n + 1)]]

    assert await graph.ainvoke(1) == [2, 4]


@pytest.mark.anyio
async def test_async_code_awaits_sync_tasks() -> None:
    @entrypoint()
    async def graph(n: int) -> int:
        return int(await double(n))

    assert await graph.ainvoke(1) == 2


def test_what_has_ended_is_not_done_again_and_what_asked_is() -> None:
    calls: Counter[str] = Counter()

    @task
    def ask(question: str) -> str:
        calls[question] += 1
        return str(interrupt(question))

    @entrypoint(checkpointer=InMemorySaver())
    def graph(_: Any) -> list[str]:
        return [one.result() for one in [ask("A"), ask("B")]]

    graph.invoke(1, CONFIG)
    ids = {i.value: i.id for i in graph.get_state(CONFIG).interrupts}
    assert list(ids) == ["A"]
    graph.invoke(Command(resume={ids["A"]: "x"}), CONFIG)
    (second,) = graph.get_state(CONFIG).interrupts
    assert graph.invoke(Command(resume={second.id: "y"}), CONFIG) == ["x", "y"]
    assert calls == {"A": 2, "B": 3}


def test_what_a_task_asks_is_shown_once() -> None:
    @task
    def ask() -> str:
        return str(interrupt("?"))

    @entrypoint(checkpointer=InMemorySaver())
    def graph(_: Any) -> str:
        return str(ask().result())

    (shown,) = graph.stream(1, CONFIG)
    assert [i.value for i in shown["__interrupt__"]] == ["?"]


def test_a_task_goes_by_the_name_of_what_it_wraps() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    plus_one = task(partial(add, 1))

    @entrypoint()
    def graph(n: int) -> int:
        return int(plus_one(n).result())

    assert list(graph.stream(1)) == [{"add": 2}, {"graph": 2}]


def test_cached_tasks_are_called_once_until_their_cache_is_cleared() -> None:
    calls: list[int] = []
    cache = InMemoryCache()

    @task(cache_policy=CachePolicy())
    def slow(n: int) -> int:
        calls.append(n)
        return n

    @entrypoint(cache=cache)
    def graph(n: int) -> int:
        return int(slow(n).result())

    assert [graph.invoke(1), graph.invoke(1), calls] == [1, 1, [1]]
    slow.clear_cache(cache)
    assert [graph.invoke(1), calls] == [1, [1, 1]]


@pytest.mark.parametrize("make", [lambda: task(timeout=0), lambda: entrypoint(timeout=0)])
def test_no_time_at_all_is_refused_at_once(make: Any) -> None:
    with pytest.raises(ValueError, match="run_timeout must be greater than 0 seconds, not 0"):
        make()


def test_a_thread_can_not_be_given_a_time_limit() -> None:
    with pytest.raises(ValueError, match="only supported for async nodes"):
        task(timeout=1)(lambda: None)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("width", [1, 12])
def test_tasks_that_wait_for_tasks_never_wait_for_threads(width: int) -> None:
    @task
    def quadruple(n: int) -> int:
        return int(double(double(n).result()).result())

    @entrypoint()
    def graph(_: Any) -> list[int]:
        return [one.result() for one in [quadruple(n) for n in range(width)]]

    shown = list(graph.stream(1, {"max_concurrency": 1}))
    assert shown[-1] == {"graph": [4 * n for n in range(width)]}


def test_beside_what_it_waits_for_a_flow_shows_no_value() -> None:
    @entrypoint(checkpointer=InMemorySaver())
    def flow(x: int) -> Any:
        return interrupt("?")

    config = {"configurable": {"thread_id": "1"}}
    (part,) = flow.stream(1, config, stream_mode="values", version="v2")
    assert (part["data"], [one.value for one in part["interrupts"]]) == ({}, ["?"])
