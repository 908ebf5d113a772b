"""The benchmarks run, and say what they found in the shape that is promised; never how long it took."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

ROWS = {
    "async-superstep": "superstep",
    "run": "run",
    "run-traced": "run",
    "threaded-superstep": "superstep",
    "sync-superstep": "superstep",
    "all-modes": "superstep",
    "all-modes-astream": "superstep",
    "traced": "superstep",
    "traced-sdk": "superstep",
    "unsampled": "superstep",
    "adapter-idle": "superstep",
    "adapter-traced": "superstep",
    "adapter-receiver": "superstep",
    "adapter-unsampled": "superstep",
    "custom-part": "part",
    "receivers-1": "part and receiver",
    "receivers-4": "part and receiver",
    "receivers-16": "part and receiver",
    "receivers-64": "part and receiver",
    "filtered": "part written",
    "sampled": "part written",
    "aggregated": "part written",
    "messages": "token",
    "messages-joined": "token",
    "model-traced": "chunk",
    "model-exported": "chunk",
    "model-messages": "chunk",
    "client-traced": "chunk",
    "client-messages": "chunk",
    "volume-block": "memory growth",
    "volume-drop": "memory growth",
    "volume-first": "first part",
    "runs-1000": "superstep",
    "runs-memory": "run",
    "latency-await": "part, by the clock",
    "latency-await-p99": "part, by the clock",
    "latency-busy": "part, by the clock",
    "latency-busy-p99": "part, by the clock",
    "fan-out": "task",
    "checkpointed": "superstep",
    "compile": "node",
    "chat-20": "superstep",
    "chat-100": "superstep",
    "chat-500": "superstep",
    "chat-2000": "superstep",
    "chat-10000": "superstep",
    # Of LangGraph's 28 graphs, three times each, those that take no time to speak of.
    "graph-sequential_10": "run",
    "graph-sync-sequential_10": "run",
    "graph-traced-sequential_10": "run",
}
#: What LangGraph can't do.
ALONE = {name for name, unit in ROWS.items() if unit in ("part and receiver", "part written", "token")}


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.results import Measured, judged

    def judge(goal: dict[str, Any] | None, ours: list[float], theirs: list[float]) -> Any:
        over = Measured("base", samples={"ours": [10.0]})
        row = Measured("row", {"goal": goal}, {"ours": ours, "theirs": theirs})
        return judged(row, {"row": row, "base": over})

    return judge


@pytest.mark.timeout(620)
def test_a_quick_run_measures_every_row_on_both_sides(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    done = benchmarks("--quick", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(output.read_text())
    assert list(report) == [
        "format",
        "time",
        "quick",
        "clock",
        "unit",
        "machine",
        "versions",
        "rows",
        "means",
    ]
    assert report["quick"] is True
    assert report["versions"]["langgraph"] == "1.2.22"
    assert set(report["machine"]) >= {"processor", "cores", "python", "load_average"}
    assert {row["name"]: row["unit"] for row in report["rows"]} == ROWS
    for row in report["rows"]:
        assert row["error"] is None
        assert (row["theirs"] is None) == (row["name"] in ALONE)
        for side in filter(None, (row["ours"], row["theirs"])):
            assert side["samples"] == 2
            # Memory may not grow at all.
            assert 0 <= side["min"] <= side["median"]
            assert side["median"] > 0 or row["quantity"] == "MB"
        if row["theirs"] is not None:
            assert row["ratio"] == pytest.approx(row["ours"]["min"] / row["theirs"]["min"], rel=2e-2)
    assert all(name in done.stdout for name in ROWS)


def test_a_selected_row_is_measured_alone_and_does_not_replace_the_results(tmp_path: Path) -> None:
    kept = ROOT / "benchmarks" / "results.json"
    before = kept.read_bytes() if kept.exists() else None
    output = tmp_path / "results.json"
    done = benchmarks("--quick", "--only", "fan-out", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["name"] for row in json.loads(output.read_text())["rows"]] == ["fan-out"]
    assert (kept.read_bytes() if kept.exists() else None) == before


def test_the_page_shows_the_last_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.document import PAGE, RESULTS, written

    page, results = PAGE.read_text(), json.loads(RESULTS.read_text())
    assert written(page, results) == page
    shown = {row["name"] for row in results["rows"] if f"| `{row['name']}` |" in page}
    assert {name for name in ROWS if not name.startswith("graph-")} <= shown


def test_an_unknown_row_is_refused_with_its_neighbour() -> None:
    done = benchmarks("--only", "fanout")
    assert done.returncode == 2
    said = " ".join(done.stderr.replace("│", " ").split())
    assert "no row is called 'fanout'; did you mean 'fan-out'? Rows: async-superstep," in said


def test_a_ratio_is_of_the_minima_and_held_to_both_limits(judged: Any) -> None:
    goal = {"kind": "ratio", "over": None, "must": 0.05, "aim": 0.025}
    assert judged(goal, [9.0, 4.0], [100.0, 300.0]) == {
        "kind": "ratio",
        "over": None,
        "value": 0.04,
        "must": {"limit": 0.05, "met": True},
        "aim": {"limit": 0.025, "met": False},
    }


def test_what_a_row_adds_is_measured_over_the_row_it_names(judged: Any) -> None:
    goal = {"kind": "added", "over": "base", "must": None, "aim": 15.0}
    assert judged(goal, [25.0, 30.0], [1.0]) == {
        "kind": "added",
        "over": "base",
        "value": 15.0,
        "must": None,
        "aim": {"limit": 15.0, "met": True},
    }


def test_what_a_row_adds_may_be_measured_over_its_other_side(judged: Any) -> None:
    goal = {"kind": "added", "over": "theirs", "must": None, "aim": 15.0}
    assert judged(goal, [425.0, 430.0], [400.0, 410.0])["value"] == 25.0


def test_a_row_may_be_held_to_a_multiple_of_another(judged: Any) -> None:
    goal = {"kind": "times", "over": "base", "must": None, "aim": 1.5}
    assert judged(goal, [14.0, 16.0], [])["value"] == 1.4


def test_a_mean_is_over_all_28_graphs_with_and_without_what_nodes_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.cases import ASYNC, NAMES
    from benchmarks.results import Measured, missed, report

    def samples(ours: float) -> dict[str, list[float]]:
        return {"ours": [ours], "theirs": [400.0], "nodes": [80.0]}

    rows = [
        Measured(ASYNC + name, samples=samples(100.0 if index % 2 else 400.0))
        for index, name in enumerate(NAMES)
    ]
    (mean,) = report(rows, quick=False)["means"]
    assert (mean["name"], mean["rows"], mean["ratio"], mean["worst"]) == ("graph-*", 28, 0.5, 1.0)
    assert mean["engine"] == pytest.approx((20 / 320) ** 0.5)
    assert mean["goal"] == {"must": {"limit": 0.6667, "met": True}, "aim": {"limit": 0.1667, "met": False}}
    assert report(rows[1:], quick=False)["means"] == []
    rows[1].samples["ours"] = [400.0 * 30**4]
    assert missed(report(rows, quick=False)) == ["graph-*"]


def test_an_amount_is_judged_as_it_is(judged: Any) -> None:
    goal = {"kind": "amount", "over": None, "must": 5.0, "aim": None}
    found = judged(goal, [6.0, 4.5], [140.0])
    assert (found["value"], found["must"]) == (4.5, {"limit": 5.0, "met": True})


def test_what_was_not_measured_is_not_judged(judged: Any) -> None:
    goal = {"kind": "added", "over": "elsewhere", "must": 1.0, "aim": None}
    found = judged(goal, [25.0], [1.0])
    assert (found["value"], found["must"]) == (None, {"limit": 1.0, "met": None})
    assert judged(None, [25.0], [1.0]) is None


def test_a_row_whose_process_fails_says_why_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.cases import Row
    from benchmarks.measure import Effort
    from benchmarks.results import Measured
    from benchmarks.runner import run

    told: list[Measured] = []
    rows = [Row("no-such-row", "nowhere", "nothing"), Row("fan-out", "fan_out", "fan_out")]
    found = run(rows, Effort(seconds=0, rounds=1, sample=0), together=False, tell=told.append)
    reason = "no-such-row: not rows that can share a process; see benchmarks/cases/__init__.py"
    assert [(row.name, row.done, row.error) for row in found] == [
        ("no-such-row", False, reason),
        ("fan-out", True, None),
    ]
    assert told[0] is found[0]


def test_a_commit_is_laid_out_with_the_benchmarks_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import compare

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(tmp_path)]
    for name in ("engine/a.py", "otel_stream/b.py", "benchmarks/providers.py"):
        write(name, "then")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "then"]):
        subprocess.run([*git, *command], check=True)
    for name in (
        "engine/a.py",
        "engine/new.py",
        *(f"benchmarks/{one}" for one in ("turns.py", "providers.py")),
    ):
        write(name, "now")
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    with compare.tree_of("HEAD") as tree:
        found = {path.relative_to(tree).as_posix(): path.read_text() for path in tree.rglob("*.py")}
    assert found == {
        "engine/a.py": "then",
        "otel_stream/b.py": "then",
        "benchmarks/providers.py": "then",
        "benchmarks/turns.py": "now",
    }


@pytest.mark.timeout(620)
def test_a_row_is_compared_by_turns_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.cases import Row
    from benchmarks.compare import compare

    found = compare(Row("fan-out", "fan_out", "fan_out"), ROOT, pairs=1, seconds=0.01)
    assert (found.unit, found.error) == ("task", "")
    assert len(found.before) == len(found.after) >= 1
    lost = compare(Row("no-such-row", "nowhere", "nothing"), ROOT, pairs=1, seconds=0.01)
    assert lost.error == "no-such-row: no row is called so; see benchmarks/cases/__init__.py"
