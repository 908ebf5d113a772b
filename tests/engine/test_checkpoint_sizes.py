"""The size of a checkpoint is that of what its saver serialised."""

from typing import TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from engine import START, InMemorySaver, StateGraph


class State(TypedDict):
    text: str


def _sizes(saver, otel_globals):
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    graph = StateGraph(State).add_node("say", lambda state: {"text": "y" * 10_000}).add_edge(START, "say")
    graph = graph.compile(checkpointer=saver)
    graph.invoke({"text": "x"}, {"configurable": {"thread_id": "1"}})
    assert graph.get_state({"configurable": {"thread_id": "1"}}).values == {"text": "y" * 10_000}
    (resource,) = reader.get_metrics_data().resource_metrics
    found = {metric.name: metric.data.data_points for metric in resource.scope_metrics[0].metrics}
    return [(point.count, point.min, point.max) for point in found.get("graph.checkpoint.size", ())]


def test_a_saver_that_serialises_tells_how_much(otel_globals):
    saver = LangGraphSaver()
    serde = saver.serde
    ((count, least, most),) = _sizes(saver, otel_globals)
    assert count == 3
    assert 0 < least < 2_000
    assert 10_000 < most < 20_000
    assert saver.serde is serde


@pytest.mark.parametrize("saver", [InMemorySaver()])
def test_a_saver_that_copies_tells_nothing(otel_globals, saver):
    assert _sizes(saver, otel_globals) == []
