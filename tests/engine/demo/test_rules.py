"""Each rule: what it finds, and what looks alike and is fine."""

import ast

import pytest

from engine.demo.analysis import definitions, measure
from engine.demo.rules import LIMITS, SEVERITY, beyond_limits, risky

FOUND = [
    ("eval(text)", "eval-exec"),
    ("exec(text, {})", "eval-exec"),
    ("import pickle\npickle.loads(data)", "unpickling"),
    ("marshal.load(file)", "unpickling"),
    ("subprocess.run(line, shell=True)", "shell-true"),
    ("os.system(line)", "os-system"),
    ("os.popen(line)", "os-system"),
    ("try:\n    f()\nexcept:\n    pass", "bare-except"),
    ("try:\n    f()\nexcept Exception:\n    pass", "swallowed-exception"),
    ("def f(a=[]): pass", "mutable-default"),
    ("def f(*, a={}): pass", "mutable-default"),
    ("async def f(a=set()): pass", "mutable-default"),
    ("f = lambda a=dict(): a", "mutable-default"),
    ("assert (x, 'message')", "assert-on-tuple"),
    ("def f():\n    global x", "global-statement"),
    ("from m import *", "star-import"),
    ("x is 'text'", "is-literal"),
    ("x is not 1", "is-literal"),
    ("{'a': 1, 'a': 2}", "duplicate-key"),
    ("def f():\n    try:\n        g()\n    finally:\n        return 1", "return-in-finally"),
    ("def f():\n    return 1\n    g()", "unreachable-code"),
    ("for x in y:\n    continue\n    g()", "unreachable-code"),
    ("if x:\n    pass\nelse:\n    raise E\n    g()", "unreachable-code"),
]
FINE = [
    "self.eval(text)",
    "compile(text, 'name', 'exec')",
    "json.loads(data)",
    "loads(data)",
    "subprocess.run(words, shell=False)",
    "subprocess.run(words, shell=flag)",
    "try:\n    f()\nexcept:\n    undo()\n    raise",
    "try:\n    f()\nexcept ValueError:\n    pass",
    "try:\n    f()\nexcept Exception:\n    log()",
    "def f(a=(), b=None, c=frozenset(), d=1): pass",
    "assert x, 'message'",
    "assert ()",
    "def f():\n    nonlocal_ = 1",
    "from m import a",
    "x is None or x is True or x is ...",
    "x == 'text'",
    "{'a': 1, 'b': 2, **c, **c}",
    "{1: 'a', 1.5: 'b', True: 'c', '1': 'd'}",
    "def f():\n    try:\n        return 1\n    finally:\n        g()",
    "def f():\n    return\n    yield",
    "if x:\n    raise E\ng()",
]


@pytest.mark.parametrize(("source", "rule"), FOUND)
def test_a_rule_finds_what_it_is_about_and_nothing_else(source: str, rule: str) -> None:
    found = risky("m.py", ast.parse(source))
    assert [(f["rule"], f["severity"], f["path"]) for f in found] == [(rule, SEVERITY[rule], "m.py")]
    assert found[0]["message"]


@pytest.mark.parametrize("source", FINE)
def test_what_only_looks_alike_is_fine(source: str) -> None:
    assert risky("m.py", ast.parse(source)) == []


def test_a_finding_names_its_line() -> None:
    source = "import os\n\n\ndef f(a=[]):\n try:\n  os.system(a)\n except:\n  pass\n return 1\n g()\n"
    found = risky("m.py", ast.parse(source))
    assert sorted((f["line"], f["rule"]) for f in found) == [
        (4, "mutable-default"),
        (6, "os-system"),
        (7, "bare-except"),
        (10, "unreachable-code"),
    ]


def test_a_package_may_collect_the_names_of_its_modules() -> None:
    tree = ast.parse("from .a import *")
    assert [f["rule"] for f in risky("p/a.py", tree)] == ["star-import"]
    assert risky("p/__init__.py", tree) == []


def test_a_function_is_beyond_a_limit_from_the_next_number_on() -> None:
    for name, limit, rule, _ in LIMITS:
        exact = measure("m.py", definitions(ast.parse("def f(): pass"))[0])
        exact[name] = limit  # type: ignore[literal-required]
        assert beyond_limits(exact) == []
        exact[name] = limit + 1  # type: ignore[literal-required]
        assert [(f["rule"], f["line"], f["severity"]) for f in beyond_limits(exact)] == [
            (rule, 1, SEVERITY[rule])
        ]


def test_every_rule_is_tested() -> None:
    limits = {rule for _, _, rule, _ in LIMITS}
    assert {rule for _, rule in FOUND} | limits | {"unreadable"} == set(SEVERITY)
