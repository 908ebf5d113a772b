"""A real notebook, with a kernel of its own: graphs draw themselves, and runs show themselves."""

import json
from typing import Any

import pytest

WHERE = "make test-versions installs it"
nbformat = pytest.importorskip("nbformat", reason=WHERE)
nbclient = pytest.importorskip("nbclient", reason=WHERE)

GRAPH = """
import asyncio
from typing import TypedDict
{imports}
class State(TypedDict, total=False):
    n: int
    said: str
gate = asyncio.Event()
async def first(state: State):
    await gate.wait()
    return {{"n": state["n"] + 1}}
def ask(state: State):
    if state["n"] > 8:
        raise ValueError("too many")
    return {{"said": interrupt("<b>right?</b>") if state["n"] > 4 else "yes"}}
made = StateGraph(State).add_node("<b>first</b>", first).add_node("ask", ask)
made.add_edge(START, "<b>first</b>").add_edge("<b>first</b>", "ask")
graph = made.compile(checkpointer=InMemorySaver())
from otel_stream.notebook import show
"""
OURS = GRAPH.format(imports="from engine import START, InMemorySaver, StateGraph, interrupt")
THEIRS = GRAPH.format(
    imports="from langgraph.graph import START, StateGraph\nfrom langgraph.types import interrupt\n"
    "from langgraph.checkpoint.memory import InMemorySaver"
)
SHOWN = """
asyncio.get_running_loop().call_later(1.0, gate.set)
print(await show(graph, {{"n": {n}}}, {{"configurable": {{"thread_id": "t"}}}}))
"""


class Notebook(nbclient.NotebookClient):  # type: ignore[misc, name-defined]
    """Remembers what a cell showed before it was shown anew."""

    def __init__(self, *cells: str) -> None:
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        super().__init__(book, timeout=60, kernel_name="python3")
        self.pictures: list[dict[str, str]] = []

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] in {"display_data", "update_display_data"}:
            self.pictures.append(msg["content"]["data"])
        return super().process_message(msg, cell, cell_index)


def outputs(book: Notebook) -> list[Any]:
    return book.execute().cells[-1]["outputs"]


@pytest.mark.parametrize("graph", [OURS, THEIRS], ids=["ours", "langgraphs"])
def test_a_run_is_shown_while_its_cell_runs_and_at_its_end(graph: str) -> None:
    book = Notebook(graph, SHOWN.format(n=1))
    shown, printed = outputs(book)
    assert printed["text"] == "{'n': 2, 'said': 'yes'}\n"
    assert any("1 running" in picture["text/plain"] for picture in book.pictures[:-1])
    last = shown["data"]
    assert last == book.pictures[-1]
    assert last["text/plain"].split(" · ")[0] == "ok"
    assert last["text/plain"].splitlines()[1:] == ["<b>first</b>: 1 done", "ask: 1 done"]
    assert "&lt;b&gt;first&lt;/b&gt;" in last["text/html"]
    assert "<b>first" not in last["text/html"]


def test_what_a_run_waits_for_is_shown_as_text() -> None:
    book = Notebook(OURS, SHOWN.format(n=4))
    outputs(book)
    assert book.pictures[-1]["text/plain"].startswith("waits")
    assert 'waits for a human: "<b>right?</b>"' in book.pictures[-1]["text/plain"]
    assert "&lt;b&gt;right?&lt;/b&gt;" in book.pictures[-1]["text/html"]


def test_a_run_that_fails_says_so_and_raises_in_its_cell() -> None:
    book = Notebook(OURS, SHOWN.format(n=8))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="too many"):
        book.execute()
    assert book.pictures[-1]["text/plain"].startswith("error")
    assert "ask: 1 failed" in book.pictures[-1]["text/plain"]


def test_a_graph_draws_itself() -> None:
    (drawn,) = outputs(Notebook(OURS, "graph"))
    assert "<svg" in json.dumps(drawn["data"])
    assert "&lt;b&gt;first" in json.dumps(drawn["data"])
