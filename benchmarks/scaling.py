"""What so many runs a second need: unit costs, measured here, and arithmetic: ``make scaling``.

Prints the tables of docs/scaling.md, and leaves what was measured in benchmarks/scaling.json and the picture.
``--again`` does so without measuring anew. Each cost is CPU time of the process that bears it, so that other
work on the machine hardly shows. What is not there, Kafka or a Collector, is left out, and said so.
"""

from __future__ import annotations

import asyncio
import json
import operator
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, TypedDict

from benchmarks.scaling_picture import drawn
from engine import END, START, StateGraph
from otel_stream import StreamConfig

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("scaling.json")
PICTURE = ROOT / "docs" / "images" / "handbook" / "scaling.svg"
#: Runs that warm up, and runs that are measured.
WARM, RUNS = 60, 400
#: What the table is of.
RATES = (100, 1_000, 10_000, 100_000)
#: How much of a core is used in ordinary times, and the cores of a machine.
USED, CORES = 0.6, 16
#: The share of runs that a head sampler keeps.
SAMPLED = 0.01


class State(TypedDict):
    turns: int
    messages: Annotated[list[str], operator.add]


def agent(checkpointer: Any = None) -> Any:
    """Compile the agent of docs/sizing.md, which calls a tool ten times: 23 supersteps, a list that grows."""

    async def prepare(_: State) -> Any:
        return {"turns": 0}

    async def model(state: State) -> Any:
        return {"turns": state["turns"] + 1, "messages": ["thought " * 20]}

    async def tool(_: State) -> Any:
        return {"messages": ["result " * 40]}

    async def answer(_: State) -> Any:
        return {"messages": ["answer " * 40]}

    graph = StateGraph(State)
    for node in (prepare, model, tool, answer):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "prepare").add_edge("prepare", "model").add_edge("tool", "model")
    graph.add_conditional_edges("model", lambda state: "tool" if state["turns"] <= 10 else "answer")
    return graph.add_edge("answer", END).compile(checkpointer, name="agent")


# -- what is measured, each in a process of its own ----------------------------------------------------


async def _runs(graph: Any, count: int, **options: Any) -> None:
    for _ in range(count):
        config = {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": 50}
        await graph.ainvoke({"messages": []}, config, **options)


async def _bare(measured: Measured) -> None:
    graph = agent()
    await measured(lambda count: _runs(graph, count))


async def _traced(measured: Measured) -> None:
    from otel_stream import configure

    handle, graph = configure("scaling"), agent()

    async def some(count: int) -> None:
        await _runs(graph, count)
        assert await asyncio.to_thread(handle.flush, 60)

    await measured(some)
    handle.shutdown()


async def _stored(measured: Measured, place: str, durability: str) -> None:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(place) as saver:
        await saver.setup()
        graph = agent(saver)
        await measured(lambda count: _runs(graph, count, durability=durability))


async def _sent(measured: Measured, servers: str, topic: str) -> None:
    from otel_stream.kafka import KafkaSink

    graph, config = agent(), StreamConfig(modes="updates", buffer_size=4096)
    async with KafkaSink(topic, config, servers=servers) as sink:

        async def some(count: int) -> None:
            before = sink.statistics().offered
            for _ in range(count):
                async with graph.open_stream(
                    {"messages": []}, sink, config={"recursion_limit": 50}
                ) as stream:
                    await stream.wait()
            measured.parts = sink.statistics().offered - before

        await measured(some)


async def _watched(measured: Measured, servers: str, topic: str) -> None:
    """Receive what one run has sent, some thousand parts."""
    from otel_stream.kafka import KafkaSink, remote_stream

    def write(_: Any, writer: Any) -> Any:
        for number in range(20_000):
            writer({"number": number, "text": "thought " * 20})
        return {}

    config = StreamConfig(modes="custom", buffer_size=4096)
    graph = StateGraph(dict).add_node("write", write).add_edge(START, "write").compile(name="writing")
    async with KafkaSink(topic, config, servers=servers) as sink, graph.open_stream({}, sink) as stream:
        await stream.wait()

    async def some(_: int) -> None:
        receiver = remote_stream(topic, config, run_id=stream.run_id, servers=servers)
        async with receiver:
            measured.parts = sum([1 async for _ in receiver])

    await measured(some)


class Measured:
    """Warms up, waits until it is told to go on, measures, and says what it took."""

    parts = 0

    async def __call__(self, some: Callable[[int], Any]) -> None:
        await some(WARM)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        cpu, begun = time.process_time(), time.perf_counter()
        await some(RUNS)
        found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - begun, "parts": self.parts}
        print(json.dumps(found), flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # what others spent is read first


KINDS = {"bare": _bare, "traced": _traced, "stored": _stored, "sent": _sent, "watched": _watched}


# -- what others spend meanwhile -----------------------------------------------------------------------


@dataclass
class Spent:
    """Of one run: seconds of CPU time of its worker, and what grew elsewhere meanwhile; parts it sent."""

    cpu: float
    wall: float
    parts: float
    elsewhere: list[float]


def spent(kind: str, *args: str, meters: tuple[Callable[[], float], ...] = (), **variables: str) -> Spent:
    """Measure one kind; ``meters`` are read before and after."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--as", kind, *args]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", kind
        before = [meter() for meter in meters]
        process.stdin.write("go on\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        grown = [(meter() - start) / RUNS for meter, start in zip(meters, before, strict=True)]
        process.stdin.write("that is all\n")
        process.stdin.flush()
    return Spent(found["cpu"] / RUNS, found["wall"] / RUNS, found["parts"] / RUNS, grown)


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process, and of its children, that have ended or not."""
    total = _ticks(pid, children=True)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        child = int(stat.parent.name)
        if _parent(child) == pid:
            total += _ticks(child)
    return total / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ["?"] * 50


def _parent(pid: int) -> int:
    found = _stat(pid)[1]
    return int(found) if found.isdigit() else 0


def _ticks(pid: int, *, children: bool = False) -> int:
    # The fields of proc(5) from the third one on: utime, stime, and the same of children that have ended.
    return sum(int(field) for field in _stat(pid)[11 : 15 if children else 13] if field.isdigit())


class Sink:
    """Takes OTLP, and counts its bytes."""

    def __init__(self) -> None:
        self.bytes = 0.0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink.bytes += len(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def open(self) -> Iterator[Sink]:
        Thread(target=self._server.serve_forever, daemon=True).start()
        yield self
        self._server.shutdown()
        self._server.server_close()


# -- all of it -----------------------------------------------------------------------------------------


@dataclass
class Units:
    """What one run, of 23 supersteps, costs whom. Seconds of CPU time, and bytes; None: not measured."""

    bare: float
    traced: float
    sampled_out: float
    otlp: float
    otlp_sampled_out: float
    checkpoints: int
    stored: float
    stored_at_exit: float
    database: float
    database_at_exit: float
    wal: float
    wal_at_exit: float
    sent: float | None = None
    parts: float | None = None
    broker: float | None = None
    log: float | None = None
    part_received: float | None = None
    spans: int | None = None
    logs: int | None = None
    gateway: float | None = None
    held: float | None = None


#: Of a run: the input, and each superstep.
CHECKPOINTS = 24


def measure() -> Units:
    """Measure everything that can be measured here."""
    with Sink().open() as sink:
        telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        telemetry["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
        received = (lambda: sink.bytes,)
        bare = spent("bare")
        traced = spent("traced", meters=received, **telemetry)
        out = spent("traced", meters=received, OTEL_TRACES_SAMPLER="always_off", **telemetry)
    found = Units(
        bare.cpu,
        traced.cpu,
        out.cpu,
        traced.elsewhere[0],
        out.elsewhere[0],
        CHECKPOINTS,
        **_database(bare.cpu),
    )
    for name, value in {**_broker(bare.cpu), **_collector()}.items():
        setattr(found, name, value)
    return found


def _database(bare: float) -> dict[str, Any]:
    import psycopg

    from tests import postgres

    found = {}
    with postgres.server() as server:
        for name, durability in (("", "async"), ("_at_exit", "exit")):
            with (
                postgres.database(server, f"scaling{name}") as place,
                psycopg.connect(place, autocommit=True) as asks,
            ):
                postmaster = _parent(asks.info.backend_pid)

                def written(asks: Any = asks) -> float:
                    position = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
                    return float(asks.execute(position).fetchone()[0])

                meters = (lambda of=postmaster: cpu_of(of), written)
                one = spent("stored", place, durability, meters=meters)
                found[f"stored{name}"] = one.cpu - bare
                found[f"database{name}"], found[f"wal{name}"] = one.elsewhere
    return found


def _broker(bare: float) -> dict[str, Any]:
    from tests.scale.broker import LIBRARIES, Broker

    if not any(LIBRARIES.glob("kafka_2.13-*.jar")):
        print("Kafka is left out: make bench-scale fetches it", file=sys.stderr)
        return {}
    broker = Broker()
    try:
        broker.start()
        data = broker.folder / "data"

        def log() -> float:
            return float(sum(one.stat().st_size for one in data.glob("scaling-*/*.log")))

        sent = spent("sent", broker.address, "scaling", meters=(lambda: cpu_of(broker.pid), log))
        watched = spent("watched", broker.address, "watched")
    finally:
        broker.stop()
    return {
        "sent": sent.cpu - bare,
        "parts": sent.parts,
        "broker": sent.elsewhere[0],
        "log": sent.elsewhere[1],
        "part_received": watched.cpu / watched.parts,
    }


def _collector() -> dict[str, Any]:
    from backends import places
    from tests.backends import sizing

    if not places.binary("otelcol").exists():
        print("The Collector is left out: make backends builds it", file=sys.stderr)
        return {}
    run = sizing.measure([sys.executable, "-c", sizing.AGENT])
    cost = sizing.cost(run)
    return {
        "spans": run.spans,
        "logs": run.logs,
        "gateway": (cost.traces + cost.logs) / 1e6,
        "held": cost.held,
    }


# -- arithmetic ----------------------------------------------------------------------------------------


def costs(units: Units) -> list[tuple[str, str]]:
    """Return the unit costs in words."""
    about = units

    def ms(seconds: float | None) -> str:
        return "?" if seconds is None else f"{seconds * 1e3:.2f} ms"

    def kb(size: float | None) -> str:
        return "?" if size is None else f"{size / 1e3:.1f} KB"

    return [
        ("a worker: the run, nobody watching", ms(about.bare)),
        ("with all spans, log events and metrics", ms(about.traced)),
        ("not sampled: metrics alone", ms(about.sampled_out)),
        (f"{about.checkpoints} checkpoints into PostgreSQL, for the worker", ms(about.stored)),
        ('one checkpoint, `durability="exit"`, for the worker', ms(about.stored_at_exit)),
        ("its parts (`updates`) to Kafka, for the worker", ms(about.sent)),
        (f"PostgreSQL: {about.checkpoints} checkpoints", f"{ms(about.database)}, {kb(about.wal)} of WAL"),
        ("PostgreSQL: one, at exit", f"{ms(about.database_at_exit)}, {kb(about.wal_at_exit)} of WAL"),
        ("a broker", f"{ms(about.broker)}, {kb(about.log)}"),
        ("who watches one run of it, through Kafka", ms(_watching(about))),
        ("OTLP, uncompressed", kb(about.otlp)),
        ("a gateway, keeping all", ms(about.gateway)),
    ]


def _watching(units: Units) -> float | None:
    if units.part_received is None or units.parts is None:
        return None
    return units.part_received * units.parts


def cores(rate: float, seconds: float | None) -> float | None:
    """Return the cores that so many a second keep busy, with room to breathe."""
    return None if seconds is None else rate * seconds / USED


def needs(units: Units, rate: int) -> list[tuple[str, str]]:
    """Return what so many runs a second need, in words."""
    mixed = (
        units.bare + SAMPLED * (units.traced - units.bare) + (1 - SAMPLED) * (units.sampled_out - units.bare)
    )
    parts = None if units.parts is None else units.parts * rate
    return [
        ("cores of workers, nobody watching", _count(cores(rate, units.bare))),
        ("with all telemetry", _count(cores(rate, units.traced))),
        ("with telemetry of one run in a hundred", _count(cores(rate, mixed))),
        ("more, for a checkpoint each superstep", _count(cores(rate, units.stored))),
        ("more, for one checkpoint a run", _count(cores(rate, units.stored_at_exit))),
        ("more, for parts to Kafka", _count(cores(rate, units.sent))),
        ("cores of PostgreSQL, each superstep", _machines(cores(rate, units.database))),
        ("its WAL", _bytes(rate * units.wal)),
        ("cores of PostgreSQL, one a run", _machines(cores(rate, units.database_at_exit))),
        ("its WAL, then", _bytes(rate * units.wal_at_exit)),
        ("parts a second", _count(parts)),
        ("cores of brokers, one copy", _machines(cores(rate, units.broker))),
        ("into the topic", "?" if units.log is None else _bytes(rate * units.log)),
        ("partitions, if all is watched", _count(cores(rate, _watching(units)))),
        ("OTLP out of the workers, all", _bytes(rate * units.otlp)),
        ("cores of gateways, all", _machines(cores(rate, units.gateway))),
        ("cores of gateways, one run in a hundred", _machines(cores(rate * SAMPLED, units.gateway))),
    ]


def _count(number: float | None) -> str:
    if number is None:
        return "?"
    digits = len(str(int(number)))
    return f"{number:.1f}" if number < 10 else f"{int(round(number, min(0, 2 - digits))):,}"


def _machines(number: float | None) -> str:
    if number is None:
        return "?"
    machines = -(-number // CORES)
    return _count(number) + (f" ({machines:,.0f} machines)" if machines > 1 else "")


def _bytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB/s" if number >= 1e9 else f"{_count(number / 1e6)} MB/s"


def tables(units: Units) -> str:
    """Return both tables, in Markdown."""
    lines = ["| one run | CPU time, or bytes |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in costs(units)]
    lines += ["", "| runs a second | " + " | ".join(f"{rate:,}" for rate in RATES) + " |"]
    lines.append("|---" * (len(RATES) + 1) + "|")
    columns = [needs(units, rate) for rate in RATES]
    for row in zip(*columns, strict=True):
        lines.append(f"| {row[0][0]} | " + " | ".join(value for _, value in row) + " |")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--as"]:
        kind, *args = sys.argv[2:]
        asyncio.run(KINDS[kind](Measured(), *args))
        return
    units = Units(**json.loads(RESULTS.read_text())) if sys.argv[1:] == ["--again"] else measure()
    RESULTS.write_text(json.dumps(asdict(units), indent=2) + "\n")
    PICTURE.write_text(drawn(RATES[-1], dict(needs(units, RATES[-1]))), encoding="utf-8")
    print(tables(units))


if __name__ == "__main__":
    main()
