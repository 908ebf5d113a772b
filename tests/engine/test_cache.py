"""The cache in memory, and the keys of what is cached."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.cache.memory import InMemoryCache as LangGraphCache
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from engine.cache.key import default_cache_key
from engine.cache.memory import BaseCache, InMemoryCache

ROOT = Path(__file__).parents[2]

# -- beside LangGraph's cache ------------------------------------------------------------------------

keys = st.tuples(st.sampled_from([("n",), ("n", "m"), ("o",)]), st.sampled_from(["1", "2"]))
calls = st.one_of(
    st.tuples(
        st.just("set"),
        st.dictionaries(keys, st.tuples(st.integers(0, 9), st.sampled_from([None, 1_000, 0, -1]))),
    ),
    st.tuples(st.just("get"), st.lists(keys, max_size=4)),
    st.tuples(st.just("clear"), st.none() | st.lists(st.sampled_from([("n",), ("o",), ("p",)]), max_size=2)),
)


@given(st.lists(calls, max_size=12))
def test_every_call_answers_what_langgraphs_cache_answers(made: list[tuple[str, Any]]) -> None:
    ours: InMemoryCache[int] = InMemoryCache()
    theirs: LangGraphCache[int] = LangGraphCache()
    for name, argument in made:
        assert getattr(ours, name)(argument) == getattr(theirs, name)(argument)


def test_an_entry_lives_as_many_seconds_as_it_was_given() -> None:
    now = [100.0]
    cache: InMemoryCache[str] = InMemoryCache(clock=lambda: now[0])
    cache.set({(("n",), "short"): ("a", 5), (("n",), "good"): ("b", None)})
    wanted = [(("n",), "short"), (("n",), "good")]
    seen = []
    for now[0] in (100.0, 104.9, 105.0, 1e9):
        seen.append([key for _, key in cache.get(wanted)])
    assert seen == [["short", "good"], ["short", "good"], ["good"], ["good"]]
    assert list(cache._entries[("n",)]) == ["good"]


def test_no_change_from_outside_reaches_an_entry() -> None:
    cache: InMemoryCache[list[int]] = InMemoryCache()
    key = (("n",), "1")
    value = [1]
    cache.set({key: (value, None)})
    value.append(2)
    cache.get([key])[key].append(3)
    assert cache.get([key]) == {key: [1]}


def test_values_may_be_kept_as_bytes_of_a_serializer() -> None:
    cache: InMemoryCache[list[int]] = InMemoryCache(serde=JsonPlusSerializer())
    key = (("n",), "1")
    cache.set({key: ([1], None)})
    assert cache._entries[("n",)]["1"] == (("msgpack", b"\x91\x01"), None)
    assert cache.get([key]) == {key: [1]}


async def test_async_methods_do_the_same() -> None:
    cache: BaseCache[int] = InMemoryCache()
    key = (("n",), "1")
    await cache.aset({key: (1, None)})
    assert await cache.aget([key]) == {key: 1}
    await cache.aclear([("n",)])
    assert await cache.aget([key]) == {}


def test_threads_that_write_at_once_lose_nothing() -> None:
    cache: InMemoryCache[int] = InMemoryCache()

    def write(name: str) -> None:
        for n in range(500):
            cache.set({((name,), str(n)): (n, None)})

    workers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(cache.get([((name,), str(n)) for name in "abcd" for n in range(500)])) == 2_000


# -- keys --------------------------------------------------------------------------------------------


def rebuilt(text: str) -> str:
    """An equal string that is another object."""
    return "".join(list(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x": {"a": 1, "b": [{"c": 1, "d": 2}]}}, {"x": {"b": [{"d": 2, "c": 1}], "a": 1}}),
        ({"a": ["same", "same"]}, {"a": [rebuilt("same"), rebuilt("same")]}),
        ({1: "a", "1": "b"}, {"1": "b", 1: "a"}),
        ({"s": {8, 0, 16}}, {"s": {16, 8, 0}}),
    ],
)
def test_equal_inputs_have_one_key(one: Any, other: Any) -> None:
    assert default_cache_key(one) == default_cache_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": "1"}),
        ([1, 2], [2, 1]),
        ({"a": b"1"}, {"a": "1"}),
        (memoryview(b"ab"), memoryview(b"ac")),
    ],
)
def test_different_inputs_have_different_keys(one: Any, other: Any) -> None:
    assert default_cache_key(one) != default_cache_key(other)


def test_positional_and_named_arguments_are_told_apart() -> None:
    assert len({default_cache_key(1, 2), default_cache_key(2, 1), default_cache_key(1, b=2)}) == 3


def test_an_input_that_refers_to_itself_has_a_key() -> None:
    itself: list[Any] = [1]
    itself.append(itself)
    assert default_cache_key(itself) == default_cache_key(itself)


def test_a_key_is_the_same_in_another_process() -> None:
    key = "k({'b': {'x', 'y', 'z'}, 'a': [1]})"
    program = f"from engine.cache.key import default_cache_key as k\nprint({key}.hex())"
    made = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(made) == 1


def test_an_input_that_cannot_be_pickled_is_an_error() -> None:
    with pytest.raises(Exception, match="pickle"):
        default_cache_key(lambda: None)
