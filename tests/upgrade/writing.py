"""What a version leaves behind: ``python -m tests.upgrade.writing`` writes it to ``tests/upgrade/<version>``.

A thread that waits for an answer, in SQLite; a file of telemetry of that run; and a viewer's store of it.
They are written once for each version that is released, by that version, and kept: no later one may fail to
read them. Until there is a release, what stands here is today's, and is written anew where its form changes.
"""

import asyncio
import json
import operator
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict

import otel_stream
from engine import END, START, Command, StateGraph, interrupt
from otel_stream import StreamConfig

HERE = Path(__file__).parent
THREAD: Any = {"configurable": {"thread_id": "order-7"}}
ASKED = {"order": "a book", "notes": ["asked"]}


class State(TypedDict, total=False):
    order: str
    notes: Annotated[list[str], operator.add]
    approved: bool


def look(state: State) -> State:
    return {"notes": [f"{state['order']} is in stock"]}


def approve(state: State) -> State:
    return {"approved": interrupt(f"Send {state['order']}?")}


def send(state: State) -> Command[str]:
    return Command(update={"notes": ["sent" if state["approved"] else "kept"]}, goto=END)


def graph(saver: Any) -> Any:
    builder = StateGraph(State).add_node("look", look).add_node("approve", approve)
    builder.add_node("send", send, destinations=(END,))
    builder.add_edge(START, "look").add_edge("look", "approve").add_edge("approve", "send")
    return builder.compile(checkpointer=saver, name="orders")


async def run(folder: Path) -> None:
    """Run until the question; write down what a live receiver got."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(folder / "threads.db")) as saver:
        modes = StreamConfig(modes=("values", "updates"))
        async with graph(saver).open_stream(ASKED, modes, config=THREAD) as stream:
            parts = [json.loads(part.to_json()) async for part in stream]
    (folder / "parts.json").write_text(json.dumps(parts, indent=1) + "\n")


def _run(folder: str) -> None:
    """Run in a process of its own, whose telemetry goes where the environment says, or into a file."""
    path = None if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ else f"{folder}/telemetry.jsonl"
    handle = otel_stream.configure("orders", path=path, capture_content=True)
    asyncio.run(run(Path(folder)))
    handle.shutdown()


def main() -> None:
    from tests.otel_stream.view.viewers import viewer, wait_for

    place = HERE / otel_stream.__version__
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    again = [sys.executable, "-m", "tests.upgrade.writing"]
    subprocess.run([*again, str(place)], check=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "view")
        with viewer(data) as seen:
            environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": seen.listening.http}
            subprocess.run([*again, folder], check=True, env=environment)
            wait_for(lambda: [one for one in seen.runs() if one["state"] != "running"])
            (run_id,) = [one["key"] for one in seen.runs()]
            kept = seen.get(f"runs/{run_id}")
        with closing(sqlite3.connect(data / "store.db")) as store:
            store.execute("VACUUM INTO ?", (str(place / "store.db"),))
    (place / "run.json").write_text(json.dumps(kept["run"], indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:]:
        _run(sys.argv[1])
    else:
        main()
