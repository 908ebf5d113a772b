"""The words of an expectation: which streams a pattern allows, which parts a word means, what differs."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_stream import StreamPart
from otel_stream.testing import check, expect
from otel_stream.testing.expect import Pattern


def letters(word: str) -> list[StreamPart]:
    return [StreamPart("custom", (), letter, seq=i, node="n") for i, letter in enumerate(word)]


# -- what a pattern allows: beside all the words it stands for, spelled out ---------------------------

Spec = tuple[str, Any]

specs = st.recursive(
    st.sampled_from("ab").map(lambda letter: ("letter", letter)),
    lambda inner: st.one_of(
        st.tuples(
            st.sampled_from(["in_order", "any_order", "interleaved"]), st.lists(inner, min_size=1, max_size=3)
        ),
        st.tuples(st.sampled_from(["maybe", "twice"]), inner.map(lambda one: [one])),
    ),
    max_leaves=5,
)


def pattern_of(spec: Spec) -> Pattern:
    word, content = spec
    if word == "letter":
        return expect.custom(content)
    items = [pattern_of(item) for item in content]
    if word == "twice":
        return expect.times(2, *items)
    made: Pattern = getattr(expect, word)(*items)
    return made


def words_of(spec: Spec) -> set[str]:
    word, content = spec
    if word == "letter":
        return {content}
    languages = [words_of(item) for item in content]
    if word == "maybe":
        return {"", *languages[0]}
    if word == "twice":
        return {a + b for a in languages[0] for b in languages[0]}
    if word == "in_order":
        return {"".join(choice) for choice in itertools.product(*languages)}
    if word == "any_order":
        return {
            "".join(choice)
            for order in itertools.permutations(languages)
            for choice in itertools.product(*order)
        }
    mixed = {""}
    for language in languages:
        mixed = {one for a in mixed for b in language for one in shuffles(a, b)}
    return mixed


def shuffles(a: str, b: str) -> Iterator[str]:
    if not a or not b:
        yield a + b
        return
    yield from (a[0] + rest for rest in shuffles(a[1:], b))
    yield from (b[0] + rest for rest in shuffles(a, b[1:]))


def accepts(pattern: Pattern, parts: list[StreamPart]) -> bool:
    try:
        check(parts, pattern)
    except AssertionError:
        return False
    return True


@settings(max_examples=150)
@given(specs, st.text("ab", max_size=8), st.data())
def test_a_pattern_allows_exactly_the_streams_it_stands_for(spec: Spec, word: str, data: Any) -> None:
    words = words_of(spec)
    pattern = pattern_of(spec)
    assert accepts(pattern, letters(word)) is (word in words)
    one_of_them = data.draw(st.sampled_from(sorted(words)))
    assert accepts(pattern, letters(one_of_them))


@given(st.text("ab", max_size=8), st.integers(0, 3))
def test_at_least_and_whatever_count_without_end(word: str, count: int) -> None:
    assert accepts(expect.at_least(count, expect.custom("a")), letters(word)) is bool(
        re.fullmatch(f"a{{{count},}}", word)
    )
    around = expect.in_order(expect.whatever(), expect.custom("b"), expect.whatever(expect.custom("a")))
    assert accepts(around, letters(word)) is bool(re.fullmatch("[ab]*ba*", word))


def test_expectations_that_can_be_read_in_too_many_ways_are_refused() -> None:
    alike = [expect.custom("a") for _ in range(16)]
    with pytest.raises(ValueError) as caught:
        check(letters("a" * 16), expect.any_order(*alike))
    assert str(caught.value) == (
        "the expectations can be read in more than 2000 ways at part 4; "
        "use times(n, ...) for equal ones, or tell them apart by node or data"
    )


# -- single parts --------------------------------------------------------------------------------------


def part(type: str, data: Any, **more: Any) -> StreamPart:
    return StreamPart(type, (), data, **more)


GOOD = [
    (expect.part(), part("custom", 1)),
    (expect.part("custom", data=1, step=3, ns=()), part("custom", 1, step=3)),
    (expect.part("custom", step=lambda step: step > 2), part("custom", 1, step=3)),
    (expect.updates("a"), part("updates", {"a": None}, node="a")),
    (expect.updates("a", expect.subset({"x": 1})), part("updates", {"a": {"x": 1, "y": 2}}, node="a")),
    (expect.updates(update={"x": 1}), part("updates", {"a": {"x": 1}}, node="a")),
    (expect.updates(expect.regex("^a"), {"x": 1}), part("updates", {"ab": {"x": 1}}, node="ab")),
    (
        expect.updates("a", {"x": 1}, cached=True),
        part("updates", {"a": {"x": 1}, "__metadata__": {"cached": True}}, node="a"),
    ),
    (expect.values({"x": expect.instance(int)}), part("values", {"x": 1})),
    (expect.custom([1, expect.anything, {"k": expect.regex("b")}]), part("custom", [1, 2, {"k": "abc"}])),
    (expect.custom(lambda data: data > 1), part("custom", 2)),
    (expect.message("hi", id="1"), part("messages", ({"id": "1", "content": "hi"}, {}))),
    (
        expect.message(metadata=expect.subset({"tags": ["t"]})),
        part("messages", ({"id": "1", "content": [{"type": "text", "text": "hi"}]}, {"tags": ["t"], "x": 1})),
    ),
    (
        expect.task("a", input={"n": 1}),
        part("tasks", {"id": "1", "name": "a", "input": {"n": 1}, "triggers": ()}, node="a"),
    ),
    (
        expect.task_result("a", error=ValueError),
        part(
            "tasks",
            {"id": "1", "name": "a", "error": ValueError("x"), "result": {}, "interrupts": []},
            node="a",
        ),
    ),
    (
        expect.checkpoint({"n": 1}, next=["a"]),
        part("checkpoints", {"values": {"n": 1}, "next": ["a"], "metadata": {}, "config": {}}),
    ),
    (expect.gap(3), part("gap", {"dropped": 3, "modes": {}})),
    (expect.end("ok"), part("end", {"end": "ok", "error": None, "interrupts": ()})),
]


@pytest.mark.parametrize(("expected", "given"), GOOD, ids=lambda one: repr(one)[:40])
def test_an_expectation_is_met_by_its_part_and_by_no_other_one(expected: Any, given: StreamPart) -> None:
    check([given], expect.in_order(expected))
    others = [other for _, other in GOOD if other.type != given.type]
    assert [other for other in others if accepts(expected, [other])] == (
        others if expected.mode is expect.anything else []
    )


@pytest.mark.parametrize(
    ("expected", "given", "reason"),
    [
        (expect.custom(1, "a"), part("custom", 1, node="b"), "node: expected 'a', got 'b'"),
        (expect.custom({"x": 1}), part("custom", {"x": 2}), "data['x']: expected 1, got 2"),
        (expect.custom({"x": 1}), part("custom", {}), "data['x']: expected 1, is not there"),
        (expect.custom({}), part("custom", {"x": 1}), "data['x']: not expected"),
        (expect.custom([1, [2]]), part("custom", [1, [3]]), "data[1][0]: expected 2, got 3"),
        (expect.custom([1]), part("custom", [1, 2]), "data: expected [1], got [1, 2]"),
        (expect.custom(expect.subset({})), part("custom", 3), "data: expected a mapping, got 3"),
        (
            expect.custom(expect.subset({"a": {"b": 1}})),
            part("custom", {"a": {"b": 2}, "c": 3}),
            "data['a']['b']: expected 1, got 2",
        ),
        (
            expect.custom(lambda data: data.nothing),
            part("custom", 1),
            "data: expected where(<lambda>), got 1",
        ),
        (
            expect.joined_message("hello"),
            part("messages", ({"id": "1", "content": "hex"}, {})),
            "text: expected the rest of the message to be 'hello', got 'hex'",
        ),
    ],
    ids=str,
)
def test_a_failure_says_what_is_different_and_where(expected: Any, given: StreamPart, reason: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check([given], expected)
    assert f"            - {reason}" in str(caught.value).splitlines()


def test_a_field_that_no_part_has_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^a part has no field 'nodes'; it has type, .*node, .*data$"):
        expect.part("custom", nodes="a")
