"""The report: the same text for the same audit, and it says who wrote it."""

from hypothesis import given
from hypothesis import strategies as st

from engine.demo.state import Audit, Finding, FunctionMeasure, Inspection
from engine.demo.writer import DISCLOSURE, DeterministicAuthor, MessageChunk, compose, tokens

AUDIT = Audit(
    root="/code",
    paths=["a", "b"],
    limit=10,
    budget=1,
    left_out={"too large": 1, "beyond the limit": 0},
    totals={"files": 2, "lines": 1234, "functions": 3},
    findings=[
        Finding(path="a/x.py", line=3, rule="star-import", severity="low", message="hides names"),
        Finding(path="b/y.py", line=1, rule="eval-exec", severity="high", message="runs text"),
    ],
    worst=[
        FunctionMeasure(
            path="a/x.py", name="C.f", line=9, lines=70, parameters=2, depth=4, complexity=12, score=17
        )
    ],
    inspected=[
        Inspection(
            path="a/x.py",
            name="C.f",
            line=9,
            lines=70,
            depth=4,
            complexity=12,
            score=17,
            branches={"if": 9, "loop": 2},
            exits=3,
            deepest_line=20,
            longest_block="if at line 12, 30 lines",
            suggestion="move it",
        )
    ],
)
REPORT = f"""\
Audit of /code: a, b

{DISCLOSURE}

2 files, 1,234 lines, 3 functions; 2 findings: 1 high, 0 medium, 1 low. Files left out: 1 too large.

The most serious
  high   b/y.py:1 runs text [eval-exec]
  low    a/x.py:3 hides names [star-import]

By rule
  high      1 eval-exec
  low       1 star-import

Hardest to change
  1. a/x.py:9 C.f: 70 lines, 12 paths, 4 deep
     9 if, 2 loop; 3 exits; longest block: if at line 12, 30 lines
     Suggestion: move it.
"""


def test_the_report_shows_totals_findings_rules_and_what_to_change() -> None:
    assert compose(AUDIT, DISCLOSURE) == REPORT


def test_a_clean_tree_gets_a_short_report() -> None:
    clean = Audit(root="/code", paths=["."], limit=1, budget=0, totals={"files": 1}, findings=[])
    assert compose(clean, "P.") == (
        "Audit of /code\n\nP.\n\n1 file, 0 lines, 0 functions; 0 findings: 0 high, 0 medium, 0 low.\n"
    )


def test_pieces_of_a_message_add_up() -> None:
    pieces = [MessageChunk("report", text) for text in ("All", " is", " well.")]
    assert sum(pieces[1:], pieces[0]) == MessageChunk("report", "All is well.")


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


async def test_the_author_writes_the_report_word_by_word(anyio_backend_name: str) -> None:
    written = [token async for token in DeterministicAuthor().write(AUDIT)]
    assert written == list(tokens(REPORT))
    assert len(written) > 50
