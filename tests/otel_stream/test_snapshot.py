"""A snapshot never changes, and keeps the shape of what it shows."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from otel_stream.stream.copying import snapshot

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=2), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)


def empty(value):
    """Take everything out of every container in ``value``."""
    if isinstance(value, dict | list | tuple):
        for item in list(value.values()) if isinstance(value, dict) else list(value):
            empty(item)
    if isinstance(value, dict | list | set):
        value.clear()


@given(VALUES)
def test_a_copy_is_equal_and_out_of_reach(value):
    before = repr(value)
    copy = snapshot(value)
    assert copy == value
    empty(value)
    assert repr(copy) == before


def test_what_is_no_plain_container_is_shared():
    class State(dict): ...

    state, message = State(a=1), object()
    copy = snapshot({"state": state, "messages": [message], "frozen": (1, "b")})
    assert copy["state"] is state
    assert copy["messages"][0] is message


def test_a_tuple_without_containers_is_not_copied():
    value = (1, "b", None)
    assert snapshot(value) is value


def test_a_cycle_stays_a_cycle():
    value = {"list": []}
    value["list"].append(value)
    pair = ([],)
    pair[0].append(pair)
    copy, twin = snapshot(value), snapshot(pair)
    assert copy is not value
    assert copy["list"][0] is copy
    assert twin[0] is not pair[0]
    assert twin[0][0][0] is twin[0]


def test_what_is_shared_within_is_copied_once():
    shared = [1]
    nested = shared
    for _ in range(60):  # 2 ** 60 paths lead to it
        nested = [nested, nested]
    copy = snapshot({"a": shared, "b": shared, "nested": nested})
    assert copy["a"] is copy["b"]
    assert copy["a"] is not shared


def test_a_value_too_deep_to_copy_is_shared():
    value = deepest = []
    for _ in range(100_000):
        deepest.append([])
        deepest = deepest[0]
    copy = snapshot(value)
    assert copy is not value
    assert copy[0] is value[0]
    while value:  # by hand: so deep a list can't be compared or shown
        value = value.pop()


def test_another_thread_that_changes_the_value_meanwhile_does_no_harm():
    value = {"d": {str(n): [n] for n in range(100)}, "l": [[n] for n in range(100)]}
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            value["d"][f"new{n % 50}"] = [n]
            value["d"].pop(f"new{(n + 25) % 50}", None)
            value["l"].append([n])
            value["l"].pop()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert len(snapshot(value)["l"]) >= 100
    finally:
        stop.set()
        thread.join()
