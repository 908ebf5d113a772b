"""Telemetry through Kafka: agents hand on to a real broker, a gateway takes it from there into stores."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends import places
from backends.native import Native
from backends.ports import free
from backends.programs import collector_environment, url
from tests.backends.collectors import Collector
from tests.backends.conftest import IMPATIENT, Demo
from tests.backends.conftest import demo as demo  # noqa: PLC0414 - a fixture
from tests.backends.polling import eventually
from tests.backends.stores import Stack
from tests.scale.broker import Broker

#: Small batches, sent often: there is always something on its way.
EAGER = {
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
    "OTEL_BLRP_SCHEDULE_DELAY": "50",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "64",
}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    native, ports = Native(tmp_path / "stores"), free()
    (tmp_path / "stores").mkdir()
    try:
        native.start(ports, "gateway", 90, lambda _: None)
        urls = {name: url(ports[name]) for name in ("jaeger", "victorialogs", "prometheus")}
        yield Stack("jaeger-victorialogs", ports, urls, {})
    finally:
        native.stop(delete_data=True)


@pytest.fixture
def own() -> Iterator[Broker]:
    """A broker that the test may kill."""
    if "OTEL_STREAM_KAFKA" in os.environ:
        pytest.skip("OTEL_STREAM_KAFKA names a broker that is not ours")
    broker = Broker()
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def collector(tmp_path: Path, own: Broker, stack: Stack) -> Iterator[Any]:
    made: list[Collector] = []
    known = collector_environment(stack.ports)
    stores = {name: known[f"OTEL_STREAM_{name}"] for name in ("JAEGER", "VICTORIALOGS", "PROMETHEUS")}
    variables = {
        **IMPATIENT,
        **{f"OTEL_STREAM_{name}": value for name, value in stores.items()},
        "OTEL_STREAM_KAFKA": own.address,
        "OTEL_STREAM_QUEUE_DIRECTORY": str(tmp_path / "queue"),
        "OTEL_STREAM_GATEWAY_INSECURE": "true",
    }

    def make(file: str, over: str) -> Collector:
        folder = places.configurations()
        place = tmp_path / f"collector-{len(made)}"
        made.append(Collector(folder / file, free(), place, variables, [folder / over]))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_what_agents_hand_to_kafka_is_in_the_stores_though_brokers_and_gateways_are_killed(
    own: Broker, stack: Stack, collector: Any, demo: Any
) -> None:
    agent = collector("agent.yaml", "kafka/agent.yaml").start()
    gateway = collector("jaeger-victorialogs/gateway.yaml", "kafka/gateway.yaml").start()
    run: Demo = demo(agent.endpoint, "--limit", 60, **EAGER)
    eventually(
        lambda: agent.counter("otelcol_exporter_sent_log_records"), lambda sent: sent >= 64, seconds=60
    )
    own.kill()
    gateway.kill()
    own.start()
    gateway.start()
    run.finish()
    assert run.lost == {"spans": 0, "logs": 0}

    def arrived() -> dict[str, int]:
        return {
            "spans": len({span.span_id for span in stack.traces(run.trace_id)}),
            "logs": len(set(stack.logs(run.trace_id))),
        }

    eventually(arrived, lambda got: got == run.exported, seconds=90)
    eventually(lambda: gateway.counter("otelcol_receiver_accepted_metric_points"), bool, seconds=60)
    assert gateway.counter("otelcol_receiver_refused_spans") == 0
