"""The program as its user meets it: what it prints, where, and with which exit code."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.demo.graph import build, config, request
from engine.demo.sources import target
from engine.demo.writer import DISCLOSURE, DeterministicAuthor
from otel_stream.cli.app import app
from otel_stream.config import MODES, OverflowPolicy

#: The demo calls no tools.
SHOWN = tuple(mode for mode in MODES if mode != "tools")

ROOT = Path(__file__).parents[3]
FILES = {
    "a.py": "import os\n\ndef f(a=[]):\n    os.system(a)\n",
    "broken.py": "def f(:\n",
    "pkg/busy.py": "def busy(x):\n" + "".join(f"    if x == {n}:\n        return {n}\n" for n in range(25)),
    "pkg/plain.py": "def one(): return 1\n\ndef two(): return 2\n",
}
#: What identifies a run or a moment; everything else is the same in every run with one seed.
IDENTITY = {
    "checkpoint_id", "checkpoint_map", "checkpoint_ns", "id", "langgraph_checkpoint_ns", "parents", "run_id",
    "seq", "span_id", "task_id", "time_unix_nano", "timestamp", "trace_id",
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "otel_stream.cli", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "PYTHONWARNINGS": "error", **more}


def program(tmp_path: Path, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def parts(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def anonymous(value: Any) -> Any:
    if isinstance(value, dict):
        shown = {key: anonymous(item) for key, item in value.items() if key not in IDENTITY}
        if "ns" in value:
            shown["ns"] = [level.partition(":")[0] for level in value["ns"]]
        return shown
    return [anonymous(item) for item in value] if isinstance(value, list) else value


def comparable(all_parts: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(anonymous(part), sort_keys=True) for part in all_parts)


def test_it_prints_progress_then_a_report_then_an_account(tmp_path: Path, tree: Path) -> None:
    done = program(tmp_path, "demo", tree, "--budget", 1)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [re.sub(r"findings: \d", "findings: n", line) for line in lines[:10]] == [
        "files found: 4",
        "1 of 4 files audited, findings: n",
        "2 of 4 files audited, findings: n",
        "3 of 4 files audited, findings: n",
        "4 of 4 files audited, findings: n",
        "functions queued for a closer look: 1",
        "",
        f"Audit of {tree}",
        "",
        DISCLOSURE,
    ]
    assert "1. pkg/busy.py:1 busy: 51 lines, 26 paths, 1 deep" in done.stdout


@pytest.mark.parametrize("mode", SHOWN)
def test_each_mode_alone_has_parts_and_loses_none(tmp_path: Path, tree: Path, mode: str) -> None:
    done = program(tmp_path, "demo", tree, "--json", "--modes", mode)
    got = parts(done)
    assert {part["type"] for part in got} == {mode}
    assert re.match(
        rf"otel-stream: {len(got):,} parts, 0 dropped\. Trace [0-9a-f]{{32}}\. Exported ", done.stderr
    )


async def test_the_last_values_part_is_the_result(tmp_path: Path, tree: Path) -> None:
    got = parts(program(tmp_path, "demo", tree, "--json", "--modes", "values", "--budget", 2))
    graph = build(writer=DeterministicAuthor())
    result = await graph.ainvoke(request(target(str(tree)), limit=300, budget=2), config(2))
    assert [part["data"] for part in got if not part["ns"]][-1] == result


def test_one_seed_gives_the_same_parts_every_time(tmp_path: Path, tree: Path) -> None:
    arguments = ("demo", tree, "--json", "--chaos", "0.4", "--seed", 7)
    first, second = (parts(program(tmp_path, *arguments)) for _ in range(2))
    assert comparable(first) == comparable(second)
    assert {part["type"] for part in first} == set(SHOWN)
    assert any(part.get("attempt", 1) > 1 for part in first)
    assert {part["trace_id"] for part in first}.isdisjoint(part["trace_id"] for part in second)


def test_chaos_changes_no_value(tmp_path: Path, tree: Path) -> None:
    calm, wild = (
        parts(program(tmp_path, "demo", tree, "--json", "--modes", "values", "--chaos", rate))
        for rate in (0, 0.5)
    )
    assert comparable(calm) == comparable(wild)


def test_the_account_shows_every_mode_without_loss(tmp_path: Path, tree: Path) -> None:
    done = program(tmp_path, "demo", tree, "--chaos", "0.3", "--seed", 1)
    rows = re.findall(r"(\w+) +([\d,]+) +([\d,]+) +([\d,]+)$", done.stdout, re.MULTILINE)
    account = {mode: numbers for mode, *numbers in rows if mode in SHOWN}
    assert set(account) == set(SHOWN)
    assert all(
        offered == delivered != "0" and dropped == "0" for offered, delivered, dropped in account.values()
    )
    assert re.search(r"^supersteps \d+, \d+ in subgraphs, in \d+\.\d s$", done.stdout, re.MULTILINE)
    assert re.search(r"^trace      [0-9a-f]{32}$", done.stdout, re.MULTILINE)


def test_telemetry_goes_to_a_file_of_otlp_json_lines(tmp_path: Path, tree: Path) -> None:
    done = program(tmp_path, "demo", tree, "--telemetry", "t/x.otlp.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "t/x.otlp.jsonl").read_text().splitlines()]
    assert {key for line in lines for key in line} == {"resourceSpans", "resourceLogs", "resourceMetrics"}
    spans = [
        span
        for line in lines
        for resource in line.get("resourceSpans", [])
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    (trace,) = re.findall(r"^trace      (\w+)$", done.stdout, re.MULTILINE)
    assert {span["traceId"] for span in spans} == {trace}
    exported = re.search(
        r"Exported ([\d,]+) spans, ([\d,]+) log events, ([\d,]+) metric points to", done.stdout
    )
    assert exported is not None
    assert int(exported[1].replace(",", "")) == len(spans)


def test_an_endpoint_nobody_answers_on_costs_telemetry_but_not_the_run(tmp_path: Path, tree: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, never listening: nobody answers
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = program(
            tmp_path, "demo", tree, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="1"
        )
    assert done.returncode == 0
    assert "Exported 0 spans, 0 log events, 0 metric points to" in done.stdout
    assert re.search(r"LOST [\d,]+ spans, [\d,]+ log events, [\d,]+ metric points?: ", done.stdout)
    assert url in done.stdout
    assert "note " not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--modes", "nope"], "--modes: unknown stream mode 'nope'."),
        (["--overflow", "nope"], "--overflow: unknown overflow policy 'nope'."),
        (["--buffer", "0"], "--buffer: 0 is too small;"),
        (["--sample", "2"], "--sample: 2 is not between 0 and 1;"),
        (["--chaos", "-0.5"], "--chaos: -0.5 is not between 0 and 1;"),
        (["no/such/place"], "PATH 'no/such/place' does not exist:"),
        (["empty"], "PATH 'empty' has no Python source (*.py) in it:"),
        (["--telemetry", "code/a.py/x"], "--telemetry: 'code/a.py/x' cannot be written"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["demo", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"otel-stream: {sentence}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--buffer", "many"], ["--chaos", "often"], ["--no-such-option"]])
def test_what_cannot_be_read_at_all_is_refused_with_the_usage(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["demo", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert arguments[0] in done.stderr


def test_help_names_every_mode_and_policy() -> None:
    done = CliRunner().invoke(app, ["demo", "--help"], terminal_width=200)
    assert done.exit_code == 0
    assert all(word in done.stdout for word in (*MODES, *OverflowPolicy))


def test_a_run_that_fails_says_so_in_one_sentence(tmp_path: Path, tree: Path) -> None:
    done = program(tmp_path, "demo", tree, "--chaos", "1")
    assert done.returncode == 1
    assert done.stderr == "otel-stream: the run failed: chaos: attempt 4 of discover at . fails (seed 0)\n"
    assert re.search(r"^discover +0 +1 +3 ", done.stdout, re.MULTILINE)


def test_a_receiver_that_overflows_fails_alone(tmp_path: Path, tree: Path) -> None:
    done = program(tmp_path, "demo", tree, "--buffer", 1, "--overflow", "error")
    assert done.returncode == 1
    assert "1. pkg/busy.py:1 busy" in done.stdout
    assert (
        "the run went on without its consumer: receiver 'demo': its buffer of 1 parts is full" in done.stderr
    )


def test_with_json_too_the_run_goes_on_without_its_reader(tmp_path: Path, tree: Path) -> None:
    done = program(tmp_path, "demo", tree, "--json", "--buffer", 1, "--overflow", "error")
    account, verdict = done.stderr.splitlines()
    assert done.returncode == 1
    assert re.match(r"otel-stream: 1 part, \d+ dropped\. Trace \w{32}\. Exported \d\d+ spans, ", account)
    assert verdict.startswith(
        "otel-stream: the run went on without its consumer: receiver 'demo': its buffer"
    )


def test_sampling_keeps_a_share_and_counts_the_rest(tmp_path: Path, tree: Path) -> None:
    done = program(tmp_path, "demo", tree, "--modes", "custom", "--sample", 0)
    (row,) = re.findall(r"custom +(\d+) +(\d+) +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
    offered, delivered, dropped, sampled_out = map(int, row)
    assert (delivered, dropped, sampled_out) == (0, 0, offered)
    assert offered > 0


def test_ctrl_c_ends_with_an_account_and_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("demo"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "files found: " in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130, err
    assert err == "otel-stream: interrupted: the run was cancelled, and what it had done so far is shown\n"
    assert re.search(r"^supersteps \d+", out, re.MULTILINE)
    assert "Exported " in out


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_reader_that_leaves_ends_the_run_without_a_word(tmp_path: Path, arguments: list[str]) -> None:
    process = subprocess.Popen(
        command("demo", *arguments),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_in_a_terminal_there_is_a_live_panel_and_the_report_stays(tmp_path: Path, tree: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command("demo", tree),
        cwd=tmp_path,
        env=environment(TERM="xterm-256color", LINES="40"),
        stdout=follower,
        stderr=subprocess.PIPE,
    )
    os.close(follower)
    chunks: list[bytes] = []
    with process:
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(leader)
    text = b"".join(chunks).decode()
    assert process.returncode == 0
    assert "files audited" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert f"Audit of {tree}" in plain
    assert plain.rstrip().splitlines()[-1].startswith("telemetry  Exported ")
    # The cursor is shown again.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_file_name_that_is_no_text_is_shown_somehow(
    tmp_path: Path, tree: Path, arguments: list[str]
) -> None:
    odd = os.fsencode(tree) + b"/\xff\xe9.py"
    try:
        Path(os.fsdecode(odd)).write_text("def f(a=[]): pass\n")
    except OSError:
        pytest.skip("this file system knows text only")
    done = program(tmp_path, "demo", tree, "--chaos", "0.2", *arguments, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "f has a mutable default" in done.stdout


def test_the_report_counts_what_the_parts_show(tmp_path: Path, tree: Path) -> None:
    got = parts(program(tmp_path, "demo", tree, "--json", "--modes", "messages,custom,values"))
    written = "".join(part["data"][0]["content"] for part in got if part["type"] == "messages")
    final = [part["data"] for part in got if part["type"] == "values" and not part["ns"]][-1]
    stages = Counter(part["data"]["stage"] for part in got if part["type"] == "custom")
    assert written == final["report"]
    assert stages == {
        "discover": 1,
        "audit": len(FILES),
        "rank": 1,
        "deepen": len(final["inspected"]),
        "report": 1,
    }
    assert final["author"] == "deterministic writer"
