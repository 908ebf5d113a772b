"""Collector configurations and compose.yaml, as far as files can be judged without running them.

That the Collector accepts them is shown by tests/backends.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.ports import DEFAULTS
from backends.programs import collector_environment
from dashboards.stores import Stores
from dashboards.stores.both import BOTH
from otel_stream import semconv
from otel_stream.events import End

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "collector-config"
GATEWAYS = {stores.name: FOLDER / stores.name / "gateway.yaml" for stores in BOTH}
#: By their paths, without the suffix.
COLLECTORS = {
    file.relative_to(FOLDER).with_suffix("").as_posix(): file
    for file in (
        FOLDER / "agent.yaml",
        *GATEWAYS.values(),
        *(FOLDER / stores.name / "local.yaml" for stores in BOTH),
    )
}
#: Those that are laid over others.
OVERLAYS = sorted((FOLDER / "kafka").glob("*.yaml"))
BACKENDS = sorted((FOLDER / "backends").glob("*.yaml"))
EVERYTHING = [
    *COLLECTORS.values(),
    *OVERLAYS,
    *BACKENDS,
    FOLDER / "compose.yaml",
    *(FOLDER / "grafana").rglob("*.yaml"),
]

#: Resource attributes that OpenTelemetry names itself.
OF_OPENTELEMETRY = {
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment.name",
    "event.name",
}


def names_of_ours() -> set[str]:
    """Return every attribute name of semconv."""
    return {value for value in vars(semconv).values() if isinstance(value, str)}


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield str(value)


@pytest.mark.parametrize("file", EVERYTHING, ids=lambda file: file.relative_to(FOLDER).as_posix())
def test_every_dotted_name_is_one_that_we_emit(file: Path) -> None:
    dotted = {
        name
        for text in leaves(yaml.safe_load(file.read_text()))
        for name in re.findall(
            r"(?<![\w./$-])(?:gen_ai|graph|service|deployment|error|event)\.[a-z_.]+\b", text
        )
    }
    assert dotted - names_of_ours() - OF_OPENTELEMETRY == set()


@pytest.mark.parametrize("over", ["agent", *GATEWAYS])
def test_what_is_laid_over_a_collector_changes_what_is_there_and_agrees_on_topics(over: str) -> None:
    """Of lists the whole is replaced: what a gateway listens to must be named again."""
    below = yaml.safe_load((COLLECTORS["agent"] if over == "agent" else GATEWAYS[over]).read_text())
    names = {file.stem: yaml.safe_load(file.read_text()) for file in OVERLAYS}
    overlay = names["agent" if over == "agent" else "gateway"]
    pipelines = below["service"]["pipelines"]
    for name, changed in overlay["service"]["pipelines"].items():
        (end,) = changed
        assert changed[end] == (["kafka"] if over == "agent" else [*pipelines[name]["receivers"], "kafka"])
    sent, taken = names["agent"]["exporters"]["kafka"], names["gateway"]["receivers"]["kafka"]
    for signal in ("traces", "logs", "metrics"):
        assert [sent[signal]["topic"]] == taken[signal]["topics"]
        assert sent[signal]["encoding"] == taken[signal]["encoding"]
    assert sent["brokers"] == taken["brokers"]
    assert overlay["service"]["pipelines"].keys() <= pipelines.keys()


@pytest.mark.parametrize("stores", GATEWAYS)
def test_span_metrics_and_sampling_go_by_attributes_of_ours(stores: str) -> None:
    gateway = yaml.safe_load(GATEWAYS[stores].read_text())
    dimensions = {item["name"] for item in gateway["connectors"]["spanmetrics"]["dimensions"]}
    assert dimensions <= names_of_ours()
    policies = {policy["name"]: policy for policy in gateway["processors"]["tail_sampling"]["policies"]}
    unfinished = policies["unfinished"]["string_attribute"]
    assert unfinished["key"] == semconv.GRAPH_RUN_END
    assert set(unfinished["values"]) <= {end.value for end in End}
    assert {"errors", "slow", "share"} <= policies.keys()


@pytest.mark.parametrize("stores", GATEWAYS)
def test_measuring_comes_before_sampling_and_redaction_before_both(stores: str) -> None:
    pipelines = yaml.safe_load(GATEWAYS[stores].read_text())["service"]["pipelines"]
    measured, kept = pipelines["traces/measure"], pipelines["traces/keep"]
    assert measured["receivers"] == kept["receivers"] == ["otlp/shard"]
    assert "tail_sampling" in kept["processors"]
    assert "tail_sampling" not in measured["processors"]
    assert "redaction" in pipelines["traces/front"]["processors"]
    assert "redaction" in pipelines["logs"]["processors"]


@pytest.mark.parametrize("stores", BOTH, ids=lambda stores: stores.name)
def test_what_is_generated_for_a_pair_of_stores_sends_to_them_and_to_no_others(stores: Stores) -> None:
    for name in ("local", "gateway"):
        text = (FOLDER / stores.name / f"{name}.yaml").read_text()
        configuration = yaml.safe_load(text)
        sent_to = {kind for exporter in configuration["exporters"] if (kind := exporter.partition("/")[2])}
        assert sent_to == {*stores.name.split("-"), "prometheus"}
        pipelines = configuration["service"]["pipelines"].values()
        used = {exporter for pipeline in pipelines for exporter in pipeline["exporters"]}
        assert used - configuration.get("connectors", {}).keys() == configuration["exporters"].keys()
        used = {processor for pipeline in pipelines for processor in pipeline["processors"]}
        assert used == configuration["processors"].keys()
        assert re.findall(r"@[a-z]+@", text) == []


@pytest.mark.parametrize("name", COLLECTORS)
def test_every_pipeline_starts_with_the_memory_limiter(name: str) -> None:
    pipelines = yaml.safe_load(COLLECTORS[name].read_text())["service"]["pipelines"]
    assert {signal: pipe["processors"][0] for signal, pipe in pipelines.items()} == dict.fromkeys(
        pipelines, "memory_limiter"
    )


def test_the_agent_encrypts_on_its_way_to_the_gateway_unless_it_is_told_otherwise() -> None:
    text = COLLECTORS["agent"].read_text()
    assert re.findall(r"insecure: \"([^\"]*)\"", text) == ["${env:OTEL_STREAM_GATEWAY_INSECURE:-false}"] * 2
    assert "http://${env:OTEL_STREAM_GATEWAY" not in text  # a scheme would have the last word


def test_the_agent_holds_nothing_in_memory_that_the_app_was_told_is_safe() -> None:
    agent = yaml.safe_load(COLLECTORS["agent"].read_text())
    queues = [exporter["sending_queue"] for exporter in agent["exporters"].values()]
    assert [queue["storage"] for queue in queues] == ["file_storage"] * len(queues)
    assert "batch" not in {kind.partition("/")[0] for kind in agent["processors"]}


@pytest.mark.parametrize(
    "file", [*COLLECTORS.values(), *BACKENDS], ids=lambda file: file.relative_to(FOLDER).as_posix()
)
def test_every_listener_is_on_loopback_unless_told_otherwise(file: Path) -> None:
    for text in leaves(yaml.safe_load(file.read_text())):
        assert "0.0.0.0" not in text
    defaults = re.findall(
        r"\$\{(?:env:)?(OTEL_STREAM_(?:GRPC|HTTP|HEALTH|SHARD|LISTEN)):-([^}]*)\}", file.read_text()
    )
    assert [name for name, default in defaults if not default.startswith("127.0.0.1")] == []


@pytest.mark.parametrize("name", COLLECTORS)
def test_every_variable_has_a_default(name: str) -> None:
    assert re.findall(r"\$\{env:\w+\}", COLLECTORS[name].read_text()) == []


def test_what_is_started_fills_in_variables_that_exist() -> None:
    known = {name for file in COLLECTORS.values() for name in re.findall(r"\$\{env:(\w+)", file.read_text())}
    assert collector_environment(dict(DEFAULTS)).keys() <= known


@pytest.mark.parametrize("name", COLLECTORS)
def test_every_component_is_in_the_collector_that_we_build(name: str) -> None:
    built = {
        item["gomod"].split()[0].rpartition("/")[2]
        for kind, items in yaml.safe_load((ROOT / "backends/otelcol/builder.yaml").read_text()).items()
        if kind != "dist"
        for item in items
    }
    config = yaml.safe_load(COLLECTORS[name].read_text())
    # What the module is called where that is not the type of the component.
    other = {"otlp_grpc": "otlp", "otlp_http": "otlphttp", "file_storage": "filestorage"}
    missing = set()
    for kind in ("receivers", "processors", "exporters", "connectors", "extensions"):
        for component in config.get(kind, {}):
            named = component.partition("/")[0]
            module = other.get(named, named).replace("_", "")
            if not {module, f"{module}{kind[:-1]}"} & built:
                missing.add(component)
    assert missing == set()


#: The keys of a service that we use, out of those of the compose specification.
SERVICE = {"image", "profiles", "command", "environment", "volumes", "ports", "restart"}


class TestCompose:
    """What docker compose would complain about, and what it would not but should."""

    @pytest.fixture
    def compose(self) -> dict[str, Any]:
        return yaml.safe_load((FOLDER / "compose.yaml").read_text())  # type: ignore[no-any-return]

    def test_it_has_only_keys_that_the_specification_knows(self, compose: dict[str, Any]) -> None:
        assert compose.keys() == {"name", "services"}
        for service in compose["services"].values():
            assert service.keys() <= SERVICE
            texts = [*service.get("command", []), *service.get("environment", {}).values()]
            # YAML makes a boolean or a number of what is not quoted, and compose refuses those.
            assert [text for text in texts if not isinstance(text, str)] == []

    def test_images_are_pinned_and_name_no_registry(self, compose: dict[str, Any]) -> None:
        images = {name: service["image"] for name, service in compose["services"].items()}
        assert {
            n: i for n, i in images.items() if not re.fullmatch(r"[a-z-]+/[a-z-]+:v?\d+\.\d+\.\d+", i)
        } == {}
        assert images.keys() == {
            "otelcol",
            "tempo",
            "jaeger",
            "loki",
            "victorialogs",
            "prometheus",
            "grafana",
        }

    def test_ports_are_published_on_loopback_and_can_be_changed(self, compose: dict[str, Any]) -> None:
        published = [port for service in compose["services"].values() for port in service["ports"]]
        pattern = re.compile(r"127\.0\.0\.1:\$\{(OTEL_STREAM_PORT_\w+):-(\d+)\}:(\d+)")
        found = [pattern.fullmatch(port) for port in published]
        assert all(found), published
        inside = {match[1]: (match[2], match[3]) for match in found if match}
        # By default, a port is outside what it is inside.
        assert {name: ports for name, ports in inside.items() if len(set(ports)) > 1} == {}
        known = {f"OTEL_STREAM_PORT_{name.upper().replace('-', '_')}": str(p) for name, p in DEFAULTS.items()}
        assert {
            name: ports[0] for name, ports in inside.items() if known.get(name, ports[0]) != ports[0]
        } == {}

    def test_files_that_are_mounted_exist_and_are_not_written(self, compose: dict[str, Any]) -> None:
        for service in compose["services"].values():
            for volume in service.get("volumes", []):
                source, _, mode = volume.split(":")
                assert mode == "ro"
                # The dashboards are generated into a folder of the repository of their own.
                assert source == "../dashboards" or (FOLDER / source).exists()

    def test_services_find_each_other_by_the_addresses_that_the_collector_is_given(
        self, compose: dict[str, Any]
    ) -> None:
        environment = compose["services"]["otelcol"]["environment"]
        addresses = {
            name: re.sub(r"^http://", "", environment[f"OTEL_STREAM_{name}"])
            for name in ("TEMPO", "JAEGER", "LOKI", "VICTORIALOGS", "PROMETHEUS")
        }
        assert addresses == {
            "TEMPO": "tempo:14317",
            "JAEGER": f"jaeger:{DEFAULTS['jaeger-otlp']}",
            "LOKI": "loki:3100",
            "VICTORIALOGS": f"victorialogs:{DEFAULTS['victorialogs']}",
            "PROMETHEUS": f"prometheus:{DEFAULTS['prometheus']}",
        }


def test_grafana_links_each_signal_to_the_others() -> None:
    file = FOLDER / "grafana/provisioning/datasources/otel-stream.yaml"
    sources = {source["uid"]: source for source in yaml.safe_load(file.read_text())["datasources"]}
    assert sources.keys() == {"prometheus", "tempo", "jaeger", "loki", "victorialogs"}
    exemplars = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert {(to["name"], to["datasourceUid"]) for to in exemplars} == {
        ("trace_id", "tempo"),
        ("trace_id", "jaeger"),
    }
    for traces, logs in (("tempo", "loki"), ("jaeger", "victorialogs")):
        assert sources[traces]["jsonData"]["tracesToLogsV2"]["datasourceUid"] == logs
        assert sources[traces]["jsonData"]["tracesToMetrics"]["datasourceUid"] == "prometheus"
        assert sources[logs]["jsonData"]["derivedFields"][0]["datasourceUid"] == traces
    # A single dollar sign would be filled in from Grafana's own environment, with nothing.
    assert re.findall(r"(?<!\$)\$(?!\$)", file.read_text()) == []
