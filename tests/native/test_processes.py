"""A process is known by its pid and its birth, so nobody else's is ever ended."""

import os
import sys
from pathlib import Path

import pytest

from backends.processes import Process, birth, start, stop

FOREVER = "import time\nprint('up', flush=True)\nwhile True: time.sleep(60)"
#: Its first thread ends; another goes on until it is told.
HEADLESS = """
import ctypes, pathlib, threading
def wait():
    while not pathlib.Path("go").exists(): threading.Event().wait(0.01)
threading.Thread(target=wait).start()
ctypes.CDLL(None).pthread_exit(None)
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER


def run(folder: Path, code: str) -> Process:
    return start([sys.executable, "-c", code], {}, folder, folder / "log")


def wait_for(log: Path, text: str) -> None:
    while text not in log.read_text():
        os.sched_yield()


def test_it_is_alive_until_it_is_stopped(tmp_path: Path) -> None:
    process = run(tmp_path, FOREVER)
    assert process.alive
    stop([process])
    assert not process.alive
    assert birth(process.pid) == ""


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = run(tmp_path, STUBBORN)
    wait_for(tmp_path / "log", "up")
    stop([process], patience=0.1)
    assert not process.alive


def test_another_process_with_the_same_pid_is_left_alone() -> None:
    me = Process(os.getpid(), "of an earlier time")
    assert not me.alive
    stop([me])
    assert birth(os.getpid())


def test_what_has_ended_by_itself_is_not_alive(tmp_path: Path) -> None:
    process = run(tmp_path, "pass")
    while process.alive:
        os.sched_yield()
    stop([process])


def test_it_is_alive_until_its_last_thread_has_ended_because_its_ports_are_taken_until_then(
    tmp_path: Path,
) -> None:
    process = run(tmp_path, HEADLESS)
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.exists():
        pytest.skip("this system has no /proc to tell threads by")
    while " Z " not in stat.read_text():
        os.sched_yield()
    assert process.alive
    (tmp_path / "go").touch()
    while process.alive:
        os.sched_yield()
    stop([process])


def test_variables_of_an_observed_app_do_not_reach_a_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_STREAM_SLOW_MS", "5000")
    code = "import os; print(sorted(n for n in os.environ if n.startswith('OTEL_')), flush=True)"
    process = run(tmp_path, code)
    wait_for(tmp_path / "log", "]\n")
    stop([process])
    assert (tmp_path / "log").read_text() == "['OTEL_STREAM_SLOW_MS']\n"
