"""What docs/langgraph.md shows, runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.otlp_servers import http_server

DOCUMENT = (Path(__file__).parents[4] / "docs" / "langgraph.md").read_text()
APP = """
from typing import TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    question: str
    answer: str


def answers(state: State) -> State:
    get_stream_writer()({"asked": state["question"]})
    return {"answer": state["question"] + "!"}


graph = StateGraph(State).add_node("answers", answers).add_edge(START, "answers").compile(name="app")
"""
LIVE = """
import asyncio
from app import graph
from otel_stream.adapters.langgraph import LangGraphInstrumentor

LangGraphInstrumentor().instrument()
async def main():
{block}
    await graph.ainvoke({{"question": "!"}})
    print([(await anext(receiver)).type for _ in range(2)])
    receiver.close()
asyncio.run(main())
"""
SERVED = """
from served import graph

print(graph.invoke({"question": "Who"}))
"""
ASKED = """
import json

from starlette.testclient import TestClient

from server import app

with TestClient(app) as client, client.stream("GET", "/answer", params={"question": "Who"}) as answer:
    for line in answer.iter_lines():
        part = json.loads(line)
        print(part["type"], part["data"])
"""


def block(beginning: str, language: str = "python") -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    (one,) = (text for text in found if text.startswith(beginning))
    return str(one)


@pytest.fixture
def ran(tmp_path: Path) -> "Ran":
    (tmp_path / "app.py").write_text(APP)
    return Ran(tmp_path)


class Ran:
    """Runs programs in a folder, and knows what their endpoint gets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spans: list[str] = []

    def __call__(self, program: str) -> list[str]:
        with http_server() as endpoint:
            file = self.folder / "program.py"
            file.write_text(program)
            done = subprocess.run(
                [sys.executable, "-W", "error", file],
                cwd=self.folder,
                env={
                    "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url,
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                    "LANGSMITH_TRACING": "false",
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=50,
            )
            assert (done.returncode, done.stderr) == (0, "")
            self.spans = sorted(span.name for span in endpoint.spans())
        return done.stdout.splitlines()


def test_a_live_stream_and_a_receiver_of_every_run(ran: Ran) -> None:
    live = block("from otel_stream import StreamConfig\n")
    said = ran(LIVE.format(block="".join(f"    {line}\n" for line in live.splitlines())))
    assert [line.split()[0] for line in said[:2]] == ["custom", "updates"]
    assert said[2:] == ["{'question': '?', 'answer': '?!'}", "['custom', 'updates']"]


def test_fastapi(ran: Ran) -> None:
    (ran.folder / "server.py").write_text(block("# server.py\n"))
    assert ran(ASKED) == ["custom {'asked': 'Who'}", "updates {'answers': {'answer': 'Who!'}}"]
    assert {"invoke_node answers", "invoke_workflow app", "superstep"} < set(ran.spans)  # FastAPI has its own


def test_the_module_of_an_agent_server(ran: Ran) -> None:
    (ran.folder / "served.py").write_text(block("# served.py\n"))
    assert json.loads(block("{", "json"))["graphs"] == {"answers": "./served.py:graph"}
    assert ran(SERVED) == ["{'question': 'Who', 'answer': 'Who!'}"]
    assert ran.spans == ["invoke_node answers", "invoke_workflow app", "superstep"]
