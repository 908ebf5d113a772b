"""Clients in JavaScript, as npm has them: none of them knows whom it talks to."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.otel_stream.web import graphs
from tests.otel_stream.web.conftest import PLAIN

CLIENTS = Path(__file__).parent / "clients"
pytestmark = [
    pytest.mark.timeout(180),  # Node's own start takes seconds where much else runs
    pytest.mark.skipif(
        shutil.which("node") is None or not (CLIENTS / "node_modules").exists(),
        reason="`make clients` installs them, and needs Node 20 or newer",
    ),
]


def _run(script, *words):
    done = subprocess.run(
        ["node", CLIENTS / script, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(params=["ours", "langgraphs"])
def graph(request):
    return getattr(graphs, request.param)()


@pytest.mark.parametrize("package", ["@langchain/langgraph-sdk", "langgraph-sdk-2"])
def test_langgraphs_client_streams_and_answers_what_is_asked(serving, traced, graph, package):
    with serving(graph) as server:
        told = _run("agent_server.mjs", server.url, package)
    assert told == {
        "text": graphs.WORDS,
        "events": [
            ["metadata", "run_id"],
            ["custom", "progress"],
            ["updates", "speak"],
            ["updates", "__interrupt__"],
            ["metadata", "run_id"],
            ["updates", "check"],
            ["updates", "inner"],
        ],
        "next": [],
    }


@pytest.mark.parametrize("package", ["@langchain/langgraph-sdk", "langgraph-sdk-2"])
def test_langgraphs_client_has_every_event_once_though_it_is_cut(serving, cutting, graph, package):
    with serving(graph) as server:
        whole = _run("cut.mjs", server.url, package)
        way = cutting(server, 9)
        cut = _run("cut.mjs", way.url, package)
    assert cut == whole
    assert whole["text"] == graphs.WORDS
    assert way.cut.is_set()


HOOKS = ["@langchain/react", "@langchain/langgraph-sdk/react", "langgraph-sdk-2/react"]


@pytest.mark.parametrize("way", ["straight", "cut"])
@pytest.mark.parametrize("package", HOOKS)
def test_react_shows_what_is_said_asks_and_answers(serving, cutting, traced, graph, package, way):
    """The first one speaks the thread-centric protocol, and the others that of runs."""
    with serving(graph) as server:
        between = cutting(server, 5) if way == "cut" else server
        told = _run("react.mjs", between.url, package)
        assert way == "straight" or between.cut.is_set()
    asked, texts = told["asked"], told["texts"]
    assert (asked, texts) == ("go on?", [["human", "hi"], ["ai", graphs.WORDS]])
    assert "answered yes" in told["log"]


@pytest.mark.parametrize("package", ["@ag-ui/client", "ag-ui-client-0"])
def test_ag_uis_client_takes_every_event_and_answers_what_is_asked(serving, traced, graph, package):
    with serving(graph) as server:
        told = _run("ag_ui.mjs", f"{server.url}/ag-ui", package)
    log, traces = told.pop("log"), told.pop("traced")
    assert told == {
        "first": [
            "RUN_STARTED",
            "STATE_SNAPSHOT",
            "STEP_STARTED",
            "CUSTOM",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "STEP_FINISHED",
            "RUN_FINISHED",
        ],
        "last": "RUN_FINISHED",
        "custom": ["custom", "on_interrupt"],
        "said": [graphs.WORDS],
    }
    assert "answered yes" in log
    assert len({trace[:35] for trace in traces}) == 2


def test_vercels_transport_assembles_the_message(serving, traced, graph):
    with serving(graph) as server:
        told = _run("ui_messages.mjs", f"{server.url}/chat")
    assert told == {
        "text": [graphs.WORDS],
        "nodes": [["speak", "done"], ["check", "done"], ["inner", "done"]],
        "traced": True,
        "gone": None,
    }


@pytest.mark.parametrize("package", ["@ag-ui/client", "ag-ui-client-0"])
def test_ag_uis_client_that_was_cut_has_the_same_run_from_its_beginning(serving, cutting, graph, package):
    with serving(graph) as server:
        way = cutting(server, 9, PLAIN)
        told = _run("ag_ui_cut.mjs", f"{way.url}/ag-ui", package)
        runs = [run for thread in server.app.state.hub.threads.values() for run in thread.runs]
    assert (len(runs), way.cut.is_set(), told["before"]) == (1, True, 9)
    assert told["said"] == [graphs.WORDS]
    assert [one for one in told["events"] if len(one) == 1] == [*graphs.WORDS]
    assert [one for one in told["events"] if one.startswith("RUN_")] == ["RUN_STARTED", "RUN_FINISHED"]
    assert told["log"][-1] == "look"


def test_vercels_transport_goes_on_where_it_was_cut_and_answers_what_is_asked(serving, cutting, graph):
    with serving(graph) as server:
        way = cutting(server, 9, PLAIN)
        told = _run("ui_cut.mjs", f"{way.url}/chat", f"{server.url}/chat")
    assert way.cut.is_set()
    assert 0 < told.pop("cut") < len(graphs.WORDS)
    assert told == {
        "text": [graphs.WORDS],
        "asked": ["go on?"],
        "nodes": [["check", "done"], ["inner", "done"]],
    }
