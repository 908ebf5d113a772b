"""What the programs of these tests have in common: a graph of two nodes, and providers that print."""

from typing import Any

from engine import START, StateGraph


def plan(state: Any, writer: Any) -> dict[str, Any]:
    writer({"half": "way"})
    return {"x": state["x"] + 1}


def act(state: Any) -> dict[str, Any]:
    return {"x": state["x"] + 1}


def graph(name: str = "triage", **nodes: Any) -> Any:
    """Return a graph whose nodes run one after the other."""
    made: StateGraph[Any, Any, Any, Any] = StateGraph(dict)
    above = START
    for node, does in (nodes or {"plan": plan, "act": act}).items():
        made.add_node(node, does).add_edge(above, node)
        above = node
    return made.compile(name=name)


def memory() -> Any:
    """Set a tracer provider of the program's own; return where its spans end up."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def names(exporter: Any) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]
