"""LangGraph's runs with us and another instrumentation at once: what either tells, and both are right."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.versions.programs import OWN, run


def needs(module: str) -> pytest.MarkDecorator:
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    return pytest.mark.skipif(found is None, reason=f"{module} is installed by make test-versions")


#: A node that opens a span and asks a model; and what is logged meanwhile.
GRAPH = """
import asyncio, json, logging, sys
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

class Model(GenericFakeChatModel):
    model_name: str = "fake-1"

    @property
    def _identifying_params(self):
        return {"model_name": self.model_name, "model": self.model_name}

    def _get_ls_params(self, **options):
        return {"ls_provider": "fake", "ls_model_name": self.model_name, "ls_model_type": "chat"}

async def speak(state):
    with trace.get_tracer("user").start_as_current_span("user's"):
        answer = await Model(messages=iter([AIMessage("hello", id="1")])).ainvoke("?")
    return {"messages": [answer]}

def again(state):
    return {"messages": []}

def built():
    made = StateGraph(MessagesState).add_node("speak", speak).add_node("again", again)
    return made.add_edge(START, "speak").add_edge("speak", "again").compile(name="triage")

class Heard(logging.Handler):
    lines = []
    def emit(self, record):
        self.lines.append(f"{record.name}: {record.getMessage()}"[:300])

logging.getLogger().addHandler(Heard(logging.WARNING))
"""

PROVIDERS = """
trace.set_tracer_provider(tracers := TracerProvider())
tracers.add_span_processor(SimpleSpanProcessor(spans))
from otel_stream.adapters.langgraph import LangGraphInstrumentor
"""

SHOW = """
async def main():
    with trace.get_tracer("user").start_as_current_span("request") as request:
        answer = await built().ainvoke({"messages": []}, CONFIG)
        assert trace.get_current_span() is request
    return [message.content for message in answer["messages"]]

answer = asyncio.run(main())
tracers.force_flush()
finished = spans.get_finished_spans()
names = {span.context.span_id: span.name for span in finished}
above = {span.context.span_id: span.parent.span_id if span.parent else None for span in finished}

def path(id):
    return [] if id is None else [*path(above.get(id)), names.get(id, "?")]

print(json.dumps({
    "answer": answer, "logged": Heard.lines, "traces": len({span.context.trace_id for span in finished}),
    "paths": sorted((path(span.context.span_id) for span in finished), key=lambda one: (len(one), one)),
    "errors": [span.name for span in finished if span.status.status_code.name == "ERROR"],
}))
import os; sys.stdout.flush(); os._exit(0)  # who can't reach their server would try until they give up
"""
OURS = ["invoke_workflow triage", "superstep", "invoke_node"]

pytestmark = pytest.mark.timeout(150)


def seen(switch: str, tmp_path: Path, hide: str = "()", **env: str) -> Any:
    instrument = f"LangGraphInstrumentor().instrument(hide_nodes_from={hide})"
    told = run(
        OWN,
        GRAPH,
        PROVIDERS,
        "CONFIG = {}",
        switch,
        instrument,
        SHOW,
        cwd=tmp_path,
        env={"LANGSMITH_TRACING": "false", **env},
    )
    assert told["answer"] == ["hello"]
    assert (told["errors"], told["traces"]) == ([], 1)
    assert below_our_node(told, "again") == [[]]
    assert [line for line in told["logged"] if "detach" in line.lower() or "different Context" in line] == []
    return told


def of_nodes(told: Any) -> list[str]:
    """Return the names of all spans that are about the node."""
    return [path[-1] for path in told["paths"] if "speak" in path[-1]]


def below_our_node(told: Any, node: str = "speak") -> list[list[str]]:
    """Return what lies below our span of a node, itself as an empty path, wherever our run's may lie."""
    ours = [*OURS[:2], f"{OURS[2]} {node}"]
    return [
        path[start + 3 :]
        for path in told["paths"]
        for start in range(len(path))
        if path[start : start + 3] == ours
    ]


OPENINFERENCE = """
from openinference.instrumentation.langchain import LangChainInstrumentor
LangChainInstrumentor().instrument()
"""
OPENLLMETRY = """
from opentelemetry.instrumentation.langchain import LangchainInstrumentor
LangchainInstrumentor().instrument()
"""
GENAI = """
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
LangChainInstrumentor().instrument()
"""
LANGSMITH = """
from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client
client = Client(api_url="http://127.0.0.1:9", api_key="none")
CONFIG = {"callbacks": [LangChainTracer(client=client)]}
"""


@needs("openinference.instrumentation.langchain")
def test_beside_openinference(tmp_path: Path) -> None:
    both = seen(OPENINFERENCE, tmp_path)
    alone = seen(OPENINFERENCE, tmp_path, hide="('openinference',)")
    assert len(of_nodes(both)) == 2
    assert of_nodes(alone) == ["invoke_node speak"]
    assert below_our_node(alone) == [[], ["user's"], ["user's", "Model"]]


@needs("opentelemetry.instrumentation.langchain")
def test_beside_openllmetry(tmp_path: Path) -> None:
    told = seen(OPENLLMETRY, tmp_path)
    assert sorted(of_nodes(told)) == ["execute_task speak", "invoke_node speak"]
    assert below_our_node(told) == [[]]  # its own node's span is current in the node, below its workflow's
    (model,) = (path for path in told["paths"] if path[-1] == "Model.chat")
    assert model[-2] == "execute_task speak"


@needs("opentelemetry.instrumentation.genai.langchain")
def test_beside_the_genai_instrumentation(tmp_path: Path) -> None:
    both = seen(GENAI, tmp_path)
    alone = seen(GENAI, tmp_path, hide="('opentelemetry',)")
    assert of_nodes(both) == of_nodes(alone) == ["invoke_node speak"]
    # It makes its own span current in nodes, on LangGraph's way into them.
    assert below_our_node(both) == [[]]
    assert below_our_node(alone) == [[], ["user's"], ["user's", "chat fake-1"]]


@needs("langsmith.client")
def test_beside_langsmith_whose_server_is_away(tmp_path: Path) -> None:
    told = seen(LANGSMITH, tmp_path)
    assert of_nodes(told) == ["invoke_node speak"]
    assert below_our_node(told) == [[], ["user's"], ["user's", "chat fake-1"]]
