"""Tokens and costs in the dashboard's own queries are what the services of models reported, run for run.

Of many runs calls fail, are refused, are cut by the network, or are left by who reads them.
``OTEL_STREAM_RUNS=1000`` makes so many.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backends.ports import Ports
from backends.programs import url
from dashboards import ask
from tests.backends.polling import eventually
from tests.otel_stream.calls.conftest import LATEST
from tests.otel_stream.calls.ledger import MODELS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "dashboards" / "json" / "jaeger-victorialogs" / "models.json"
RUNS = int(os.environ.get("OTEL_STREAM_RUNS", "60"))
MODEL = "gen_ai_request_model"
NAME = f"{{{{{MODEL}}}}}"
#: The panels of what is spent by model, and the legend of each of their lines.
TOKENS, COST = "By model", "Cost, by model"
KINDS = {"input": f"{NAME} read", "output": f"{NAME} written"}
#: A panel of cost shows what is spent per hour.
HOUR = 3600
#: What ``$__rate_interval`` is here, in seconds, and how often a line is looked at.
WINDOW, STEP = 60, 5


class Spending(NamedTuple):
    """What the services have reported since when, and who shows it."""

    reported: dict[str, Any]
    since: float
    backends: ask.Backends
    values: dict[str, str]

    def tokens(self, kind: str) -> dict[str, int]:
        return {model: count for model, of, count in self.reported["tokens"] if of == kind}

    @property
    def cost(self) -> float:
        return float(self.reported["cost"])

    def _expression(self, panel: str, legend: str) -> str:
        """Return the query of a line of a panel, with its variables filled in."""
        (query,) = [
            one
            for one in ask.asked(FILE)
            if one.panel["title"] == panel and one.target["legendFormat"] == legend
        ]
        return ask.filled(query.text, self.values | {"__rate_interval": f"{WINDOW}s"})

    def _by_model(self, expression: str, at: float | None = None) -> dict[str, float]:
        rows = self.backends.prometheus(expression, instant=True, at=at)
        return {row["metric"][MODEL]: float(row["value"][1]) for row in rows}

    def counted(self, panel: str, legend: str) -> dict[str, float]:
        """Return what a panel's query counts up to: the query as it stands, but of totals, not of rates."""
        rated = re.compile(rf"rate\(([^][]*)\[{WINDOW}s\]\)")
        return self._by_model(rated.sub(r"\1", self._expression(panel, legend)))

    def enclosed(self, panel: str, legend: str) -> dict[str, float]:
        """Return the area below a panel's line, until it has come to nothing."""
        over = time.time() + WINDOW
        inside = f"({self._expression(panel, legend)})[{int(over - self.since) + WINDOW}s:{STEP}s]"
        return self._by_model(f"{STEP} * sum_over_time({inside})", at=over)


@pytest.fixture(scope="module", params=["before", "since"])
def spending(request: Any, started: Ports, tmp_path_factory: pytest.TempPathFactory) -> Spending:
    service, since = f"spending-{request.param}", time.time()
    environment = {
        **os.environ,
        **(LATEST if request.param == "since" else {}),
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_ENDPOINT": url(started["http"]),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_SERVICE_NAME": service,
        "OTEL_STREAM_PRICES": "provider",
    }
    command = [sys.executable, "-m", "tests.backends.spending", str(RUNS)]
    folder = tmp_path_factory.mktemp("spending")
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120 + 3 * RUNS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    backends = ask.Backends({"prometheus": url(started["prometheus"])})
    return Spending(json.loads(ended.stdout), since, backends, ask.defaults(FILE) | {"service": service})


def wait_for(get: Callable[[], Any], wanted: Any) -> None:
    got = eventually(get, lambda got: got == wanted)
    assert got == wanted


@pytest.mark.timeout(300 + 3 * RUNS)
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_that_services_reported(spending: Spending, kind: str) -> None:
    reported = spending.tokens(kind)
    assert len(reported) == len(MODELS)
    wait_for(lambda: spending.counted(TOKENS, KINDS[kind]), reported)


@pytest.mark.timeout(300 + 3 * RUNS)
def test_costs_are_those_of_what_services_reported(spending: Spending) -> None:
    wait_for(lambda: sum(spending.counted(COST, NAME).values()), pytest.approx(HOUR * spending.cost))


@pytest.mark.timeout(300 + 3 * RUNS)
@pytest.mark.skipif(RUNS < 500, reason="rates are estimated from samples: of few they are rough")
def test_lines_enclose_what_was_spent(spending: Spending) -> None:
    for kind, legend in KINDS.items():
        assert spending.enclosed(TOKENS, legend) == pytest.approx(spending.tokens(kind), rel=0.1)
    assert sum(spending.enclosed(COST, NAME).values()) == pytest.approx(HOUR * spending.cost, rel=0.1)
