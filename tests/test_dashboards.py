"""Dashboards and rules as files: what the code says, in Grafana's form, with names that the registry has."""

import json
import re
from pathlib import Path

import pytest
import yaml

from dashboards import ask, links, names, rules, schema
from dashboards.__main__ import DASHBOARDS, ROOT, generated, main
from dashboards.plugins import JAEGER, VICTORIALOGS
from dashboards.stores import Stores
from dashboards.stores.both import BOTH
from tests.dashboard_queries import (
    logql_names,
    logsql_names,
    promql_selectors,
    traceql_attributes,
    wrong_promql,
)

FOLDER = ROOT / "dashboards"
FILES = [FOLDER / "json" / stores.name / f"{name}.json" for stores in BOTH for name in DASHBOARDS]
QUERIES = [query for file in FILES for query in ask.asked(file)]
#: Every panel of every dashboard, by a name to find it by.
PANELS = {
    f"{file.parent.name}-{file.stem}-{panel['id']}-{panel['title']}": panel
    for file in FILES
    for panel in ask.panels(json.loads(file.read_text()))
}

# -- what is generated ----------------------------------------------------------------------------------


def test_files_are_byte_for_byte_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--check"]), capsys.readouterr().err) == (0, "")


def test_no_file_is_left_of_a_dashboard_that_is_no_more() -> None:
    places = [*FOLDER.glob("json/*/*"), *FOLDER.glob("rules/*"), *FOLDER.glob("*.libsonnet")]
    places += [file for stores in BOTH for file in (ROOT / "collector-config" / stores.name).iterdir()]
    assert {path.relative_to(ROOT).as_posix() for path in places} == set(generated())


def test_a_file_edited_by_hand_is_named_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(folder=tmp_path) == 0
    file = "dashboards/json/tempo-loki/runs.json"
    (tmp_path / file).write_text("{}")
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == f"{file} is not what the code says: run make dashboards\n"
    assert main(folder=tmp_path) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    assert (tmp_path / file).read_bytes() == (ROOT / file).read_bytes()


# -- Grafana's form: the SDK's models are generated from Grafana's own schemas --------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_dashboard_is_what_grafanas_schema_knows_and_nothing_else(file: Path) -> None:
    assert schema.violations(file.read_text()) == []


def test_what_the_schema_does_not_know_is_found() -> None:
    dashboard = json.loads(FILES[0].read_text())
    dashboard["title"] = 7
    dashboard["theme"] = "dark"
    dashboard["panels"][1]["gridPos"]["h"] = "8"
    dashboard["panels"][1]["targets"][0]["expression"] = "up"
    assert schema.violations(json.dumps(dashboard)) == [
        "/panels/1/targets/0/expression: unknown",
        "/theme: unknown",
        "/title: 7 is no str",
        "/panels/1/grid_pos/h: '8' is no int",
    ]


def test_what_the_schema_does_not_know_is_found_in_a_plugins_query_too() -> None:
    for name, kind in (("runs", JAEGER), ("streams", VICTORIALOGS)):
        dashboard = json.loads((FOLDER / f"json/jaeger-victorialogs/{name}.json").read_text())
        targets = [target for panel in ask.panels(dashboard) for target in panel.get("targets", ())]
        target = next(target for target in targets if target["datasource"]["type"] == kind)
        target |= {"queryType": 7, "expression": "up"}
        found = [text.rpartition("/")[2] for text in schema.violations(json.dumps(dashboard))]
        assert found == ["expression: unknown", "query_type: 7 is no str"]


@pytest.mark.parametrize("stores", BOTH, ids=lambda stores: stores.name)
def test_addresses_are_unique_and_every_link_leads_to_a_dashboard_of_the_same_stores(stores: Stores) -> None:
    everywhere = [json.loads(file.read_text())["uid"] for file in FILES]
    assert len(set(everywhere)) == len(everywhere)
    mine = [file for file in FILES if file.parent.name == stores.name]
    uids = {json.loads(file.read_text())["uid"] for file in mine}
    assert uids == {links.uid(stores.name, name) for name in DASHBOARDS}
    linked = {uid for file in mine for uid in re.findall(r"/d/([\w-]+)", file.read_text())}
    assert linked
    assert linked <= uids
    for file in mine:
        dashboard = json.loads(file.read_text())
        assert {stores.name} < set(dashboard["tags"]) == set(dashboard["links"][0]["tags"])


def test_both_pairs_of_stores_have_the_same_panels() -> None:
    titles: dict[str, list[str]] = {}
    for file in FILES:
        shown = ask.panels(json.loads(file.read_text()))
        titles.setdefault(file.parent.name, []).extend(f"{file.stem}: {panel['title']}" for panel in shown)
    one, other = titles.values()
    assert one == other


def test_what_jaeger_cannot_answer_is_said_in_the_panel() -> None:
    words = {
        f"{file.stem}: {panel['title']}": panel["options"]["content"]
        for file in FILES
        for panel in ask.panels(json.loads(file.read_text()))
        if panel["type"] == "text"
    }
    assert words.keys() == {"nodes: 95th percentile, from traces", "models: Dearest runs"}
    assert all("Jaeger" in content and "*Duration*" in content for content in words.values())


# -- panels ---------------------------------------------------------------------------------------------

_SOURCES = {f"${{{kind}}}" for stores in BOTH for kind in ("prometheus", *stores.sources)}


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_asks_a_source_that_can_be_chosen(name: str) -> None:
    panel = PANELS[name]
    assert re.fullmatch(r"[A-Z0-9].{10,}\.", panel["description"], re.DOTALL)
    if panel["type"] == "text":
        return
    assert panel["fieldConfig"]["defaults"]["unit"] in schema.UNITS
    assert panel["datasource"]["uid"] in _SOURCES
    assert {target["datasource"]["uid"] for target in panel["targets"]} <= _SOURCES
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_dashboard_has_each_variable_that_it_uses_and_uses_each_that_it_has(file: Path) -> None:
    text = file.read_text()
    variables = json.loads(text)["templating"]["list"]
    has = {variable["name"] for variable in variables}
    (stores,) = [stores for stores in BOTH if stores.name == file.parent.name]
    sources = {"prometheus", *stores.sources}
    assert has >= sources
    panels = json.dumps([panel.get("targets") for panel in ask.panels(json.loads(text))])
    used = set(re.findall(r"\$\{?([a-z_]+)", panels)) - {"__rate_interval", "__interval"}
    # A store may have nothing to say on a dashboard, but links to other dashboards pass it on.
    assert used <= has
    narrowing = {
        name for variable in variables for name in re.findall(r"\$(\w+)", json.dumps(variable["query"]))
    }
    assert has - used - narrowing <= sources


def test_panels_stand_side_by_side_without_overlap() -> None:
    for file in FILES:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(file.read_text())["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, f"{file.stem}: {panel['title']}"
            assert at["x"] + at["w"] <= 24
            taken |= cells


# -- names in queries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [q for q in QUERIES if q.kind == "prometheus"], ids=str)
def test_a_promql_query_names_only_what_there_is(query: ask.Asked) -> None:
    assert promql_selectors(query.text)
    assert wrong_promql(query.text) == []
    assert set(re.findall(r"\[([^\]]+)\]", query.text)) <= {"$__rate_interval"}


@pytest.mark.parametrize("query", [q for q in QUERIES if q.kind == "tempo"], ids=str)
def test_a_traceql_query_names_only_attributes_that_there_are(query: ask.Asked) -> None:
    assert traceql_attributes(query.text) - set(names.REGISTRY.attributes) <= {names.SERVICE}


@pytest.mark.parametrize("query", [q for q in QUERIES if q.kind == "loki"], ids=str)
def test_a_logql_query_names_only_labels_and_events_that_there_are(query: ask.Asked) -> None:
    labels, events = logql_names(query.text)
    known = {names.label(name) for name in (*names.REGISTRY.attributes, names.SERVICE, names.ENVIRONMENT)}
    assert labels - known <= {"trace_id", "event_name"}
    assert events <= set(names.REGISTRY.events)


@pytest.mark.parametrize("query", [q for q in QUERIES if q.kind == VICTORIALOGS], ids=str)
def test_a_logsql_query_names_only_fields_and_events_that_there_are(query: ask.Asked) -> None:
    fields, events = logsql_names(query.text)
    known = {*names.REGISTRY.attributes, names.SERVICE, names.ENVIRONMENT, "trace_id", "event_name"}
    assert fields - known == set()
    assert events <= set(names.REGISTRY.events)


@pytest.mark.parametrize("query", [q for q in QUERIES if q.kind == JAEGER], ids=str)
def test_a_search_in_jaeger_names_only_attributes_that_there_are(query: ask.Asked) -> None:
    tags = [word.partition("=")[0] for word in query.target.get("tags", "").split()]
    assert bool(tags) is (query.target.get("queryType") == "search")
    # A span whose status is an error bears this tag in Jaeger.
    assert set(tags) - set(names.REGISTRY.attributes) <= {"error"}


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum(rate(graph_nodes_total[5m]))", ["graph_nodes_total: no such metric"]),
        ("graph_run_active{graph_run_end='ok'}", ["graph_run_active: has no label graph_run_end"]),
        ("sum by (graph_run_name) (graph_run_active)", ["graph_run_name: no such label"]),
    ],
)
def test_a_wrong_name_is_found(expression: str, wrong: list[str]) -> None:
    assert wrong_promql(expression) == wrong


# -- names, as Prometheus spells them (tests/backends compares with the real one) -----------------------


@pytest.mark.parametrize(
    ("name", "unit", "instrument", "expected"),
    [
        ("graph.node.duration", "s", "histogram", "graph_node_duration_seconds"),
        ("graph.run.active", "{run}", "updowncounter", "graph_run_active"),
        ("graph.node.retries", "{retry}", "counter", "graph_node_retries_total"),
        ("graph.stream.lag", "s", "gauge", "graph_stream_lag_seconds"),
        ("graph.checkpoint.size", "By", "histogram", "graph_checkpoint_size_bytes"),
        ("queue.ratio", "1", "gauge", "queue_ratio"),
        ("share", "1", "gauge", "share_ratio"),
        ("waited.seconds", "s", "counter", "waited_seconds_total"),
        ("items.total", "{item}", "counter", "items_total"),
    ],
)
def test_a_metrics_name_in_prometheus(name: str, unit: str, instrument: str, expected: str) -> None:
    assert names.prometheus(name, unit, instrument) == expected


# -- rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*rules.RECORDINGS, *rules.ALERTS], ids=lambda rule: rule[0])
def test_a_rule_names_only_what_there_is(rule: rules.Recording | rules.Alert) -> None:
    recorded = {recording.record for recording in rules.RECORDINGS}
    assert [text for text in wrong_promql(rule.expr) if text.partition(": ")[0] not in recorded] == []


def test_an_alert_names_only_labels_that_its_series_keep() -> None:
    recorded = {rule.record: rule.expr for rule in rules.RECORDINGS}
    for alert in rules.ALERTS:
        expression = alert.expr
        for record, expr in recorded.items():
            expression = expression.replace(record, expr)
        kept = re.findall(r"\bby \(([^)]*)\)", expression)
        labels = {label.strip() for inside in kept for label in inside.split(",")}
        said = alert.summary + alert.description
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels, alert.name


def test_every_alert_says_what_to_do_in_the_runbooks_and_they_are_about_nothing_else() -> None:
    text = (ROOT / rules.RUNBOOKS).read_text()
    sections = dict(re.findall(r"^## (OtelStream\w+)\n+(.+?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [alert.name for alert in rules.ALERTS]
    assert [name for name, section in sections.items() if len(section) < 150] == []
    written = yaml.safe_load((FOLDER / "rules/alerts.yaml").read_text())["groups"][0]["rules"]
    assert [rule["annotations"]["runbook_url"] for rule in written] == [
        f"{rules.RUNBOOKS}#{name.lower()}" for name in sections
    ]
