"""What the processes share, each started on this machine and stopped in the end: by pid, never by name."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
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
_NODE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 100_000_000,
    "node_ip_address": LOOPBACK,
    "include_log_monitor": False,
}
_PATIENCE = 60


@dataclass
class Services:
    """What was started. ``jaeger``: where to ask for traces; None if it is not built."""

    database: postgres.Server
    broker: Broker
    ray: str | None
    jaeger: str | None
    #: Of everything else that is to find them.
    environment: dict[str, str]
    #: Where Ray has its sessions.
    folder: Path


@contextmanager
def services(say: Callable[[str], None], *, traces: bool = True, ray: bool = True) -> Iterator[Services]:
    """Start everything; Jaeger only if there are to be ``traces``, and it is built; Ray if it is wanted."""
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(end_ray, folder)
        jaeger, otlp = _jaeger(stack, folder, say) if traces and _is_built("jaeger") else (None, {})
        os.environ.update(otlp, PYTHONPATH=str(ROOT), RAY_TMPDIR=str(folder), RAY_USAGE_STATS_ENABLED="0")
        begun = time.monotonic()
        # Ray in the main thread, which alone is told of signals.
        cluster = _ray(stack, folder) if ray else None
        others = [threads.submit(make, stack) for make in (_postgres, _kafka)]
        if cluster is not None:
            _add(cluster, resources={"two": 1})
            cluster.wait_for_nodes()
        database, broker = others[0].result(), others[1].result()
        nodes = "PostgreSQL, Kafka and two Ray nodes are" if ray else "PostgreSQL and Kafka are"
        say(f"{nodes} there after {time.monotonic() - begun:.0f} s")
        address = None if cluster is None else str(cluster.address)
        environment = {
            **os.environ,
            "CLUSTER_DATABASE": database.address,
            "CLUSTER_KAFKA": broker.address,
            **({} if address is None else {"CLUSTER_RAY": address}),
        }
        yield Services(database, broker, address, jaeger, environment, folder)


def _postgres(stack: ExitStack) -> postgres.Server:
    from langgraph.checkpoint.postgres import PostgresSaver

    database = postgres.Server()
    stack.callback(database.stop)
    database.start()
    with PostgresSaver.from_conn_string(database.address) as saver:
        saver.setup()
    return database


def _kafka(stack: ExitStack) -> Broker:
    broker = Broker()
    stack.callback(broker.stop)
    broker.start()
    return broker


def _ray(stack: ExitStack, folder: Path) -> Any:
    """Start a cluster of one node."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    stack.callback(cluster.shutdown)
    # What is left of a head that has not come up would be in the way.
    _add(cluster, lambda: end_ray(folder), resources={"one": 1}, include_dashboard=False, no_monitor=True)
    return cluster


def _add(cluster: Any, clear: Callable[[], None] = lambda: None, **node: Any) -> None:
    """Add a node. It gives up after thirty seconds, which a busy machine may need."""
    for attempts_left in (2, 1, 0):
        try:
            cluster.add_node(**_NODE, **node)
        except Exception:
            clear()
            if not attempts_left:
                raise
        else:
            return


def of_ray(folder: Path) -> dict[int, bytes]:
    """Return the processes of a cluster that has its sessions there, by pid, and how they were called."""
    pids = (int(one.name) for one in Path("/proc").glob("[0-9]*"))
    commands = {pid: command_of(pid) for pid in pids if pid != os.getpid()}
    return {pid: command for pid, command in commands.items() if f"{folder}/ray/".encode() in command}


def end_ray(folder: Path) -> None:
    """End what is left of nodes that have not come up, were killed, or have taken the place of one."""
    for pid in of_ray(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_of(pid: int) -> bytes:
    """Return how a process was called, nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


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
