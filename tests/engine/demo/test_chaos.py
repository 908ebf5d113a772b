"""Chaos is the same for the same seed, and spares the last attempt unless it is total."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.demo.chaos import Chaos, ChaosError

SUBJECTS = [*(f"{n}.py" for n in range(199)), "\udcff.py"]


def attempts_until_success(chaos: Chaos, node: str, subject: str) -> int:
    for attempt in range(1, chaos.attempts + 1):
        try:
            chaos.strike(node, subject)
        except ChaosError:
            continue
        return attempt
    return 0


@given(st.floats(0, 1, exclude_max=True), st.integers())
def test_some_attempt_always_succeeds_below_a_rate_of_one(rate: float, seed: int) -> None:
    assert all(attempts_until_success(Chaos(rate, seed), "parse", subject) for subject in SUBJECTS[:20])


@given(st.integers(), st.permutations(SUBJECTS[:20]))
def test_who_fails_does_not_depend_on_the_order_of_work(seed: int, order: list[str]) -> None:
    first, second = Chaos(0.5, seed), Chaos(0.5, seed)
    expected = {subject: attempts_until_success(first, "parse", subject) for subject in SUBJECTS[:20]}
    assert {subject: attempts_until_success(second, "parse", subject) for subject in order} == expected


def test_who_fails_does_not_depend_on_threads() -> None:
    alone, shared = Chaos(0.4, 7), Chaos(0.4, 7)
    expected = {subject: attempts_until_success(alone, "parse", subject) for subject in SUBJECTS}
    got: dict[str, int] = {}
    threads = [
        threading.Thread(
            target=lambda part: got.update({s: attempts_until_success(shared, "parse", s) for s in part}),
            args=(SUBJECTS[n::4],),
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == expected


def test_seed_node_subject_and_attempt_each_matter() -> None:
    def pattern(seed: int, node: str, attempt: int) -> list[bool]:
        return [Chaos(0.5, seed).fails(node, subject, attempt) for subject in SUBJECTS]

    patterns = [
        pattern(1, "parse", 1),
        pattern(2, "parse", 1),
        pattern(1, "judge", 1),
        pattern(1, "parse", 2),
    ]
    assert all(a != b for n, a in enumerate(patterns) for b in patterns[n + 1 :])
    assert all(60 < sum(p) < 140 for p in patterns)


def test_a_rate_of_zero_never_fails_and_of_one_always() -> None:
    assert {attempts_until_success(Chaos(0, 1), "parse", s) for s in SUBJECTS} == {1}
    assert {attempts_until_success(Chaos(1, 1), "parse", s) for s in SUBJECTS} == {0}


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        Chaos(rate)
