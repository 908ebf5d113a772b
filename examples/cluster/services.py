"""What the processes share, each started on this machine and stopped in the end: by pid, never by name."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import places, processes, readiness
from backends.ports import LOOPBACK, free
from backends.programs import programs, url
from tests import postgres
from tests.scale.broker import Broker

ROOT = Path(__file__).parents[2]
#: What each Ray node has: for each CPU one of its processes waits for work from the beginning.
_NODE = {"num_cpus": 1, "object_store_memory": 100_000_000, "node_ip_address": LOOPBACK}
_PATIENCE = 60


@dataclass
class Services:
    """Where the processes find each other. ``jaeger``: where to ask for traces; None if it is not built."""

    database: str
    kafka: str
    ray: str
    jaeger: str | None
    environment: dict[str, str]


@contextmanager
def services(say: Callable[[str], None]) -> Iterator[Services]:
    """Start everything side by side."""
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        jaeger, otlp = _jaeger(stack, folder, say) if _is_built("jaeger") else (None, {})
        os.environ.update(otlp, PYTHONPATH=str(ROOT), RAY_TMPDIR=str(folder), RAY_USAGE_STATS_ENABLED="0")
        begun = time.monotonic()
        # In the main thread, which alone is told of signals; and by itself: it has thirty seconds to start.
        cluster = _ray_node(stack)
        others = [threads.submit(make, stack) for make in (_postgres, _kafka)]
        cluster.add_node(**_NODE, resources={"two": 1})
        cluster.wait_for_nodes()
        ray = str(cluster.address)
        database, kafka = (one.result() for one in others)
        say(f"PostgreSQL, Kafka and two Ray nodes are there after {time.monotonic() - begun:.0f} s")
        environment = {
            **os.environ,
            "CLUSTER_DATABASE": database,
            "CLUSTER_KAFKA": kafka,
            "CLUSTER_RAY": ray,
        }
        yield Services(database, kafka, ray, jaeger, environment)


def _postgres(stack: ExitStack) -> str:
    from langgraph.checkpoint.postgres import PostgresSaver

    database = stack.enter_context(postgres.server())
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
    return database


def _kafka(stack: ExitStack) -> str:
    broker = Broker()
    stack.callback(broker.stop)
    broker.start()
    return broker.address


def _ray_node(stack: ExitStack) -> Any:
    """Start a cluster of one node, on a busy machine perhaps not at once."""
    from ray.cluster_utils import Cluster

    for attempts in (2, 1, 0):
        cluster = Cluster()
        try:
            cluster.add_node(**_NODE, resources={"one": 1}, include_dashboard=False)
        except Exception:
            if not attempts:
                raise
        else:
            stack.callback(cluster.shutdown)
            break
    return cluster


def _is_built(name: str) -> bool:
    return os.access(places.binary(name), os.X_OK)


def _jaeger(stack: ExitStack, folder: Path, say: Callable[[str], None]) -> tuple[str, dict[str, str]]:
    """Start Jaeger; return its address, and the variables by which processes send their spans to it."""
    ports = free()
    (jaeger,) = (
        one for one in programs(ports, places.configurations(), folder / "data") if one.name == "jaeger"
    )
    place = folder / "data" / "jaeger"
    command = [places.binary("jaeger"), *jaeger.arguments]
    process = processes.start(command, jaeger.environment, place, folder / "jaeger.log")
    stack.callback(processes.stop, [process])
    readiness.wait({"Jaeger": jaeger.ready}, _PATIENCE, say, lambda: None)
    return url(ports["jaeger"]), {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:{ports['jaeger-otlp']}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
