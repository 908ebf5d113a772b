"""A closer look counts what is there and names one change that fits."""

import ast

import pytest

from engine.demo.analysis import definitions, measure
from engine.demo.inspection import LEAVE_IT, inspect, longest_block, longest_chain
from engine.demo.state import Inspection

CHAIN = "def f(x):\n    if x == 0:\n        return 0\n" + "".join(
    f"    elif x == {n}:\n        return {n}\n" for n in range(1, 12)
)
DEEP = "def f(x):\n" + "".join("    " * n + "if x:\n" for n in range(1, 8)) + "    " * 8 + "pass\n"
FLAT = "def f(x):\n" + "    x = x or 1\n" * 20
LONG = "def f(x):\n    for y in x:\n" + "        g()\n" * 20 + "    h(x or y)\n" * 20


def looked_at(source: str) -> Inspection:
    tree = ast.parse(source)
    seen = inspect(tree, measure("m.py", definitions(tree)[0]))
    assert seen is not None
    return seen


def test_an_inspection_counts_control_flow_by_kind() -> None:
    source = (
        "def f(x):\n"
        "    with x:\n"
        "        for y in x:\n"
        "            try:\n"
        "                return [z for z in y if z and y]\n"
        "            except E:\n"
        "                raise\n"
        "    while x: pass\n"
        "    return 1 if x else 2\n"
    )
    assert looked_at(source) == Inspection(
        path="m.py",
        name="f",
        line=1,
        lines=9,
        depth=3,
        complexity=8,
        score=8,
        branches={"and/or": 1, "except": 1, "if": 1, "loop": 3, "with": 1},
        exits=3,
        deepest_line=4,
        longest_block="with at line 2, 6 lines",
        suggestion=LEAVE_IT,
    )


@pytest.mark.parametrize(
    ("source", "suggestion"),
    [
        (CHAIN, "replace the 12 branches from line 2 on by a table"),
        (DEEP, "leave early instead of nesting: the block at line 8 is 7 levels deep"),
        (LONG, "move the for at line 2 (21 lines) into a function of its own"),
        (FLAT, "name its parts: split it where its comments or blank lines already do"),
        ("def f():\n    pass", LEAVE_IT),
    ],
)
def test_the_suggestion_fits_what_stands_out(source: str, suggestion: str) -> None:
    assert looked_at(source)["suggestion"] == suggestion


def test_the_longest_chain_counts_links_of_one_level_only() -> None:
    source = "def f():\n if a:\n  if b:\n   pass\n  elif c:\n   pass\n  else:\n   pass\n"
    assert longest_chain(definitions(ast.parse(source))[0].node) == (2, 3, "if")


def test_a_block_that_is_most_of_its_function_is_no_part_of_it() -> None:
    source = "def f():\n    for x in y:\n        if x:\n            g()\n            h()\n"
    assert longest_block(definitions(ast.parse(source))[0].node) == (3, 3, "if")


def test_a_function_that_is_gone_is_not_inspected() -> None:
    measured = measure("m.py", definitions(ast.parse("def f(): pass"))[0])
    assert inspect(ast.parse("def g(): pass"), measured) is None
