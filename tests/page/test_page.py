"""The page in real Chromium, against a live viewer and programs that run while it watches."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from otel_stream.cli.view import environment
from otel_stream.view.places import Listening
from otel_stream.web import create_app
from tests.otel_stream.view.viewers import ROOT, viewer
from tests.otel_stream.web import graphs
from tests.otel_stream.web.conftest import Server
from tests.page.conftest import HERE


def drive(scenario: str, *arguments: str | Path) -> None:
    """Run a scenario of the browser's; it fails with what it saw."""
    done = subprocess.run(
        ["node", str(HERE / scenario), *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_is_watched_from_its_beginning_to_the_answer_of_a_human(
    tmp_path: Path, chromium: str, pictures: Path
) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    with viewer(tmp_path / "data") as found:
        shop = subprocess.Popen(
            [sys.executable, "-m", "tests.page.shop", str(gates)], cwd=ROOT, env=environment(found.listening)
        )
        try:
            drive("watch.mjs", found.listening.link, chromium, pictures, gates)
            assert shop.wait(20) == 0
        finally:
            shop.kill()
            shop.wait()


@pytest.fixture
def sources() -> Iterator[Path]:
    """Source to audit, in a folder whose name may stand on pictures."""
    with tempfile.TemporaryDirectory(prefix="python-") as folder:
        for name in ("asyncio", "email", "http", "json", "logging", "xml", "unittest", "importlib"):
            shutil.copytree(Path(os.__file__).parent / name, Path(folder, name))
        yield Path(folder)


def test_the_demo_shows_itself_in_a_browser(
    tmp_path: Path, chromium: str, pictures: Path, sources: Path
) -> None:
    """As `make demo ARGS=--view` does; it is the second run, so that two can be compared."""
    ambient = {**os.environ, "OTEL_STREAM_VIEW_DATA": str(tmp_path)}
    with viewer(tmp_path) as found:
        first = [sys.executable, "-m", "otel_stream", "demo", str(sources), "--json", "--seed", "1"]
        subprocess.run(
            [*first, "--limit", "30", "--chaos", "0.1"], cwd=ROOT, env=environment(found.listening),
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    demo = subprocess.Popen(
        ["make", "--no-print-directory", "demo", f"ARGS={sources} --view --limit 150 --chaos 0.1 --seed 2"],
        cwd=ROOT, env=ambient, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert demo.stdout is not None
        link = demo.stdout.readline().removeprefix("Open ").strip()
        drive("screens.mjs", link, chromium, pictures)
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        rest = demo.communicate(timeout=30)[0]
    assert "The page stays there until Ctrl-C." in rest
    assert "LOST" not in rest


def test_what_a_hostile_run_shows_is_text_and_ends_no_page(
    tmp_path: Path, chromium: str, pictures: Path
) -> None:
    with viewer(tmp_path) as found:
        subprocess.run(
            [sys.executable, "-m", "tests.page.hostile"], cwd=ROOT, env=environment(found.listening),
            check=True, timeout=120,
        )  # fmt: skip
        drive("hostile.mjs", found.listening.link, chromium, pictures)


def test_ten_thousand_spans_scroll_and_ten_megabytes_open_and_the_page_goes_on(
    tmp_path: Path, chromium: str, pictures: Path
) -> None:
    file = tmp_path / "large.otlp.jsonl"
    content = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}
    subprocess.run(
        [sys.executable, "-m", "tests.page.large", file], cwd=ROOT, env={**os.environ, **content},
        check=True, timeout=200,
    )  # fmt: skip
    with viewer(tmp_path / "data", str(file)) as found:
        drive("large.mjs", found.listening.link, chromium, pictures)


def test_the_page_below_a_prefix_is_as_it_is_by_itself(
    tmp_path: Path, chromium: str, pictures: Path, otel_globals: None
) -> None:
    served = create_app(graphs.ours(), token="a-secret", page=tmp_path / "runs")
    with Server(Starlette(routes=[Mount("/agents", served)])) as server:
        view = f"{server.url}/agents/view"
        listening = Listening(view, None, "a-secret", 0, takes=True)
        subprocess.run(
            [sys.executable, "-m", "tests.page.hostile"], cwd=ROOT, env=environment(listening),
            check=True, timeout=120,
        )  # fmt: skip
        drive("prefix.mjs", f"{view}/#t=a-secret", chromium, pictures)
        asyncio.run_coroutine_threadsafe(served.state.hub.aclose(), served.state.hub.pace.loop).result(20)
