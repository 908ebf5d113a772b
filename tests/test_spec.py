"""docs/specs/stream.md and the tests: every clause is cited by a test, and no test cites what is not there.

The citations are read from the source, so that this works whichever tests are run.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "docs" / "specs" / "stream.md").read_text()
#: A clause begins a list item; its text goes on, indented, until the next one.
CLAUSE = re.compile(r"^- \*\*(S-[A-Z]{3}-[0-9]+)\*\* ((?:.+\n)(?:  .+\n)*)", re.MULTILINE)


def clauses() -> dict[str, str]:
    return {name: " ".join(text.split()) for name, text in CLAUSE.findall(SPEC)}


def citations() -> Iterator[tuple[str, str]]:
    """Yield every (clause, test) that a `clause` marker ties together."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.clause":
                    for name in decorator.args:
                        yield ast.literal_eval(name), f"{path.relative_to(ROOT)}::{node.name}"


def test_every_clause_is_cited_by_a_test() -> None:
    assert set(clauses()) - {name for name, _ in citations()} == set()


def test_no_test_cites_a_clause_that_is_not_there() -> None:
    assert [(name, test) for name, test in citations() if name not in clauses()] == []


def test_what_cites_a_clause_is_a_test() -> None:
    assert [test for _, test in citations() if not test.rpartition("::")[2].startswith("test_")] == []


def test_every_clause_says_once_what_must_should_or_may_be() -> None:
    assert len(clauses()) > 50
    assert [
        name for name, count in Counter(re.findall(r"\*\*(S-[A-Z]+-\d+)", SPEC)).items() if count > 1
    ] == []
    assert [name for name, text in clauses().items() if not re.search(r"\b(MUST|SHOULD|MAY)\b", text)] == []


def test_the_clauses_of_a_group_are_numbered_from_one() -> None:
    groups: dict[str, list[int]] = {}
    for name in clauses():
        group, _, number = name.rpartition("-")
        groups.setdefault(group, []).append(int(number))
    assert [group for group, numbers in groups.items() if numbers != list(range(1, len(numbers) + 1))] == []
