"""``otel-stream show``: a run as a tree of lines, from a file and from what the viewer keeps."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from otel_stream.cli.app import app
from otel_stream.cli.tree import Line, Tree, duration
from otel_stream.view import otlp_json
from otel_stream.view.writer import Writer

HOSTILE = "[bold]x[/bold]\u202e\x1b[31m\nno"
TIMES = "\N{MULTIPLICATION SIGN}"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(id: str, parent: str, name: str, start: float, end: float | None, **more: Any) -> dict[str, Any]:
    return {"id": id, "parent": parent, "name": name, "start": start, "end_time": end, "status": 0, **more}


def node(id: str, parent: str, name: str, start: float, end: float | None, **more: Any) -> dict[str, Any]:
    return span(id, parent, f"invoke_node {name}", start, end, node=name, **more)


ROOT = span("0", "", "invoke_workflow g", 0, 9, run="r")
STEP = span("1", "0", "superstep", 0, 5, step=1)


def lines(spans: list[dict[str, Any]], **more: Any) -> list[Line]:
    return list(Tree(spans, "0", **{"running": False, **more}).lines())


def test_a_fan_out_is_one_line_with_those_that_failed_below_it() -> None:
    many = [node(f"n{n}", "1", "search", n, n + 2, attempts=1 + n % 2) for n in range(3)]
    many[1] |= {"end": "error", "status": 2, "error": "ValueError"}
    assert lines([*many, STEP, ROOT]) == [
        Line("", "ok", "g", "", 0, 9),
        Line("└─ ", "ok", "superstep 1", "", 0, 5),
        Line("   └─ ", "error", f"search {TIMES}3", "⟲1 ✖1", 0, 4),
        Line("      └─ ", "error", "search", "⟲1 ValueError", 1, 3, "n1"),
    ]
    assert [line.label for line in lines([ROOT, STEP, *many], unfolded=True)][2:] == ["search"] * 3


def test_an_attempt_is_told_where_there_was_more_than_one() -> None:
    once = [
        node("a", "1", "a", 0, 1),
        span("a1", "a", "attempt", 0, 1, attempt=1),
        span("u", "a1", "GET", 0, 1),
    ]
    twice = [
        node("b", "1", "b", 2, 5, attempts=2),
        span("b1", "b", "attempt", 2, 3, attempt=1, status=2),
        span("b2", "b", "attempt", 3, 5, attempt=2),
    ]
    assert [line.branch + line.label for line in lines([ROOT, STEP, *once, *twice])] == [
        "g",
        "└─ superstep 1",
        "   ├─ a",
        "   │  └─ GET",
        "   └─ b",
        "      ├─ attempt 1",
        "      └─ attempt 2",
    ]


@pytest.mark.parametrize(("running", "look"), [(True, "running"), (False, "stopped")])
def test_what_has_no_end_goes_on_as_long_as_its_run(running: bool, look: str) -> None:
    assert lines([ROOT, STEP, node("a", "1", "a", 2, None)], running=running)[-1] == Line(
        "   └─ ", look, "a", "", 2, None
    )


def test_spans_whose_parents_are_circles_not_here_or_without_end_are_shown_once() -> None:
    circle = [span("a", "b", "x", 0, 1), span("b", "a", "y", 0, 1)]
    assert [
        line.label for line in Tree([*circle, span("c", "gone", "z", 0, 1)], "?", running=False).lines()
    ] == ["z"]
    assert [line.label for line in Tree(circle, "a", running=False).lines()] == ["x", "y"]
    deep = [span(str(n), str(n - 1), f"s{n}", 0, 1) for n in range(5000)]
    found = lines(deep)
    assert [line.label for line in found] == [f"s{n}" for n in range(5000)]
    assert max(len(line.branch) for line in found) < 100


def test_durations_are_said_as_people_say_them() -> None:
    assert [duration(ms) for ms in (0.5, 12.4, 1500, 65_000, 7_260_000)] == [
        "0.50 ms", "12 ms", "1.50 s", "1 m 5 s", "2 h 1 m",
    ]  # fmt: skip


# -- the command -----------------------------------------------------------------------------------


def shown(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["show", *map(str, arguments)])


def exported(trace: str, spans: list[tuple[str, str, str, int]]) -> bytes:
    """One line of OTLP JSON; each span: its id, its parent's, its name, its status."""
    return msgspec.json.encode(
        {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [
            {
                "traceId": trace, "spanId": id * 16, "parentSpanId": parent * 16, "name": name,
                "startTimeUnixNano": str(10**18 + int(id, 16) * 10**6),
                "endTimeUnixNano": str(10**18 + 10**8),
                "status": {"code": status, "message": f"why {HOSTILE}"} if status else {},
            }
            for id, parent, name, status in spans
        ]}]}]}
    )  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "some.jsonl"
    first = exported(TRACE, [("1", "", f"GET {HOSTILE}", 0), ("2", "1", "query", 2)])
    file.write_bytes(first + b"\n{cut\n" + exported("b" * 32, [("5", "", "other", 0)]) + b"\n")
    return file


def test_a_file_is_shown_as_text_whatever_is_in_it(file: Path) -> None:
    result = shown(file)
    said = r"GET [bold]x[/bold]\u202e\x1b[31m\nno"
    bar, bar2 = "━" * 24, "━" * 24
    rows = result.stdout.splitlines()
    assert rows[0] == f"✔ {said}  ok 99 ms · trace {TRACE}"
    assert rows[1:3] == [f"✔ {said}  {bar}     99 ms", f"{'└─ ✖ query'.ljust(38)}  {bar2}     98 ms"]
    assert rows[3].strip() == r"why [bold]x[/bold]\u202e\x1b[31m\nno"
    assert rows[5].startswith("✔ other  ok 95 ms")
    assert result.stderr == f"otel-stream: 1 lines of {str(file)!r} could not be read\n"


def test_a_run_that_failed_makes_the_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "failed.jsonl"
    file.write_bytes(exported(TRACE, [("1", "", "job", 2)]))
    result = shown(file)
    assert (result.exit_code, result.stdout.split()[:3]) == (1, ["✖", "job", "error"])


def test_one_of_a_file_is_shown_by_the_beginning_of_its_id(file: Path) -> None:
    result = shown(file, "--run", "bbb")
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["other", "other"]


def test_what_the_viewer_keeps_is_shown_the_newest_by_default(tmp_path: Path, file: Path) -> None:
    assert shown("--data", tmp_path).stderr == (
        f"otel-stream: no viewer has kept runs in {str(tmp_path)!r}: start otel-stream view, or give a file\n"
    )
    writer = Writer(tmp_path / "store.db", 2**30)
    writer.write(otlp_json.line(exported("c" * 32, [("2", "", "newer", 0)])))
    writer.write(otlp_json.line(exported(TRACE, [("1", "", "older", 0)])))
    try:
        assert shown("--data", tmp_path).stdout.split()[1] == "newer"
        assert shown(TRACE[:5], "--data", tmp_path).stdout.split()[1] == "older"
        refused = shown("'; drop", "--data", tmp_path)
    finally:
        writer.close()
    assert (refused.exit_code, refused.stderr) == (
        2,
        "otel-stream: \"'; drop\" is no file, and no run or trace of the viewer's store begins like that\n",
    )


def test_a_run_of_the_demo_is_shown_by_supersteps(tmp_path: Path) -> None:
    file = tmp_path / "demo.jsonl"
    command = [
        sys.executable,
        "-m",
        "otel_stream",
        "demo",
        "--json",
        "--limit",
        "3",
        "--telemetry",
        str(file),
    ]
    subprocess.run([*command, "--budget", "1"], check=True, capture_output=True, timeout=50)
    good = shown(file)
    tree = [re.sub(r"\s+━.*", "", row) for row in good.stdout.splitlines()[1:]]
    assert (good.exit_code, tree) == (0, [
        "✔ audit",
        "├─ ✔ superstep 1", "│  └─ ✔ discover",
        "├─ ✔ superstep 2", f"│  └─ ✔ audit_file {TIMES}3",
        "├─ ✔ superstep 3", "│  └─ ✔ rank",
        "├─ ✔ superstep 4", "│  └─ ✔ deepen",
        "└─ ✔ superstep 5", "   └─ ✔ report",
    ])  # fmt: skip
