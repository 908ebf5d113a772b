"""What earlier versions have left behind is read by this one: threads, telemetry, a viewer's store."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from engine import Command
from otel_stream.replay import replay
from otel_stream.view.reading import Reader
from otel_stream.view.schema import connect
from tests.upgrade.writing import ASKED, THREAD, graph

HERE = Path(__file__).parent
KEPT = sorted(path for path in HERE.iterdir() if (path / "run.json").exists())


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def kept(request: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(request.param, tmp_path / "kept"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_something_is_kept() -> None:
    assert KEPT


async def test_a_thread_that_waits_goes_on_where_it_was(kept: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(kept / "threads.db")) as saver:
        orders = graph(saver)
        before = await orders.aget_state(THREAD)
        assert before.values == {**ASKED, "notes": ["asked", "a book is in stock"]}
        assert [one.value for one in before.interrupts] == ["Send a book?"]
        result = await orders.ainvoke(Command(resume=True), THREAD)
        assert result == {
            "order": "a book",
            "notes": ["asked", "a book is in stock", "sent"],
            "approved": True,
        }
        steps = [state.metadata["step"] async for state in orders.aget_state_history(THREAD)]
        assert steps == [3, 2, 1, 0, -1]


def test_a_file_of_telemetry_tells_what_its_receiver_got(kept: Path) -> None:
    (run,) = replay(str(kept / "telemetry.jsonl")).runs
    told = [json.loads(part.to_json()) for part in run.parts if part.type in ("values", "updates")]
    assert told == json.loads((kept / "parts.json").read_text())
    assert run.problems() == []


def test_a_viewers_store_is_opened_and_shows_its_run(kept: Path) -> None:
    connect(kept / "store.db").close()
    reader = Reader(kept / "store.db")
    try:
        (listed,) = reader.runs()
        shown = json.loads((kept / "run.json").read_text())
        assert {name: listed[name] for name in shown} == shown
        whole = reader.run(listed["key"])
        assert (len(whole["spans"]), len(whole["events"])) == (shown["spans"], shown["logs"])
    finally:
        reader.close()
