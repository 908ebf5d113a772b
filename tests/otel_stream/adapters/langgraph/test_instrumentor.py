"""Putting the hooks in and out, at any time."""

import os
import subprocess
import sys
from typing import Any, TypedDict

import langgraph.pregel.main
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langgraph.graph import START, MessagesState, StateGraph

from otel_stream.adapters.langgraph import LangGraphInstrumentor
from otel_stream.sdk import configure
from otel_stream.sdk.configure import setup
from otel_stream.testing import telemetry

LOOPS = (langgraph.pregel.main.SyncPregelLoop, langgraph.pregel.main.AsyncPregelLoop)


class State(TypedDict):
    n: int


def counting(steps: int) -> Any:
    made: Any = StateGraph(State).add_node("a", lambda state: {"n": state["n"] + 1})
    made.add_conditional_edges("a", lambda state: "a" if state["n"] < steps else "__end__", ["a", "__end__"])
    return made.add_edge(START, "a").compile()


def in_place() -> tuple[Any, Any]:
    return langgraph.pregel.main.SyncPregelLoop, langgraph.pregel.main.AsyncPregelLoop


def test_putting_in_and_out_twice_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    one, other = LangGraphInstrumentor(), LangGraphInstrumentor()
    one.instrument()
    other.instrument()
    assert in_place() != LOOPS
    one.uninstrument()
    other.uninstrument()
    assert in_place() == LOOPS
    assert caplog.records == []


def test_a_graph_compiled_before_is_observed_and_not_any_more_after() -> None:
    graph = counting(2)
    with telemetry() as seen:
        LangGraphInstrumentor().instrument()
        graph.invoke({"n": 0})
        LangGraphInstrumentor().uninstrument()
        graph.invoke({"n": 0})
    assert seen.outline().count("invoke_workflow LangGraph") == 1


def test_a_run_goes_on_as_it_began() -> None:
    graph = counting(4)
    with telemetry() as seen:
        parts = graph.stream({"n": 0})
        next(parts)
        LangGraphInstrumentor().instrument()
        assert [*parts][-1] == {"a": {"n": 4}}
        assert seen.spans == ()
        parts = graph.stream({"n": 0})
        next(parts)
        LangGraphInstrumentor().uninstrument()
        assert [*parts][-1] == {"a": {"n": 4}}
    assert seen.outline().count("  superstep") == 4


def test_without_an_audience_it_is_langgraphs_own_loop_that_runs(instrumented: None) -> None:
    made: list[type] = []
    original = LOOPS[0]
    tick = original.tick

    def noting(loop: Any) -> bool:
        made.append(type(loop))
        return bool(tick(loop))

    original.tick = noting  # type: ignore[method-assign]
    try:
        counting(1).invoke({"n": 0})
    finally:
        original.tick = tick  # type: ignore[method-assign]
    assert set(made) == {original}


def test_importing_the_adapter_does_not_import_langgraph() -> None:
    code = "import sys, otel_stream.adapters.langgraph; sys.exit('langgraph.graph' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def configured_anew(otel_globals: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup._State, "handle", None)
    monkeypatch.setattr(setup._State, "arguments", None)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")


def test_configure_observes_langgraph_when_asked_to(configured_anew: None) -> None:
    try:
        configure()
        assert in_place() == LOOPS
        configure(langgraph=True)  # also by a later call
        assert in_place() != LOOPS
    finally:
        LangGraphInstrumentor().uninstrument()


WITH_PROVIDER = """
from langgraph.graph import START, StateGraph
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from otel_stream.adapters.langgraph import LangGraphInstrumentor
trace.set_tracer_provider(TracerProvider())
LangGraphInstrumentor().instrument()
graph = StateGraph(dict).add_node("a", lambda state: {"n": 1}).add_edge(START, "a").compile()
print(graph.invoke({}))
"""


def test_a_word_that_keeps_runs_from_being_observed_is_named() -> None:
    environ = os.environ | {"OTEL_STREAM_EXPORT_MODES": "vaules"}
    done = subprocess.run(
        [sys.executable, "-c", WITH_PROVIDER], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'n': 1}\n"
    assert done.stderr.endswith(  # LangGraph 1.0.0 warns of something of its own
        "A run of LangGraph's is not observed: OTEL_STREAM_EXPORT_MODES contains 'vaules', which is no mode: "
        "did you mean 'values'?\n"
    )


def test_configure_says_what_langgraph_needs(configured_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "otel_stream.adapters.langgraph", None)
    with pytest.raises(ImportError, match=r"Install otel-stream\[langgraph\]"):
        configure(langgraph=True)


class Heard(BaseCallbackHandler):
    """Somebody else's callbacks, that keep what they hear."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_chain_start(self, serialized: Any, inputs: Any, *, name: str = "", **_: Any) -> None:
        self.names.append(name)

    def on_chat_model_start(self, serialized: Any, messages: Any, **_: Any) -> None:
        self.names.append("a model")


def test_callbacks_of_a_package_hear_of_models_but_of_no_nodes_where_that_is_asked_for() -> None:
    def speak(state: Any) -> Any:
        return {"messages": [FakeListChatModel(responses=["hello"]).invoke("?")]}

    made: Any = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak")
    heard = []
    for packages in ((), (Heard.__module__.partition(".")[0],), ("another",)):
        LangGraphInstrumentor().instrument(hide_nodes_from=packages)
        try:
            with telemetry():
                one = Heard()
                made.compile(name="g").invoke({"messages": []}, {"callbacks": [one]})
                heard.append(one.names)
        finally:
            LangGraphInstrumentor().uninstrument()
    assert heard == [["g", "speak", "a model"], ["g", "a model"], ["g", "speak", "a model"]]
