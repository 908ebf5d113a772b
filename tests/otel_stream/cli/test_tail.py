"""``otel-stream tail``: what runs do, each thing once, as a viewer hears of it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from otel_stream.cli.app import app
from otel_stream.cli.tail import Shown
from otel_stream.cli.view import environment
from tests.otel_stream.view.viewers import ROOT, viewer, wait_for

TIMES = "\N{MULTIPLICATION SIGN}"
RUN = {"key": "r1", "name": "g", "started": 0.0, "state": "running", "root": "0", "tokens": 0, "service": "s"}
ENDED = {**RUN, "ended": 900.0, "state": "error", "tokens": 1204, "thread": "t7"}


def node(id: str, name: str, start: float, end: float | None = None, **more: Any) -> dict[str, Any]:
    name_ = f"invoke_node {name}"
    return {
        "id": id, "parent": "0", "name": name_, "node": name, "start": start, "end_time": end, "status": 0
    } | more  # fmt: skip


def told(lines: list[Any]) -> list[str]:
    """Lines without the time, which is where this machine is."""
    return [re.sub(r"^\d\d:\d\d:\d\d\.", "", line.plain) for line in lines]


def test_what_began_together_is_one_line_and_each_end_is_told() -> None:
    shown = Shown()
    many = [node(str(n), "search", 10.0) for n in range(1, 4)]
    assert told(shown.lines(RUN, many, [])) == [
        "000  ● g  begins · service s · r1",
        f"010  ● g / search {TIMES}3",
    ]
    attempt = {
        "id": "9", "parent": "2", "name": "attempt", "attempt": 1, "start": 10.0, "end_time": 15.0,
        "status": 2, "error": "ValueError",
    }  # fmt: skip
    ends = [many[0] | {"end_time": 20.0}, many[1] | {"end_time": 25.0, "end": "interrupted"}, attempt]
    assert told(shown.lines(ENDED, ends, [])) == [
        "015  ✖ g / search attempt 1  failed 5.00 ms · ValueError",
        "020  ✔ g / search  ok 10 ms",
        "025  ◐ g / search  waits 15 ms",
        "900  ✖ g  failed 900 ms · 1,204 tokens",
    ]
    assert shown.lines(ENDED, [*many, *ends], []) == []


def test_what_is_told_is_text() -> None:
    (line,) = Shown().lines(RUN | {"name": "[b]x\u202e\x1b[31m\ny"}, [], [])
    assert line.plain.endswith(r"[b]x\u202e\x1b[31m\ny  begins · service s · r1")


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_however_news_comes_each_beginning_and_end_is_told_once(news: list[tuple[int, bool]]) -> None:
    shown, lines = Shown(), list[str]()
    for number, ended in news:
        lines += told(
            shown.lines(RUN, [node(str(number + 1), f"n{number}", 1.0, 2.0 if ended else None)], [])
        )
    begun, over = {number for number, _ in news}, {number for number, ended in news if ended}
    assert sorted(lines) == sorted(
        [
            *["000  ● g  begins · service s · r1"] * bool(news),
            *(f"001  ● g / n{n}" for n in begun),
            *(f"002  ✔ g / n{n}  ok 1.00 ms" for n in over),
        ]
    )


def test_a_program_is_followed_while_it_runs(tmp_path: Path) -> None:
    gates, data = tmp_path / "gates", tmp_path / "data"
    gates.mkdir()
    command = [sys.executable, "-m", "otel_stream", "tail", "--modes", "updates", "--data", str(data)]
    with viewer(data) as found:
        following = subprocess.Popen(
            [*command, "thread:t7"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: found.get("about")["listeners"])
        shop = subprocess.Popen(
            [sys.executable, "-m", "tests.page.shop", str(gates)], cwd=ROOT, env=environment(found.listening)
        )
        assert following.stdout is not None
        try:
            lines = [following.stdout.readline() for _ in range(2)]
            assert [re.sub(r"\S+  ● ", "", line).split("  ")[0].strip() for line in lines] == [
                "shop", "shop / plan",
            ]  # fmt: skip
            for name in ("plan", "fetch", "write", "answer"):  # it waits before each of them
                (gates / name).touch()
            rest = list[str]()
            while sum("✔ shop  ok" in line for line in rest) == 0:
                rest.append(following.stdout.readline())
        finally:
            shop.wait(30)
    code = following.wait(30)
    _, errors = following.communicate()
    assert (code, errors) == (0, "otel-stream: the viewer was stopped\n")
    text = "".join(rest)
    assert len(re.findall(r"✔ shop / research  ok", text)) == 8
    assert re.search(r"✖ shop / fetch attempt 1  failed .* ConnectionError", text)
    assert re.search(r"· plan  updates  \{", text)
    assert re.search(r"◐ shop  waits .* asks: .*Send it\?", text)
    assert "\x1b" not in text


def test_without_a_viewer_it_says_what_to_start(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["tail", "--data", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (
        2, f"otel-stream: no viewer writes into {str(tmp_path)!r}: start otel-stream view\n",
    )  # fmt: skip


def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    with viewer(tmp_path) as found:
        following = subprocess.Popen(
            [sys.executable, "-m", "otel_stream", "tail", "--data", str(tmp_path)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ},
        )  # fmt: skip
        wait_for(lambda: found.get("about")["listeners"])
        following.send_signal(signal.SIGINT)
        assert (following.wait(20), *following.communicate()) == (130, b"", b"")
