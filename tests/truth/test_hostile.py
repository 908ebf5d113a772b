"""Hostile text and values, wherever a user's can be, cost no run its telemetry, over HTTP and gRPC."""

import logging
import os
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from otel_stream.replay import replay
from otel_stream.sdk import configure
from otel_stream.sdk.configure import setup
from otel_stream.telemetry import set_options
from tests.otlp_servers import grpc_server, http_server
from tests.truth.hostile import HEALTHY_SPANS, HEALTHY_STATES, hostile, run, run_healthy
from tests.truth.rebuild import document_of, spans_in

#: Runs over each protocol; every other one is hostile.
RUNS = int(os.environ.get("OTEL_STREAM_EXAMPLES", "80"))
#: Runs that leave together, so that they are each other's neighbours in a batch.
ROUND = 20
SERVERS = {"http/protobuf": http_server, "grpc": grpc_server}


@pytest.fixture
def _fresh(otel_globals: None) -> Any:
    yield
    if setup._State.handle is not None:
        setup._State.handle.shutdown(5)
    setup._State.handle = setup._State.arguments = None
    set_options(None)


@pytest.mark.usefixtures("_fresh")
@pytest.mark.timeout(600 + 2 * RUNS)
@pytest.mark.parametrize("content", [True, False], ids=["with content", "without content"])
@pytest.mark.parametrize("protocol", SERVERS)
def test_every_item_of_every_run_arrives(
    protocol: str, content: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(f"{protocol} {content}")
    with SERVERS[protocol]() as server:
        handle = configure(
            "hostile",
            endpoint=server.url,
            protocol=protocol,
            capture_content=content,
            logging=True,
            modes="values,updates,custom,messages,tasks,checkpoints,debug,graph.route",
            record_as="both",
        )
        for _ in range(max(1, RUNS // ROUND)):
            before = handle.counts()
            told, expected = _one_round(chance)
            assert handle.flush(60), told
            lost = {name: now.lost - before[name].lost for name, now in handle.counts().items()}
            assert lost == {"spans": 0, "logs": 0, "metrics": 0}, told
            assert _found(server.requests, content=content) == expected, told
            server.requests.clear()
        assert handle.shutdown(60)
    assert [one.getMessage() for one in caplog.records if one.name.startswith("otel_stream")] == []


def _one_round(chance: random.Random) -> tuple[list[str], dict[str, Any]]:
    """Run hostile and healthy programs by turns; return what they were, and what must arrive."""
    told, runs = [], 0
    for _ in range(ROUND // 2):
        words, program = hostile(chance)
        told.append(words)
        runs += run(program)
        run_healthy()
    return told, {"runs": runs + ROUND // 2, "healthy": ROUND // 2, "wrong": []}


def _found(requests: list[Any], *, content: bool) -> dict[str, Any]:
    """Return how many runs have arrived, how many of them healthy and whole, and what is wrong with any."""
    documents = [document_of(request) for request in requests]
    traces = defaultdict(list)
    for span in spans_in(documents):
        traces[span.trace].append(span)
    wrong = [f"{span.name[:40]!r} has no parent" for spans in traces.values() for span in _orphans(spans)]
    roots = [span for spans in traces.values() for span in spans if "graph.run.id" in span.about]
    streams = {one.id: one for one in replay([one for one in documents if "resourceLogs" in one]).runs}
    healthy = 0
    for span in roots:
        stream = streams[span.about["graph.run.id"]]
        wrong += [f"{span.name[:40]!r}: {one}" for one in (stream.problems() if content else stream.holes)]
        wrong += [] if stream.end == span.about["graph.run.end"] else [f"{span.name[:40]!r} has no end"]
        if span.about["gen_ai.workflow.name"] == "healthy":
            healthy += 1
            states = [part.data for part in stream.parts if part.type == "values"]
            if sorted(one.name for one in traces[span.trace]) != HEALTHY_SPANS:
                wrong.append(f"spans of a healthy run: {[one.name for one in traces[span.trace]]}")
            if content and states != HEALTHY_STATES:
                wrong.append(f"states of a healthy run: {states}")
    return {"runs": len(roots), "healthy": healthy, "wrong": wrong}


def _orphans(spans: list[Any]) -> list[Any]:
    ids = {span.id for span in spans}
    return [span for span in spans if span.parent and span.parent not in ids]


def test_texts_are_what_python_and_a_log_take(caplog: pytest.LogCaptureFixture) -> None:
    """The texts are hostile to telemetry, not to the test."""
    with caplog.at_level(logging.ERROR):
        for number in range(40):
            hostile(random.Random(number))
    assert caplog.records == []
