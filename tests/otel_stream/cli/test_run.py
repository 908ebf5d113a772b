"""``otel-stream run``: any graph, by where it is written; what it prints, and what it refuses."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OURS = """
from typing import TypedDict
from engine import START, StateGraph, interrupt
class State(TypedDict, total=False):
    n: int
    said: str
def add(state: State): return {"n": state.get("n", 0) + 1}
def ask(state: State): return {"said": interrupt(f"is {state['n']} right?") if state["n"] > 8 else "yes"}
graph = StateGraph(State).add_node("add", add).add_node("ask", ask)
graph.add_edge(START, "add").add_edge("add", "ask")
more = StateGraph(State).add_node("first", lambda s: {"said": interrupt("first?")})
more.add_node("second", lambda s: {"said": f"{s['said']}{interrupt('second?')}"})
twice = more.add_edge(START, "first").add_edge("first", "second")
class Place: kept = graph.compile(name="kept")
def fails(): raise ConnectionError("no such host")
number = 5
"""
LANGGRAPHS = OURS.replace(
    "from engine import START, StateGraph, interrupt",
    """
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt""",
)


WAITS = "the run waits for an answer: give --answer JSON for each question, or type it at a terminal"


#: The terminal becomes that of the session, so that Ctrl-C reaches it.
AT_A_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from otel_stream.cli import main
main()
"""


def at_a_terminal(folder: Path, typed: bytes, *arguments: str) -> tuple[int, str]:
    """Type it once the run asks; return the exit code, and what the terminal has shown."""
    ours, theirs = pty.openpty()
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    process = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, "run", *arguments],
        cwd=folder, env=ambient | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while True:
            asked = b"Answer, text or JSON" in shown
            # A signal that comes between Python's prompt and its wait is seen at the next key: once more.
            again = typed == b"\x03" and shown.rstrip(b"^C").endswith(b"leave it waiting): ")
            try:
                if not select.select([ours], [], [], 5 if again else None)[0]:
                    os.write(ours, typed)
                    continue
                got = os.read(ours, 65536)
            except OSError:  # it has ended
                break
            shown += got
            if not asked and b"Answer, text or JSON" in shown:
                os.write(ours, typed)
            if not got:
                break
        return process.wait(30), shown.decode()
    finally:
        process.kill()
        os.close(ours)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("ours", OURS), ("theirs", LANGGRAPHS)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-m", "otel_stream", "run", *arguments],
        cwd=folder, env=ambient | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}, input=input,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["ours:graph", "ours.py:graph", "ours:Place.kept", "theirs:graph"])
def test_a_graph_is_run_and_shown_wherever_it_is_written(folder: Path, name: str) -> None:
    done = run(folder, name, "--input", '{"n": 3}')
    display, _, result = done.stdout.partition("\n{")
    assert (done.returncode, done.stderr, json.loads("{" + result)) == (0, "", {"n": 4, "said": "yes"})
    assert [line.split()[:3] for line in display.splitlines() if line.startswith(("add", "ask"))] == [
        ["add", "1", "0"], ["ask", "1", "0"],
    ]  # fmt: skip
    assert "supersteps 2" in display


@pytest.mark.parametrize("how", ["-", "@input.json"])
def test_input_is_read_from_where_it_is_said(folder: Path, how: str) -> None:
    (folder / "input.json").write_text('{"n": 1}')
    done = run(folder, "ours:graph", "--input", how, "--json", "--modes", "updates", input='{"n": 1}')
    assert [json.loads(line)["data"] for line in done.stdout.splitlines()] == [
        {"add": {"n": 2}}, {"ask": {"said": "yes"}},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["ours:graph", "theirs:graph"])
def test_what_it_waits_for_is_shown_and_that_nobody_answers(folder: Path, name: str) -> None:
    done = run(folder, name, "--input", '{"n": 8}')
    assert (done.returncode, done.stderr) == (3, f"otel-stream: {WAITS}\n")
    assert 'waits for  "is 9 right?"' in done.stdout


@pytest.mark.parametrize("name", ["ours:graph", "ours:Place.kept", "theirs:graph"])
def test_what_it_asks_is_answered_by_what_was_given(folder: Path, name: str) -> None:
    done = run(folder, name, "--input", '{"n": 8}', "--answer", '["yes", 9]')
    display, _, result = done.stdout.partition("\n{")
    assert (done.returncode, done.stderr, json.loads("{" + result)) == (0, "", {"n": 9, "said": ["yes", 9]})
    assert "waits for" not in display
    assert [line.split()[:2] for line in display.splitlines() if line.startswith(("add", "ask"))] == [
        ["add", "1"], ["ask", "1"],
    ]  # fmt: skip


def test_answers_are_taken_in_order_and_one_too_few_leaves_it_waiting(folder: Path) -> None:
    arguments = ["ours:twice", "--json", "--modes", "updates"]
    done = run(folder, *arguments, "--answer", '"a"', "--answer", "2")
    assert [json.loads(line)["data"] for line in done.stdout.splitlines() if "__interrupt__" not in line] == [
        {"first": {"said": "a"}}, {"second": {"said": "a2"}},
    ]  # fmt: skip
    assert done.returncode == 0
    one = run(folder, *arguments, "--answer", '"a"')
    assert (one.returncode, one.stderr.splitlines()[-1]) == (3, f"otel-stream: {WAITS}")


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"so it is\n", 0, '"said": "so it is"'),
        (b'{"a": 1}\n', 0, '"a": 1'),
        (b"\n", 3, WAITS),
        (b"\x04", 3, WAITS),
        (b"\x03", 130, "cancelled"),
    ],
)
def test_who_sits_at_a_terminal_is_asked(folder: Path, typed: bytes, code: int, said: str) -> None:
    got, shown = at_a_terminal(folder, typed, "ours:graph", "--input", '{"n": 8}')
    assert (got, said in shown) == (code, True), shown
    assert "The run asks: is 9 right?" in shown


def test_telemetry_goes_to_a_file_if_one_is_named(folder: Path) -> None:
    done = run(folder, "ours:graph", "--telemetry", "some.jsonl")
    assert "Exported" in done.stdout
    assert b"invoke_workflow" in (folder / "some.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ours"], "'ours' names no graph; give MODULE:GRAPH, such as app.graphs:triage"),
        (["ours:nothing"], "'ours' has no 'nothing'; give the name of a graph in it"),
        (["ours:number"], "'ours:number' is no graph but of type int; give a StateGraph, or one compiled"),
        (["nowhere:x"], "'nowhere' cannot be imported (No module named 'nowhere'); give a module or a file"),
        (["nowhere.py:x"], "'nowhere.py' is no file; give one, or the name of a module"),
        (["ours:graph", "--input", "{"], "--input: '{' is no JSON"),
        (["ours:graph", "--input", "@none"], "--input: 'none' cannot be read (no such file or directory)"),
        (["ours:graph", "--config", "[]"], "--config: give a mapping"),
        (["ours:graph", "--modes", "all"], "--modes: unknown stream mode 'all'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_in_one_sentence(folder: Path, arguments: list[str], said: str) -> None:
    done = run(folder, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"otel-stream: {said}")


def test_a_run_that_fails_says_why(folder: Path) -> None:
    done = run(folder, "ours:graph", "--input", '{"n": "x"}')
    assert (done.returncode, done.stderr.startswith("otel-stream: the run failed: ")) == (1, True)
