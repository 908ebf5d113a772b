"""States as keyframes and deltas: rebuilt from what was exported, they are what they were, byte for byte."""

import copy
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stream.encoding import decode, encode
from otel_stream.stream.copying import snapshot
from otel_stream.telemetry.logs import deltas
from otel_stream.telemetry.logs.deltas import Chain, applied, digest
from otel_stream.telemetry.redaction import Redaction, Writer

BIG = "x" * 1000


def rebuilt(states, writer=None):
    """Export ``states`` and rebuild them; returns them with the frames."""
    chain, frames, found, state = Chain(), [], [], None
    for one in states:
        frame = chain.next(one, writer or Writer())
        frames.append(frame)
        state = decode(frame.text) if frame.keyframe else applied(state, decode(frame.text))
        assert f"{digest(state):08x}" == frame.digest
        found.append(state)
    return found, frames


def deltas_of(states, **more):
    """Return the deltas of states that are big enough for them."""
    _, frames = rebuilt(({**state, "big": BIG} for state in states), **more)
    return [decode(frame.text) for frame in frames if not frame.keyframe]


# -- what a delta looks like ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "delta"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"=a": 2}),
        ({"a": 1}, {"a": True}, {"=a": True}),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}, {"+a": [3]}),
        ({"a": []}, {"a": [1]}, {"+a": [1]}),
        ({"a": [{"x": 1}]}, {"a": [{"x": 1}, {"x": 2}]}, {"+a": [{"x": 2}]}),
        ({"a": [1, 2, 3]}, {"a": [1, 9, 3]}, {"~a": [1, 1, [9]]}),
        ({"a": [1, 2, 3]}, {"a": [3]}, {"~a": [0, 2, []]}),
        ({"a": [1, 1]}, {"a": [1]}, {"~a": [1, 1, []]}),
        ({"a": [1, 2]}, {"a": [3, 4]}, {"=a": [3, 4]}),
        ({"a": "t" * 99}, {"a": "t" * 99 + "é\n"}, {"+a": "é\n"}),
        ({"a": "short"}, {"a": "shorter"}, {"=a": "shorter"}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}, {">a": {"=y": 3}}),
        ({"a": {"x": {"y": [1]}}}, {"a": {"x": {"y": [1, 2]}}}, {">a": {">x": {"+y": [2]}}}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, {"=a": {"y": 2, "x": 1}}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2}}, {">a": {"-x": None}}),
        ({"a": {1: 2}}, {"a": {1: 3}}, {"=a": {"1": 3}}),
        ({"a": (1, 2)}, {"a": (1, 2, 3)}, {"+a": [3]}),
        ({"a": None}, {"a": [None]}, {"=a": [None]}),
    ],
)
def test_a_delta_says_what_changed_and_no_more(before, after, delta):
    assert deltas_of([before, after]) == [delta]


def test_a_key_that_goes_and_one_that_comes():
    _, frames = rebuilt([{"big": BIG, "a": 1}, {"big": BIG, "b": 2}])
    assert [decode(frame.text) for frame in frames[1:]] == [{"-a": None, "=b": 2}]


def test_numbers_that_are_equal_are_not_yet_the_same():
    _, frames = rebuilt([{"big": BIG, "a": [0.0, 1]}, {"big": BIG, "a": [-0.0, True]}])
    assert frames[1].text == b'{"=a":[-0.0,true]}'


def test_what_changes_in_place_is_found_in_any_container():
    state = {"big": BIG, "odd": {1: 1}, "set": {1}, "deep": {"a": {"b": {"c": {"d": 1}}}}, "list": [[1]]}
    chain = Chain()
    chain.next(state, Writer())
    state["odd"][1] = 2
    state["set"] |= {2}
    state["deep"]["a"]["b"]["c"]["d"] = 2
    state["list"][0].append(2)
    assert decode(chain.next(state, Writer()).text) == {
        "=odd": {"1": 2}, "=set": [1, 2], ">deep": {">a": {">b": {"=c": {"d": 2}}}}, "=list": [[1, 2]]
    }  # fmt: skip


def test_a_small_state_and_one_that_is_no_mapping_are_always_whole():
    for state in ({"a": 1}, [BIG], BIG, None):
        _, frames = rebuilt([state, state])
        assert [frame.keyframe for frame in frames] == [True, True]


# -- what holds for all of them -------------------------------------------------------------------

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.complex_numbers()
    | st.sampled_from(["é" * 80, "\ud800" * 70, 'quote"\\' * 20])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        # Not both in one: 3 and "3" are the same key to JSON, and what has both is never vouched for.
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.dictionaries(st.integers(0, 3), inner, max_size=3)
        | st.tuples(inner)
        | st.sets(st.integers(0, 5), max_size=3)
    ),
    max_leaves=12,
)


class Foreign:
    """Nothing that JSON knows; always described alike."""

    def __repr__(self):
        return "<Foreign>"


def evolve(state, chance):
    """Change ``state`` somewhere, in place or not, as a node may."""
    holder, key = state, chance.choice(list(state))
    while isinstance(holder[key], dict | list) and holder[key] and chance.random() < 0.6:
        holder = holder[key]
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    value = holder[key]
    new = chance.choice([1, True, 1.0, "z", None, {"k": [1]}, ["i"], {"k": {"j": "w"}}, Foreign()])
    match chance.randrange(6):
        case 0 if isinstance(value, list):
            value.append(new)
        case 1 if isinstance(value, list):
            value.insert(0, new)
        case 2 if isinstance(value, str):
            holder[key] = value + "more"
        case 3 if isinstance(holder, dict) and len(holder) > 1:
            del holder[key]
        case 4 if isinstance(holder, dict):
            holder[f"new{chance.randrange(9)}"] = new
        case _:
            holder[key] = new


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), VALUES, min_size=1), st.randoms(use_true_random=False)
)
def test_whatever_happens_to_a_state_every_state_is_rebuilt(state, chance):
    state = {"big": BIG, **copy.deepcopy(state)}
    live, exported = [], []
    for _ in range(12):
        shown = snapshot(state)
        live.append(encode(shown))
        exported.append(shown)
        evolve(state, chance)
    found, _ = rebuilt(exported)
    # What JSON says twice under one key, or in numbers too big for a float, is said once when read again.
    assert [encode(one) for one in found] == [encode(decode(text)) for text in live]


@given(st.integers(1, 60))
def test_keyframes_cost_a_tenth_of_what_changes(size):
    chance = random.Random(size)
    states, log = [], []
    for _ in range(150):
        log = [*log[-20:], "".join(chance.choices("abcdef", k=size))]
        states.append({"big": BIG, "log": log})
    _, frames = rebuilt(states)
    changes = sum(len(frame.text) for frame in frames if not frame.keyframe)
    keyframes = sum(len(frame.text) for frame in frames[1:] if frame.keyframe)
    # The last deltas before a keyframe, and a state that has grown, come on top of the tenth.
    assert keyframes <= changes / 10 * 2


class Profile:
    """Something mutable that a snapshot shares."""

    def __init__(self):
        self.name = "before"

    def model_dump(self):
        return {"name": self.name}


def test_what_changed_unseen_is_named_by_the_next_keyframe():
    profile, chain = Profile(), Chain()
    chain.next({"big": BIG, "profile": profile, "n": 0}, Writer())
    profile.name = "after"
    frames = [chain.next({"big": BIG, "profile": profile, "n": n}, Writer()) for n in range(1, 2000)]
    again = next(frame for frame in frames if frame.keyframe)
    assert again.drift == ("profile",)
    assert json.loads(again.text)["profile"] == {"name": "after"}
    assert all(frame.drift == () for frame in frames if frame is not again)


def test_what_does_not_change_is_not_encoded_again(monkeypatch):
    messages = [Profile() for _ in range(50)]
    chain, encoded = Chain(), []
    chain.next({"big": BIG, "messages": messages}, Writer())
    monkeypatch.setattr(deltas, "encode", lambda value: encoded.append(value) or encode(value))
    monkeypatch.setattr(Writer, "text", lambda _, value, path: encoded.append(path) or encode(value))
    chain.next({"big": BIG, "messages": [*messages, Profile()]}, Writer())
    assert encoded == [("messages", "50"), "messages"]


def test_a_broken_delta_is_refused():
    for delta in ({"-b": None}, {"+a": [1]}, {"?a": 1}, {">a": {"=x": 1}}, {"~a": 1}):
        with pytest.raises((LookupError, TypeError, ValueError)):
            applied({"a": 1}, delta)


@given(st.lists(st.text(alphabet="canry ", max_size=6), min_size=1, max_size=20))
def test_redacted_states_are_rebuilt_as_they_were_redacted(pieces):
    rules = Redaction(["user.email", "notes.*.secret"], [r"can\w*"])
    states, text = [], ""
    for index, piece in enumerate(pieces):
        text += piece
        notes = [{"secret": "s", "text": text[:n]} for n in range(min(index, 3))]
        states.append({"big": BIG, "text": text, "user": {"email": "e", "name": text}, "notes": notes})
    found, frames = rebuilt([snapshot(state) for state in states], Writer(rules))
    assert found == [rules.data(state) for state in states]
    assert not any(b"can" in frame.text for frame in frames)


def test_a_state_of_neighbours_is_exported_within_bounds_step_by_step():
    nodes = [{"id": number, "peers": {}} for number in range(60)]
    for node in nodes:
        node["peers"].update({str(other["id"]): other for other in nodes})
    chain = Chain()
    frames = [chain.next({"step": step, "graph": nodes[0], "all": nodes}, Writer()) for step in range(3)]
    assert all(len(frame.text) < 2_000_000 for frame in frames)
    state = None
    for frame in frames:
        state = decode(frame.text) if frame.keyframe else applied(state, decode(frame.text))
        assert f"{digest(state):08x}" == frame.digest
    assert state["step"] == 2
