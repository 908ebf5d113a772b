"""Every query of every panel and every rule is answered by real stores, after an hour of mixed traffic."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from dashboards import ask, collector, draw, names, rules
from dashboards.__main__ import DASHBOARDS
from dashboards.plugins import JAEGER, VICTORIALOGS
from otel_stream import semconv
from tests.backends.polling import eventually
from tests.backends.stores import Stack
from tests.dashboard_queries import promql_selectors

ROOT = Path(__file__).parents[2]
#: The hour, compressed: long enough for two evaluations of the rules.
SECONDS = 45
ROLES = ("app", "observed", "lossy", "tail")
#: Metrics that are in the registry and that nothing emits yet. To be empty.
NOT_EMITTED_YET: tuple[semconv.Metric, ...] = ()
#: Alerts whose fault is that something is not there: they are asked about a time when nothing is.
ABSENT = {"OtelStreamNoData", "OtelStreamCollectorGone"}
#: Alerts whose fault is part of the traffic. Those of the others are planted in test_dashboards_rules.
PLANTED = {
    "OtelStreamRunsFail",
    "OtelStreamNodeFails",
    "OtelStreamRetryStorm",
    "OtelStreamPartsDropped",
    "OtelStreamExportLoses",
}


class Hour:
    """What the traffic left in the stores, and a run of it to look at."""

    def __init__(self, stack: Stack) -> None:
        self.stores = stack.name
        self.backends = ask.Backends(stack.urls, seconds=SECONDS + 60)
        # One that another run went on from: then every list of the run explorer has something in it.
        self.looked_at = {
            service: eventually(
                partial(self._resumed, stack.traces_in, service), lambda found: bool(found[0])
            )
            for service in ("app", "observed")
        }

    def _resumed(self, store: str, service: str) -> tuple[str, str]:
        """Return the trace of a run that another one went on from, and its conversation; "" if none is."""
        name, conversation = semconv.GRAPH_RESUME_TRACE_ID, semconv.GEN_AI_CONVERSATION_ID
        if store == "tempo":
            asked = f'{{ resource.service.name = "{service}" && span.{name} != nil }}'
            spans = self.backends.tempo(f"{asked} | select(span.{name}, span.{conversation})")
            tags = [
                {tag["key"]: tag["value"].get("stringValue") for tag in span["attributes"]} for span in spans
            ]
        else:
            answered = f"{names.GRAPH_ATTRIBUTES[0]}=approval {semconv.GRAPH_RUN_END}=ok"
            traces = self.backends.jaeger_search(service, answered)
            spans = [span for trace in traces for span in trace["spans"]]
            tags = [{tag["key"]: tag["value"] for tag in span["tags"]} for span in spans]
        found = ((str(one[name]), str(one.get(conversation, ""))) for one in tags if name in one)
        return next(found, ("", ""))

    def rows(self, query: ask.Asked, file: Path) -> list[Any]:
        return self.backends.rows(query, ask.defaults(file) | self.chosen)

    @property
    def chosen(self) -> dict[str, str]:
        """What somebody who looks at the run has chosen and typed."""
        return self.chosen_of("app")

    def chosen_of(self, service: str) -> dict[str, str]:
        trace_id, conversation = self.looked_at[service]
        return {"trace_id": trace_id, "traced": service, "conversation": conversation}

    def file(self, name: str) -> Path:
        return ROOT / "dashboards" / "json" / self.stores / f"{name}.json"


@pytest.fixture(scope="module")
def hour(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    logs = tmp_path_factory.mktemp("traffic")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_RESOURCE_ATTRIBUTES": f"{names.ENVIRONMENT}=lab",
    }
    started = {}
    for role in ROLES:
        command = [sys.executable, "-m", "tests.backends.traffic", role, str(SECONDS)]
        with (logs / role).open("w") as log:
            started[role] = subprocess.Popen(command, cwd=logs, env=environment, stdout=log, stderr=log)
    try:
        codes = {role: process.wait(SECONDS + 60) for role, process in started.items()}
        assert codes == dict.fromkeys(ROLES, 0), "".join((logs / role).read_text() for role in ROLES)
        yield Hour(stack)
    finally:
        for process in started.values():
            if process.poll() is None:
                process.kill()
                process.wait()


def is_left_out(query: ask.Asked) -> bool:
    """Whether a query asks about tail sampling, or how big checkpoints are: of LangGraph none knows that."""
    series = names.metrics_by_series()
    about = {series.get(name, "") for name, _ in promql_selectors(query.text)}
    return query.kind == "prometheus" and any(
        name == semconv.CHECKPOINT_SIZE.name or name.startswith("otel_stream.tail_sampling.")
        for name in about
    )


def is_missing(expression: str) -> bool:
    ours, missing = names.metrics_by_series(), {metric.name for metric in NOT_EMITTED_YET}
    return any(ours.get(name) in missing for name, _ in promql_selectors(expression))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_every_panel_returns_data(name: str, hour: Hour) -> None:
    file = hour.file(name)
    queries = ask.asked(file)
    assert queries
    empty = [
        query
        for query in queries
        if not eventually(partial(hour.rows, query, file), seconds=20 * (not is_missing(query.text)))
    ]
    missing = [query for query in queries if query.kind == "prometheus" and is_missing(query.text)]
    assert [str(query) for query in empty] == [str(query) for query in missing]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_every_panel_returns_data_of_langgraphs_own_graphs(name: str, hour: Hour) -> None:
    file = hour.file(name)
    chosen = ask.defaults(file) | hour.chosen_of("observed") | {"service": "observed"}
    empty = [
        str(query)
        for query in ask.asked(file)
        if not eventually(partial(hour.backends.rows, query, chosen), seconds=20 * (not is_left_out(query)))
    ]
    assert empty == [str(query) for query in ask.asked(file) if is_left_out(query)]


#: Slips of a pen: by Grafana's type of data source, what stands in a query, and what one might write.
SLIPS = {
    "prometheus": ("sum", "sun"),
    "tempo": (" }", ""),
    "loki": ("sum by", "sun by"),
    VICTORIALOGS: ("stats by", "stat by"),
    JAEGER: ("error=true", "error=tru"),
}


def slipped(query: ask.Asked) -> ask.Asked | None:
    """Return a query with a slip in it; None if it has nothing to slip on."""
    right, wrong = SLIPS[query.kind]
    field = next((name for name, text in query.target.items() if right in str(text)), None)
    if field is None:
        return None
    return query._replace(target={**query.target, field: str(query.target[field]).replace(right, wrong)})


def test_a_slip_in_a_query_of_each_kind_is_seen(hour: Hour) -> None:
    queries = [(query, hour.file(name)) for name in DASHBOARDS for query in ask.asked(hour.file(name))]
    kinds = set()
    for query, file in queries:
        wrong = slipped(query)
        if query.kind in kinds or wrong is None:
            continue
        kinds.add(query.kind)
        assert hour.rows(query, file)
        if query.kind == JAEGER:  # takes any tag, and finds nothing
            assert hour.rows(wrong, file) == []
            continue
        with pytest.raises(ValueError, match=r"^\w+ answers 4\d\d: "):
            hour.rows(wrong, file)
    assert kinds == {query.kind for query, _ in queries}


def test_every_metric_has_the_name_in_prometheus_that_we_derive(hour: Hour) -> None:
    found = {row["metric"]["__name__"] for row in hour.backends.prometheus('{__name__!=""}', instant=True)}
    ours = {name for name in found if name.startswith(("graph_", "gen_ai_", "otel_stream_"))}
    assert ours - set(names.metrics_by_series()) == set()
    # What found a queue full, or one of two names, is not there.
    assert collector.SERIES - found <= set(collector.ENQUEUE_FAILED)


def test_prometheus_evaluates_our_rules_without_error(hour: Hour) -> None:
    def health() -> dict[str, str]:
        groups = hour.backends.rules()
        return {
            rule["name"]: rule["health"] + rule.get("lastError", "")
            for group in groups
            for rule in group["rules"]
        }

    wanted = {rule[0]: "ok" for rule in (*rules.RECORDINGS, *rules.ALERTS)}
    assert eventually(health, lambda got: got == wanted) == wanted


@pytest.mark.parametrize("rule", [*rules.RECORDINGS, *rules.ALERTS], ids=lambda rule: rule[0])
def test_every_rule_measures_something(rule: rules.Recording | rules.Alert, hour: Hour) -> None:
    # Instant queries look back for five minutes.
    later = time.time() + 400 if rule[0] in ABSENT else None
    query = partial(hour.backends.prometheus, rule.expr, instant=True, at=later)
    wanted = not is_missing(rule.expr)
    assert bool(eventually(query, seconds=20 * wanted)) is wanted


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_an_alert_is_about_to_fire_on_the_fault_in_the_traffic(name: str, hour: Hour) -> None:
    (alert,) = [alert for alert in rules.ALERTS if alert.name == name]
    rows = eventually(partial(hour.backends.prometheus, alert.condition, instant=True), seconds=20)
    assert rows, hour.backends.prometheus(alert.expr, instant=True)
    pending = eventually(partial(hour.backends.prometheus, f'ALERTS{{alertname="{name}"}}', instant=True))
    assert {row["metric"]["alertstate"] for row in pending} <= {"pending", "firing"}
    assert pending


@pytest.mark.parametrize("name", DASHBOARDS)
def test_pictures_can_be_drawn_of_what_the_backends_answered(name: str, hour: Hour, tmp_path: Path) -> None:
    """``DASHBOARD_PICTURES=docs/images`` keeps them, for the documentation."""
    file = hour.file(name)
    picture = draw.draw(file, hour.backends, hour.chosen)
    folder = ROOT / os.environ.get("DASHBOARD_PICTURES", tmp_path) / hour.stores
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"dashboard-{name}.svg").write_text(picture)
    shown = "".join(ET.fromstring(picture).itertext())
    titles = [panel["title"] for panel in ask.panels(json.loads(file.read_text()))]
    assert [title for title in titles if title not in shown] == []
    empty = {
        query.panel["id"]
        for query in ask.asked(file)
        if query.kind == "prometheus" and is_missing(query.text)
    }
    assert shown.count("no data") == len(empty)
