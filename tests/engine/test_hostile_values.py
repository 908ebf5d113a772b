"""Values of classes that few write: a run goes through with them, whoever watches."""

from typing import Any, TypedDict

import pytest

from engine import START, InMemorySaver, StateGraph
from otel_stream import StreamConfig
from otel_stream.config import MODES
from otel_stream.testing import telemetry
from tests.hashless import Hashless


class State(TypedDict, total=False):
    one: Any
    many: Any


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("watched", [False, True])
async def test_a_value_of_a_class_without_a_hash_goes_through(
    watched: bool, content: bool, caplog: pytest.LogCaptureFixture
) -> None:
    odd = Hashless()
    built = StateGraph(State).add_node("a", lambda state: {"one": odd, "many": [odd, 1]}).add_edge(START, "a")
    graph = built.compile(checkpointer=InMemorySaver(), name="g")
    config: Any = {"configurable": {"thread_id": "1"}}
    with telemetry(capture_content=content) as seen:
        if watched:
            everything = StreamConfig(modes=tuple(MODES))
            async with graph.open_stream({"one": odd}, everything, config=config) as stream:
                values = [part.data async for part in stream if part.type == "values"]
                assert await stream == values[-1]
        else:
            await graph.ainvoke({"one": odd}, config)
    assert graph.get_state(config).values["many"][1] == 1
    assert sorted(span.name for span in seen.spans) == ["invoke_node a", "invoke_workflow g", "superstep"]
    bodies = [str(record.log_record.body) for record in seen.logs]
    assert any('"type":"Hashless"' in body for body in bodies) is content
    assert not caplog.records or {record.name for record in caplog.records} == {"otel_stream.stream.copying"}
