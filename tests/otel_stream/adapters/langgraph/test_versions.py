"""What becomes of us where LangGraph has changed: less is told, and nothing breaks."""

import asyncio
import operator
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import langgraph.graph._branch
import langgraph.pregel._loop
import langgraph.pregel.debug
import pytest
from langgraph.graph import START, StateGraph

from otel_stream.adapters.langgraph import LangGraphInstrumentor, tries
from otel_stream.adapters.langgraph.names import missing
from otel_stream.testing import telemetry


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def graph() -> Any:
    inner: Any = StateGraph(State).add_node("in", lambda state: {"log": ["in"]})
    made: Any = StateGraph(State).add_node("a", lambda state: {"log": ["a"]})
    made.add_node("sub", inner.add_edge(START, "in").compile(name="inner"))
    made.add_conditional_edges("a", lambda state: "sub", ["sub"])
    return made.add_edge(START, "a").compile(name="outer")


OUTLINE = [
    "invoke_workflow outer",
    "  invoke_node a",
    "  invoke_node sub",
    "    invoke_workflow inner",
    "      invoke_node in",
]


@pytest.fixture
def instrumentor() -> Iterator[LangGraphInstrumentor]:
    one = LangGraphInstrumentor()
    yield one
    one.uninstrument()


def test_nothing_is_missing_in_the_version_that_is_here() -> None:
    assert missing() == []


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (langgraph.pregel._loop.PregelLoop, "output_writes"),
        (langgraph.pregel._loop.PregelLoop, "_suppress_interrupt"),
        (langgraph.pregel.main, "SyncPregelLoop"),
        (langgraph.pregel.debug, "map_debug_tasks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_a_name_that_we_need_runs_and_nodes_are_told_by_callbacks(
    where: Any,
    name: str,
    is_async: bool,
    instrumentor: LangGraphInstrumentor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patched:
        patched.delattr(where, name)
        instrumentor.instrument()
    (warning,) = caplog.records
    assert name in warning.getMessage()
    with telemetry() as seen:
        result = asyncio.run(graph().ainvoke({"log": []})) if is_async else graph().invoke({"log": []})
    assert result == {"log": ["a", "a", "in"]}
    assert seen.outline() == OUTLINE
    assert all(span.status.is_unset for span in seen.spans)
    assert len(caplog.records) == 1
    instrumentor.uninstrument()
    with telemetry() as seen:
        graph().invoke({"log": []})
    assert seen.spans == ()


def test_without_the_place_where_edges_choose_all_but_that_is_told(
    instrumentor: LangGraphInstrumentor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.delattr(langgraph.graph._branch.BranchSpec, "_finish")
        instrumentor.instrument()
    assert ["_finish" in one.getMessage() for one in caplog.records] == [True]
    with telemetry() as seen:
        graph().invoke({"log": []})
    assert [line.strip() for line in seen.outline()].count("superstep") == 3


def test_what_goes_wrong_in_a_hook_breaks_no_run(
    instrumentor: LangGraphInstrumentor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from otel_stream.adapters.langgraph.tap import Tap

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a hook is broken")

    monkeypatch.setattr(tries, "report_routes", fail)
    for name in ("starts", "superstep_starts", "task_wrote", "writes_are_in", "superstep_ends", "ends"):
        monkeypatch.setattr(Tap, name, fail)
    instrumentor.instrument()
    with telemetry():
        assert graph().invoke({"log": []}) == {"log": ["a", "a", "in"]}
        monkeypatch.setattr(Tap, "__init__", fail)
        assert graph().invoke({"log": []}) == {"log": ["a", "a", "in"]}
    assert "RuntimeError in fail" in caplog.text
    assert "a hook is broken" not in caplog.text, "what foreign code says may be anybody's data"
