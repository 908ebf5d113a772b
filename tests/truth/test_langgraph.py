"""The same, of LangGraph's runs: the adapter in place of our engine."""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import filterfalse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import otel_stream.adapters.langgraph.audience
from otel_stream.adapters.langgraph import LangGraphInstrumentor
from otel_stream.events import End
from tests.differential.build import LANGGRAPH
from tests.differential.generate import in_subgraphs
from tests.differential.specs import Graph
from tests.truth.execution import differences
from tests.truth.exported import pipeline
from tests.truth.generate import Case, cases
from tests.truth.rebuild import Rebuilder
from tests.truth.run import Program, told

EXAMPLES = int(os.environ.get("OTEL_STREAM_EXAMPLES", "40"))
GENERATED = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


class LangGraphProgram(Program):
    api = LANGGRAPH
    asking: Any = otel_stream.adapters.langgraph.audience
    signed = False
    signing = tuple(end for end in End if end is not End.OK)


def without_orphans(case: Case) -> Case:
    """Let all nodes await on the event loop: what LangGraph runs there in a thread outlives its end."""

    def change(graph: Graph) -> Graph:
        return replace(graph, nodes=tuple(replace(node, is_async=True) for node in graph.nodes))

    return replace(case, graph=change(in_subgraphs(case.graph, change))) if case.world == "asyncio" else case


@pytest.fixture
def instrumented() -> Iterator[None]:
    LangGraphInstrumentor().instrument()
    yield
    LangGraphInstrumentor().uninstrument()


#: A subgraph's nodes may still be unwinding on the event loop when LangGraph has left.
_OUTLIVES = re.compile(r"inside \d+ is not within")


def _is_ours(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING and record.name.startswith(("opentelemetry", "otel_stream"))


# Coroutines of LangGraph's that are given up may await in their last breath.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(600 + EXAMPLES)
@pytest.mark.parametrize("kind", ["configured", "plain"])
def test_the_exported_run_is_the_run_that_happened(
    kind: str, tmp_path: Path, otel_globals: None, instrumented: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pipeline(kind, tmp_path, content=True) as pipe:

        @GENERATED
        @given(cases().map(without_orphans))
        def check(case: Case) -> None:
            happened, documents, contradictions = told(case, pipe, LangGraphProgram)
            rebuilt = Rebuilder(documents).execution()
            if case.world == "asyncio":
                rebuilt = replace(rebuilt, broken=tuple(filterfalse(_OUTLIVES.match, rebuilt.broken)))
            assert [*differences(happened, rebuilt), *contradictions] == []
            assert [one.getMessage() for one in caplog.records if _is_ours(one)] == []

        check()
