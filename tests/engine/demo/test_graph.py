"""The audit as a whole: what it finds, and that nothing but its input decides what that is."""

from pathlib import Path
from typing import Any

import pytest

from engine.demo.chaos import Chaos, ChaosError
from engine.demo.graph import build, config, request
from engine.demo.sources import NothingToAudit, target
from engine.demo.writer import DeterministicAuthor

BUSY = "def busy(x):\n" + "".join(f"    if x == {n}:\n        return {n}\n" for n in range(25))
FILES = {
    "a.py": "import os\n\ndef f(a=[]):\n    os.system(a)\n",
    "broken.py": "def f(:\n",
    "empty.py": "",
    "pkg/busy.py": BUSY,
    "pkg/plain.py": "def one(): return 1\n\ndef two(): return 2\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


async def audit(
    tree: Path, *, budget: int = 2, limit: int = 100, chaos: Chaos | None = None
) -> dict[str, Any]:
    graph = build(chaos=chaos, writer=DeterministicAuthor())
    asked = request(target(str(tree)), limit=limit, budget=budget)
    result: dict[str, Any] = await graph.ainvoke(asked, config(budget))
    return result


async def test_an_audit_finds_measures_and_inspects(tree: Path, anyio_backend_name: str) -> None:
    result = await audit(tree)
    assert [(f["path"], f["line"], f["rule"]) for f in result["findings"]] == [
        ("a.py", 3, "mutable-default"),
        ("a.py", 4, "os-system"),
        ("broken.py", 1, "unreadable"),
        ("pkg/busy.py", 1, "complex-function"),
    ]
    assert result["totals"] == {
        "bytes": sum(map(len, FILES.values())),
        "files": 5,
        "functions": 4,
        "lines": sum(text.count("\n") for text in FILES.values()),
    }
    assert [(m["name"], m["score"]) for m in result["worst"]] == [
        ("busy", 26),
        ("f", 1),
        ("one", 1),
        ("two", 1),
    ]
    assert [seen["name"] for seen in result["inspected"]] == ["busy", "f"]
    assert (result["queue"], result["author"]) == ([], "deterministic writer")
    assert "pkg/busy.py:1 busy" in result["report"]


@pytest.mark.parametrize(("budget", "inspected"), [(0, 0), (1, 1), (50, 4)])
async def test_the_loop_goes_on_until_its_budget_is_spent(
    tree: Path, anyio_backend_name: str, budget: int, inspected: int
) -> None:
    assert len((await audit(tree, budget=budget))["inspected"]) == inspected


async def test_chaos_changes_the_way_but_not_the_result(tree: Path, anyio_backend_name: str) -> None:
    calm = await audit(tree)
    assert [await audit(tree, chaos=Chaos(0.4, seed)) for seed in range(3)] == [calm] * 3


async def test_total_chaos_fails_the_run(tree: Path, anyio_backend_name: str) -> None:
    with pytest.raises(ChaosError, match="attempt 4 of discover"):
        await audit(tree, chaos=Chaos(1.0, 1))


async def test_a_limit_leaves_files_out_and_says_so(tree: Path, anyio_backend_name: str) -> None:
    result = await audit(tree, limit=2)
    assert [file["path"] for file in result["files"]] == ["a.py", "broken.py"]
    assert "Files left out: 3 beyond the limit." in result["report"]


async def test_a_tree_without_python_fails_with_its_sentence(tmp_path: Path, anyio_backend_name: str) -> None:
    with pytest.raises(NothingToAudit, match="has no Python source"):
        await audit(tmp_path)
