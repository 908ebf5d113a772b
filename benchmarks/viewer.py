"""What the viewer's store takes and answers: ``python -m benchmarks.viewer [RUNS]``, 1,000 runs by default.

A viewer in a process of its own gets, over OTLP/HTTP, runs of 1,000 spans and 1,000 log events each, and one
run of 10,000 spans. Printed are items a second of its CPU, its memory, and how long it takes to answer; what
is not as promised fails the program. Figures of CPU are its own; those of time depend on what else runs here.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_stream.view.places import Listening, announced

SPANS = LOGS = 1_000
LARGE = 10_000
BATCH = 500
PROTOBUF = {"content-type": "application/x-protobuf"}
BEGIN = 1_790_000_000_000_000_000


def attribute(item: object, key: str, value: str | int) -> None:
    found = item.attributes.add(key=key)  # type: ignore[attr-defined]
    if isinstance(value, int):
        found.value.int_value = value
    else:
        found.value.string_value = value


def spans(run: int, first: int, last: int, total: int) -> bytes:
    """Spans of a run in the form of ours: supersteps of nodes; the root comes with the last."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute(resource.resource, "service.name", f"service {run % 7}")
    scope = resource.scope_spans.add()
    scope.scope.name = "otel_stream"
    start = BEGIN + run * 10**9
    for number in range(first, last):
        root = number == total - 1
        span = scope.spans.add(
            trace_id=(run + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            parent_span_id=b"" if root else total.to_bytes(8, "big"),
            name=f"invoke_workflow graph {run % 5}" if root else f"invoke_node node {number % 20}",
            kind=1,
            start_time_unix_nano=start + number * 1000,
            end_time_unix_nano=start + (total if root else number + 1) * 1000,
        )
        if root:
            attribute(span, "gen_ai.operation.name", "invoke_workflow")
            attribute(span, "gen_ai.workflow.name", f"graph {run % 5}")
            attribute(span, "gen_ai.conversation.id", f"thread-{run % 50}")
            attribute(span, "graph.run.id", f"run-{run}")
            attribute(span, "graph.run.end", "ok")
        else:
            attribute(span, "gen_ai.operation.name", "invoke_node")
            attribute(span, "gen_ai.node.name", f"node {number % 20}")
            attribute(span, "graph.task.id", f"task-{run}-{number}")
            attribute(span, "graph.superstep", number // 20)
    return request.SerializeToString()


def logs(run: int, first: int, last: int) -> bytes:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for number in range(first, last):
        record = scope.log_records.add(
            time_unix_nano=BEGIN + run * 10**9 + number * 1000,
            trace_id=(run + 1).to_bytes(16, "big"),
            span_id=(number % SPANS + 1).to_bytes(8, "big"),
            event_name="graph.updates",
            severity_number=9,
        )
        record.body.string_value = (
            f'{{"node {number % 20}":{{"notes":["what run{run} found about topic{number}"]}}}}'
        )
        attribute(record, "graph.run.id", f"run-{run}")
        attribute(record, "graph.name", f"graph {run % 5}")
        attribute(record, "graph.log.seq", number)
        attribute(record, "graph.stream.seq", number)
        attribute(record, "graph.stream.mode", "updates")
        attribute(record, "graph.superstep", number // 20)
    return request.SerializeToString()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> int:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def best(ask: Callable[[], httpx.Response]) -> float:
    """Milliseconds of the best of three."""
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        ask().raise_for_status()
        took.append((time.perf_counter() - begun) * 1000)
    return min(took)


class Table:
    """Prints what was measured, and remembers what was not as promised."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def row(self, what: str, value: float, unit: str, goal: float, *, least: bool = False) -> None:
        kept = value >= goal if least else value <= goal
        bound = f"{'≥' if least else '≤'} {goal:,.0f}"
        print(f"{what:<52} {value:>12,.0f} {unit:<8} {bound} {'' if kept else 'NOT KEPT'}", flush=True)
        if not kept:
            self.broken.append(what)


def main(runs: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_stream", "view", "--no-open", "--port", "0", "--grpc-port", "0",
             "--size", "8192", "--data", folder],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while (listening := announced(place)) is None:
                time.sleep(0.05)
            return measure(listening, place, process.pid, runs)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def send(client: httpx.Client, path: str, bodies: list[bytes]) -> None:
    for body in bodies:
        while client.post(path, content=body, headers=PROTOBUF).status_code == 503:
            time.sleep(0.1)


def measure(listening: Listening, place: Path, pid: int, runs: int) -> int:
    table = Table()
    client = httpx.Client(
        base_url=listening.http, headers={"Authorization": f"Bearer {listening.token}"}, timeout=60
    )
    took = {"spans": 0.0, "log events": 0.0}
    for run in range(runs):
        before = cpu(pid)
        send(client, "/v1/traces", [spans(run, n, n + BATCH, SPANS) for n in range(0, SPANS, BATCH)])
        between = cpu(pid)
        send(client, "/v1/logs", [logs(run, n, n + BATCH) for n in range(0, LOGS, BATCH)])
        took["spans"] += between - before
        took["log events"] += cpu(pid) - between
    table.row(
        "spans taken over HTTP and committed", runs * SPANS / took["spans"], "/s CPU", 10_000, least=True
    )
    table.row("log events, the same", runs * LOGS / took["log events"], "/s CPU", 10_000, least=True)
    send(client, "/v1/traces", [spans(runs, n, n + BATCH, LARGE) for n in range(0, LARGE, BATCH)])
    table.row("memory while ingesting", megabytes(pid), "MB", 400)
    store = sqlite3.connect(f"file:{place / 'store.db'}?mode=ro", uri=True)
    while store.execute("SELECT count(*) FROM unit WHERE listed AND indexed < version").fetchone()[0]:
        time.sleep(1)
    store.close()
    some = runs // 2
    for what, query in (
        ("list of the newest 100 runs", ""),
        ("search: a word of one run", f"run{some}"),
        ("search: words of every run", "found topic7"),
        ("search: thread", "thread:thread-7"),
        ("search: graph and word", f'graph:"graph {some % 5}" run{some}'),
        ("search: an attribute of one span", f"graph.task.id=task-{some}-7"),
        ("search: what nobody has", "nobodyhasthis"),
    ):
        table.row(what, best(lambda q=query: client.get("/api/runs", params={"q": q})), "ms", 200)  # type: ignore[misc]
    table.row("totals and sparklines", best(lambda: client.get("/api/about")), "ms", 200)
    table.row(f"a run of {LARGE:,} spans", best(lambda: client.get(f"/api/runs/run-{runs}")), "ms", 1000)
    table.row(
        "a run of 1,000 spans and log events", best(lambda: client.get(f"/api/runs/run-{some}")), "ms", 200
    )
    table.row("memory after all", megabytes(pid), "MB", 400)
    print(f"{'store':<52} {(place / 'store.db').stat().st_size / 2**20:>12,.0f} MB")
    client.close()
    return 1 if table.broken else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
