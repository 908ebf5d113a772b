"""What a graph streams whose nodes run elsewhere is what LangGraph streams of it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings

from engine import Remote
from tests.differential.build import LANGGRAPH, OURS
from tests.differential.compare import differences
from tests.differential.generate import cases
from tests.differential.run import run
from tests.differential.specs import Case

#: The same graphs each time; as many others as are asked for: ``OTEL_STREAM_EXAMPLES=5000``.
ASKED = os.environ.get("OTEL_STREAM_EXAMPLES")
EXAMPLES = int(ASKED or "300")
ELSEWHERE = SimpleNamespace(**vars(OURS), on=Remote(num_cpus=0, concurrency=32))


# LangGraph leaves nodes that it has cancelled before they began to the collector, which Python 3.14 says.
@pytest.mark.filterwarnings("ignore:coroutine 'arun_with_retry' was never awaited")
@pytest.mark.timeout(300 + 10 * EXAMPLES)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=ASKED is None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(cases())
def test_a_generated_graph_streams_elsewhere_what_langgraph_streams(case: Case) -> None:
    assert differences(case, run(LANGGRAPH, case), run(ELSEWHERE, case)) == []
