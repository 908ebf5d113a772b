"""Nothing but text reaches the terminal, and what is one line stays one line."""

import ast
import json
import os
import pty
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stream.cli.summary import Outcome, print_summary
from otel_stream.cli.tally import Tally
from otel_stream.cli.terminal import Output, line, say
from otel_stream.encoding import encode, printable

ROOT = Path(__file__).parents[3]
HOSTILE = "\x1b]0;title\x07\x1b[2J\nFORGED\r\u202e\u2028\x9b31m\x7f\ud800\U000e0041"


def obeyed(text):
    return [char for char in text if not (char.isprintable() or char == "\n")]


@given(st.text(st.characters()))
def test_text_is_printed_as_one_printable_line(text):
    shown = printable(text)
    assert not any(char in shown for char in "\n\r\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066")
    assert shown.encode().decode() == shown
    assert printable(shown) == shown


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_that_is_escaped_says_the_same(value):
    shown = printable(encode(value).decode(), json=True)
    assert json.loads(shown) == value
    assert not any(char in shown for char in "\x1b\x7f\x85\x9b\u2028\u202e")


def test_letters_spaces_and_emoji_stay_what_they_are():
    text = "Grüße, 世界\u00a0👩\u200d💻 café"
    assert printable(text) == text


def test_a_line_is_said_as_one(capsys):
    say(f"before {HOSTILE} after")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert obeyed(out) == []
    assert "\\x1b]0;title\\x07" in out


@pytest.mark.parametrize("terminal", [True, False])
def test_what_rich_prints_is_text_and_no_markup(terminal):
    file = StringIO()
    console = Output(file=file, force_terminal=terminal, color_system=None, width=400)
    outcome = Outcome(tally=Tally(trace_id=HOSTILE))
    print_summary(console, outcome, [HOSTILE], [f"[bold]{HOSTILE}[/bold] [link=http://x]y[/link]"])
    console.print(line(HOSTILE, ("styled", "bold")))
    console.print(HOSTILE.replace("\n", ""))
    assert obeyed(file.getvalue()) == []
    assert "\nFORGED" not in file.getvalue()
    assert "[bold]" in file.getvalue()


def test_the_program_prints_through_the_terminal_alone():
    printing = []
    for path in (ROOT / "otel_stream" / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in {"print", "typer.echo", "Console", "sys.stdout.write", "sys.stderr.write"}:
                printing.append((path.name, called))
    assert printing == [("terminal.py", "typer.echo")]


def on_a_terminal(*arguments, cwd):
    """Run the program under a pseudo terminal; return what reached it."""
    shown, held = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "OTEL_SDK_DISABLED": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "otel_stream.cli", *arguments],
        env=environment, cwd=cwd, stdin=held, stdout=held, stderr=held,
    )  # fmt: skip
    os.close(held)
    found = b""
    while True:
        try:
            more = os.read(shown, 65536)
        except OSError:
            break
        if not more:
            break
        found += more
    os.close(shown)
    process.wait(50)
    return found.decode()


def test_names_of_files_are_shown_as_text(tmp_path):
    name = "a\x1b]0;pwned\x07\n\x1b[31mFORGED.py"
    (tmp_path / name).write_text(
        "def f(a=[]):\n    try:\n        return eval(a)\n    except:\n        pass\n"
    )
    shown = on_a_terminal("demo", ".", cwd=tmp_path)
    assert "\x1b]0;" not in shown
    assert "FORGED" in shown
    assert "\x1b[31mFORGED" not in shown
    assert not any(part.startswith("FORGED") for part in shown.replace("\r", "\n").split("\n"))
