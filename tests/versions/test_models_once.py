"""A model and a tool called in a node beside other instrumentations: one span a call, and our metrics."""

from pathlib import Path
from typing import Any

import pytest

from tests.versions.programs import OWN, run
from tests.versions.test_beside_langgraph import GENAI, GRAPH, OPENINFERENCE, OPENLLMETRY, PROVIDERS, needs

pytestmark = pytest.mark.timeout(150)

NODE = """
from langchain_core.tools import tool
from langgraph.graph import END

@tool
def search(query: str) -> str:
    "Search."
    return query

def both(state):
    search.invoke({"query": "rain"})
    model = Model(messages=iter([AIMessage("hello", id="1", usage_metadata={
        "input_tokens": 3, "output_tokens": 2, "total_tokens": 5})]))
    return {"messages": [model.invoke("?")]}

async def later(state):
    await search.ainvoke({"query": "rain"})
    model = Model(messages=iter([AIMessage("hello", id="2")]))
    return {"messages": [await model.ainvoke("?")]}

def built():
    made = StateGraph(MessagesState).add_node("both", both).add_node("later", later)
    return made.add_edge(START, "both").add_edge("both", "later").compile(name="triage")

metrics.set_meter_provider(MeterProvider([reader]))
LangGraphInstrumentor().instrument()
"""
SHOW = """
asyncio.run(built().ainvoke({"messages": []}))
tracers.force_flush()

def is_of(span, words):
    kinds = [str(span.attributes.get(name, "")).lower() for name in
             ("gen_ai.operation.name", "openinference.span.kind", "traceloop.span.kind", "llm.request.type")]
    return any(kind in words for kind in kinds)

points = [
    (metric.name, sum(point.count for point in metric.data.data_points))
    for resource in reader.get_metrics_data().resource_metrics for scope in resource.scope_metrics
    if scope.scope.name == "otel_stream" for metric in scope.metrics
    if metric.name.startswith(("gen_ai.client.operation.duration", "gen_ai.execute_tool"))
]
finished = spans.get_finished_spans()
print(json.dumps({
    "models": sorted(s.instrumentation_scope.name for s in finished if is_of(s, ("chat", "llm"))),
    "tools": sorted(s.instrumentation_scope.name for s in finished if is_of(s, ("execute_tool", "tool"))),
    "metrics": dict(points),
    "logged": [line for line in Heard.lines if "detach" in line.lower() or "different Context" in line],
}))
import os; sys.stdout.flush(); os._exit(0)
"""


@pytest.mark.parametrize("spans", ["auto", "on", "off"])
@pytest.mark.parametrize(
    ("switch", "scope"),
    [
        pytest.param("", None, id="nobody"),
        pytest.param(
            OPENINFERENCE,
            "openinference.instrumentation.langchain",
            marks=needs("openinference.instrumentation.langchain"),
            id="openinference",
        ),
        pytest.param(
            OPENLLMETRY,
            "opentelemetry.instrumentation.langchain",
            marks=needs("opentelemetry.instrumentation.langchain"),
            id="openllmetry",
        ),
        pytest.param(
            GENAI,
            "opentelemetry.instrumentation.genai.langchain",
            marks=needs("opentelemetry.instrumentation.genai.langchain"),
            id="genai",
        ),
    ],
)
def test_every_call_has_one_span_and_our_metrics(
    tmp_path: Path, switch: str, scope: str | None, spans: str
) -> None:
    told: Any = run(
        OWN,
        GRAPH,
        PROVIDERS,
        switch,
        NODE,
        SHOW,
        cwd=tmp_path,
        env={"LANGSMITH_TRACING": "false", "OTEL_STREAM_MODEL_SPANS": spans},
    )
    theirs = [scope] if scope else []
    ours = ["otel_stream"] if spans == "on" or (spans == "auto" and not theirs) else []
    assert (told["models"], told["tools"]) == (sorted(2 * (theirs + ours)),) * 2
    assert told["metrics"] == {"gen_ai.client.operation.duration": 2, "gen_ai.execute_tool.duration": 2}
    assert told["logged"] == []
