"""What is measured is what stands there, however it is laid out."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.demo.analysis import definitions, measure, parse, read

Block = tuple[str, int, int]
"""Source of some statements, the paths they add, and how deep they nest."""


def measured(source: str) -> dict[str, dict[str, int]]:
    tree = ast.parse(source)
    found = [measure("m.py", definition) for definition in definitions(tree)]
    return {m["name"]: {key: m[key] for key in ("complexity", "depth", "lines", "parameters")} for m in found}


def indent(source: str) -> str:
    return "\n".join("    " + line for line in source.splitlines())


def nest(head: str, paths: int) -> st.SearchStrategy[Block]:
    return _blocks.map(lambda inner: (f"{head}\n{indent(inner[0])}", inner[1] + paths, inner[2] + 1))


_leaves = st.sampled_from(
    [
        ("pass", 0, 0),
        ("x = 1 if y else 2", 1, 0),
        ("z = a and b and c", 2, 0),
        ("w = [i for i in j if i if j]", 3, 0),
        ("f = lambda: a or b", 1, 0),
        ("return x", 0, 0),
        ("def g():\n    if x:\n        while y: pass", 0, 0),
        ("class C:\n    if x: pass", 0, 0),
    ]
)
_blocks: st.SearchStrategy[Block] = st.deferred(
    lambda: st.one_of(
        _leaves,
        nest("if x:", 1),
        nest("for x in y:", 1),
        nest("while x:", 1),
        nest("with x:", 0),
        nest("async with x:", 0),
        nest("async for x in y:", 1),
        _blocks.map(
            lambda b: (f"try:\n{indent(b[0])}\nexcept E:\n    pass\nfinally:\n    pass", b[1] + 1, b[2] + 1)
        ),
        _blocks.map(
            lambda b: (
                f"try:\n    pass\nexcept* E:\n{indent(b[0].replace('return x', 'x'))}",
                b[1] + 1,
                b[2] + 1,
            )
        ),
        _blocks.map(
            lambda b: (
                f"match x:\n    case 1:\n{indent(indent(b[0]))}\n    case _:\n        pass",
                b[1] + 1,
                b[2] + 1,
            )
        ),
        st.tuples(_blocks, _blocks).map(
            lambda p: (f"{p[0][0]}\n{p[1][0]}", p[0][1] + p[1][1], max(p[0][2], p[1][2]))
        ),
        st.tuples(_blocks, _blocks).map(
            lambda p: (
                f"if x:\n{indent(p[0][0])}\nelif y:\n{indent(p[1][0])}",
                p[0][1] + p[1][1] + 2,
                max(p[0][2], p[1][2]) + 1,
            )
        ),
    )
)


@given(_blocks)
def test_paths_and_depth_are_those_of_the_statements_a_function_is_made_of(block: Block) -> None:
    source, paths, depth = block
    got = measured(f"async def f():\n{indent(source)}")["f"]
    assert (got["complexity"], got["depth"]) == (1 + paths, depth)


@given(_blocks)
def test_layout_changes_no_measure_but_the_number_of_lines(block: Block) -> None:
    source = f"async def f(a, b):\n{indent(block[0])}"
    spaced = source.replace("\n", "\n\n")
    unparsed = ast.unparse(ast.parse(source))
    shapes = [
        {name: {**m, "lines": 0} for name, m in measured(text).items()} for text in (source, spaced, unparsed)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("def f(): pass", 0),
        ("def f(a, /, b, *, c): pass", 3),
        ("def f(*args, **kwargs): pass", 0),
        ("class C:\n    def f(self, a): pass", 1),
        ("class C:\n    @staticmethod\n    def f(a, b): pass", 2),
        ("class C:\n    @classmethod\n    def f(cls, a): pass", 1),
        ("class C:\n    def f(*args): pass", 0),
        ("class C:\n    if x:\n        def f(self, a): pass", 1),
    ],
)
def test_parameters_are_what_a_caller_passes_one_by_one(signature: str, expected: int) -> None:
    assert [m["parameters"] for m in measured(signature).values()] == [expected]


def test_definitions_come_in_the_order_of_their_lines_with_dotted_names() -> None:
    source = (
        "class A:\n"
        "    def f(self):\n"
        "        def g(): pass\n"
        "    class B:\n"
        "        async def f(self): pass\n"
        "def h(): pass\n"
    )
    assert [d.name for d in definitions(ast.parse(source))] == ["A.f", "A.f.g", "A.B.f", "h"]


def test_a_docstring_makes_no_function_longer() -> None:
    plain = "def f():\n    a = 1\n    return a"
    documented = 'def f():\n    """One.\n\n    Two.\n    """\n    a = 1\n    return a'
    assert [measured(text)["f"]["lines"] for text in (plain, documented, 'def f():\n    """Alone."""')] == [
        3,
        3,
        1,
    ]


def test_a_chain_of_a_thousand_elifs_is_one_level_deep() -> None:
    chain = "if x == 0:\n    pass\n" + "".join(f"elif x == {n}:\n    pass\n" for n in range(1, 1000))
    source = parse(f"def f(x):\n{indent(chain)}\n".encode())
    if source.tree is None:  # a Python whose own parser gives up says so instead
        assert source.error.startswith("does not parse")
        return
    got = measure("m.py", definitions(source.tree)[0])
    assert (got["complexity"], got["depth"]) == (1001, 1)


def test_an_if_inside_an_else_is_a_level_deeper() -> None:
    assert (
        measured("def f():\n    if a:\n        pass\n    else:\n        if b:\n            pass")["f"][
            "depth"
        ]
        == 2
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"x = 1\ndef f(:\n", 2),
        (b"x = 1\nx = \xff\n", 1),
        (b"# coding: nonsense\n", 1),
        (b"x = 1\0\n", 1),
        (b"(" * 300 + b")" * 300, 1),
        (b"- " * 200_000 + b"1", 1),
    ],
    ids=["syntax", "encoding", "unknown-encoding", "null-byte", "parentheses", "recursion"],
)
def test_source_that_does_not_parse_says_why_and_where(content: bytes, line: int) -> None:
    source = parse(content)
    assert source.tree is None
    assert source.error.startswith("does not parse: ")
    assert len(source.error) > len("does not parse: ")
    assert source.error_line in {line, 2} if b"\xff" in content else source.error_line == line


def test_a_doubtful_escape_is_parsed_without_a_warning() -> None:
    assert parse(b"x = '\\d'\n").tree is not None


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    source = read(str(tmp_path), "gone.py")
    assert (source.digest, source.tree, source.error_line) == ("", None, 1)
    assert source.error.startswith("cannot be read: ")


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (read(str(tmp_path), "a.py").digest, read(str(tmp_path), "a.py").lines) == (empty, 0)
