"""Holding a list of parts against a pattern, and saying readably where they part ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from otel_stream.stream.modes import StreamPart
from otel_stream.testing.matching import short
from otel_stream.testing.patterns import Leaf, One, Pattern, Repeated, sequence

#: Ways to read a stream that are followed side by side before the pattern counts as too ambiguous.
_STATES: Final = 2000
#: Parts that a message shows before and after the one that did not match.
_AROUND: Final = 4
#: Expectations that a message names where several would do.
_NAMED: Final = 6

ENDED_WELL: Final = One({"type": "end", "data": {"end": "ok", "error": None, "interrupts": ()}}, "end 'ok'")


def check(parts: Iterable[StreamPart], *expected: Pattern, note: str = "") -> None:
    """Assert that ``parts`` are what is ``expected``, in this order, and nothing else.

    A run that ends well need not say so; any other end must be expected where parts have one
    (``StreamConfig(include_end=True)``). ``note`` is added to the message of a failure.

    Raises:
        AssertionError: with the first part that does not match, what was expected there and the parts around.
        ValueError: the pattern can be read in too many ways.
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead
    parts = [*parts]
    pattern = sequence(expected)
    if parts and parts[-1].type == "end" and not any(leaf.mode == "end" for leaf in pattern.leaves()):
        pattern = sequence((pattern, Repeated(ENDED_WELL, 0, 1)))
    states: set[Pattern] = {pattern}
    for index, part in enumerate(parts):
        following = {rest for state in states for rest in state.after(part)}
        if not following:
            raise AssertionError(_mismatch(parts, index, states, note))
        if len(following) > _STATES:
            raise ValueError(
                f"the expectations can be read in more than {_STATES} ways at part {index}; "
                "use times(n, ...) for equal ones, or tell them apart by node or data"
            )
        states = following
    if not any(state.may_end for state in states):
        raise AssertionError(_mismatch(parts, len(parts), states, note))


def contains(parts: Iterable[StreamPart], patterns: Sequence[Pattern]) -> bool:
    """Tell whether ``patterns`` can be found in ``parts`` in this order, other parts between them or not."""
    states: set[Pattern] = {sequence(patterns)}
    for part in parts:
        if any(state.may_end for state in states):
            return True
        states |= {rest for state in states for rest in state.after(part)}
    return any(state.may_end for state in states)


def starts_at(parts: Sequence[StreamPart], index: int, pattern: Pattern) -> bool:
    """Tell whether ``pattern`` is met by the part at ``index`` and maybe some that follow it at once."""
    states: set[Pattern] = {pattern}
    for part in parts[index:]:
        states = {rest for state in states for rest in state.after(part)}
        if not states:
            return False
        if any(state.may_end for state in states):
            return True
    return False


def _mismatch(parts: Sequence[StreamPart], index: int, states: Iterable[Pattern], note: str) -> str:
    leaves = [*{repr(leaf): leaf for state in states for leaf in state.next()}.values()]
    may_end = any(state.may_end for state in states)
    expected = sorted(map(repr, leaves)) + (["the end of the stream"] if may_end or not leaves else [])
    if index < len(parts):
        lines = [f"part {index} of {len(parts)} is not what was expected"]
        got = line_of(parts[index])
    else:
        lines = [f"the stream ends after {len(parts)} parts, where more was expected"]
        got = "nothing more"
    lines += [f"  {label:9} {text}" for label, text in _labelled("expected", expected)]
    lines += [f"  got       {got}"]
    if index < len(parts):
        lines += [f"            - {reason}" for reason in _reasons(leaves, parts[index])]
    lines += ["", *_neighbours(parts, index)]
    return "\n".join([*lines, "", note] if note else lines)


def _labelled(label: str, texts: list[str]) -> list[tuple[str, str]]:
    shown = texts[:_NAMED] + ([f"{len(texts) - _NAMED} others"] if len(texts) > _NAMED else [])
    return [(label if i == 0 else "or", text) for i, text in enumerate(shown)]


def _reasons(leaves: Iterable[Leaf], part: StreamPart) -> list[str]:
    """Return what is wrong with ``part`` for the expectation that it comes closest to."""
    reasons = [leaf.why_not(part) for leaf in leaves if leaf.mode == part.type]
    return min(reasons, key=len, default=[])[:_NAMED]


def _neighbours(parts: Sequence[StreamPart], index: int) -> list[str]:
    first, last = max(0, index - _AROUND), min(len(parts), index + _AROUND + 1)
    lines = [f"  ... {first} parts before"] if first else []
    for i in range(first, last):
        sign = ">" if i == index else " "
        lines.append(f"{sign} {i:4} {line_of(parts[i])}")
    if index >= len(parts):
        lines.append("> the stream ends here")
    elif last < len(parts):
        lines.append(f"  ... {len(parts) - last} parts after")
    return lines


def line_of(part: StreamPart) -> str:
    """Return ``part`` as one line: mode, node, namespace and data."""
    node = part.node or "-"
    ns = f" in {'|'.join(level.split(':')[0] for level in part.ns)}" if part.ns else ""
    return f"{part.type:11} {node:10}{ns} {short(part.data)}"
