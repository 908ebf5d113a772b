"""What must not leave does not: by path, by pattern, by a function; and what is too long is cut."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from otel_stream.telemetry.redaction import FAILED, MASK, Redaction, Writer, shown_tags

STATE = {
    "user": {"email": "a@b", "name": "Ann"},
    "messages": [{"content": "hi", "id": 1}, {"content": ["x"]}],
}


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["user.email"], {**STATE, "user": {"email": MASK, "name": "Ann"}}),
        (["user"], {**STATE, "user": MASK}),
        (["user.*"], {**STATE, "user": {"email": MASK, "name": MASK}}),
        (["messages.*.content"], {**STATE, "messages": [{"content": MASK, "id": 1}, {"content": MASK}]}),
        (["messages.1.content"], {**STATE, "messages": [{"content": "hi", "id": 1}, {"content": MASK}]}),
        (["e*l"], {**STATE, "user": {"email": MASK, "name": "Ann"}}),
        (["0", "id"], {**STATE, "messages": [MASK, {"content": [MASK]}]}),
        (["user.email.more", "User"], STATE),
        ((), STATE),
    ],
)  # fmt: skip
def test_a_path_masks_what_it_names_wherever_it_begins(paths, shown):
    rules = Redaction(paths)
    assert rules.data(STATE) == shown
    assert rules.data({"plan": STATE}) == {"plan": shown}


def test_a_message_is_redacted_by_its_fields():
    shown = Redaction("messages.*.content").data({"messages": [HumanMessage("secret")]})
    assert (shown["messages"][0]["content"], shown["messages"][0]["type"]) == (MASK, "human")


def test_a_pattern_masks_what_it_matches_in_texts_keys_and_numbers():
    rules = Redaction(patterns=[r"[\w.]+@[\w.]+", r"\b4\d{3}\b"])
    given = {"note": "ask a.b@c.de or 4111!", "x@y.z": 1, "card": 4222, "n": 5, "on": True, "none": None}
    assert rules.data(given) == {
        "note": f"ask {MASK} or {MASK}!", MASK: 1, "card": MASK, "n": 5, "on": True, "none": None
    }  # fmt: skip
    assert rules.counted(given)[1] == 3


def test_a_function_sees_the_path_and_decides():
    seen = []

    def call(path, value):
        seen.append((path, value))
        return value.upper() if isinstance(value, str) else value

    assert Redaction(call=call).data({"a": ["x", 1], "b": {"c": None}}) == {"a": ["X", 1], "b": {"c": None}}
    assert seen == [("a.0", "x"), ("a.1", 1)]


def test_where_the_function_fails_the_value_is_withheld_and_counted(caplog):
    def call(path, value):
        raise ValueError(f"can't bear {value}")

    rules = Redaction(call=call)
    assert rules.data({"a": "canary", "b": 1}) == {"a": FAILED, "b": FAILED}
    assert rules.text("canary") == FAILED
    assert rules.failures == 3
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text


def test_a_long_text_is_cut_and_tells_its_length_and_digest():
    rules = Redaction(max_value_bytes=10)
    long = "ü" * 20
    digest = hashlib.sha256(long.encode()).hexdigest()
    assert rules.data({"a": long, "b": "short"}) == {
        "a": {"$cut": {"head": "üüüüü", "bytes": 40, "sha256": digest}}, "b": "short"
    }  # fmt: skip
    assert rules.text(long) == f"üüüüü… (40 bytes, sha256 {digest})"


def test_texts_of_exceptions_and_tags_obey_the_same_rules():
    rules = Redaction(["exception.message", "tags.1"], "canary")
    assert rules.text("anything", "exception", "message") == MASK
    assert rules.text("a canary", "exception", "stacktrace") == f"a {MASK}"
    assert shown_tags(["canary", "b", "c"], rules) == (MASK, MASK, "c")
    assert shown_tags(["a", 1], None) == ("a", "1")


def test_without_rules_a_value_is_what_it_was():
    assert Writer().text({"a": 1}, ()) == b'{"a":1}'
    assert Writer(Redaction()).text({"a": 1}, ()) == b'{"a":1}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"paths": ["user..email"]},
            "'user..email' is no path to redact: give names or globs joined by dots",
        ),
        ({"patterns": "("}, "'(' is no pattern to redact by ("),
        ({"call": 3}, "redaction by 3 is impossible: give a function of a path and a value."),
        ({"max_value_bytes": 0}, "max_value_bytes=0 is no size: give a number of bytes, 1 or more."),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(arguments, message):
    with pytest.raises(ValueError) as caught:
        Redaction(**arguments)
    assert message in str(caught.value)


ANY = st.recursive(
    st.none() | st.text() | st.integers() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
)


@given(ANY, st.integers(0, 3))
def test_what_a_pattern_matches_is_in_nothing_that_is_shown(value, place):
    hidden = {"k": [value, "canary", {"canary": f"..canary{place}"}, ("canary",)]}
    assert "canary" not in json.dumps(Redaction(patterns="canary").data(hidden))
