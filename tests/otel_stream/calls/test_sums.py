"""Tokens and costs over many runs add up to what the services reported, whatever becomes of the calls.

``OTEL_STREAM_RUNS=1000`` makes so many runs. ``tests/backends/test_spending.py`` reads the same sums back
through Prometheus.
"""

import os
from typing import Any

import pytest

from tests.otel_stream.calls.conftest import LATEST
from tests.otel_stream.calls.ledger import WAYS, Ledger, drawn, make

RUNS = int(os.environ.get("OTEL_STREAM_RUNS", "12"))


@pytest.mark.timeout(120 + RUNS)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
def test_tokens_and_costs_are_what_the_services_reported(watch: Any, how: str, *, latest: bool) -> None:
    seen = watch(**(LATEST if latest else {}), OTEL_STREAM_PRICES="provider")
    ledger = Ledger(7)
    try:
        make(drawn(f"{how} {latest}", RUNS, how), how, ledger.url)
    finally:
        ledger.close()
    told = seen()
    model = "gen_ai.response.model"
    if latest:
        found = {
            (key[0], kind): count
            for kind in ("input", "output")
            for key, count in told.sums(f"gen_ai.client.inference.usage.{kind}_tokens", model).items()
        }
    else:
        found = told.sums("gen_ai.client.token.usage", model, "gen_ai.token.type")
    assert {key: count for key, count in found.items() if count} == dict(ledger.tokens)
    assert sum(told.sums("graph.call.cost").values()) == pytest.approx(ledger.cost)
    assert told.sums("graph.call.unpriced") == {}
    roots = [span.attributes for span in told.of("invoke_workflow")]
    assert sum(one.get("graph.run.tokens", 0) for one in roots) == sum(ledger.tokens.values())
    assert sum(one.get("graph.run.cost", 0) for one in roots) == pytest.approx(ledger.cost)
    duration = f"gen_ai.client.{'inference' if latest else 'operation'}.duration"
    counted = sum(point.count for point in told.points(duration))
    assert counted == len(told.of("chat")) == sum(ledger.calls.values())
    failed = sum(point.count for point in told.points(duration) if "error.type" in point.attributes)
    broken = sum(count for (_, fate), count in ledger.calls.items() if fate in ("refused", "cut"))
    assert failed == broken > 0
    assert told.violations() == []
