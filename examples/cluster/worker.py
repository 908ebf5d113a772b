"""A process that runs threads: ``python -m examples.cluster.worker NAME`` reads jobs, tells their ends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from engine import PostgresLease, StateGraph
from examples.cluster.graph import build, telemetry_of
from examples.cluster.lines import jobs, tell
from otel_stream import MODES, StreamConfig
from otel_stream.kafka import KafkaSink

ALL = StreamConfig(modes=MODES, subgraphs=True, overflow="block")
#: Seconds between heartbeats: a watcher knows after three that a worker is gone. And those that a run waits
#: for a broker that is started again, before it ends with parts that nobody has acknowledged.
HEARTBEAT, FLUSH = 1.0, 120.0


class Worker:
    """Runs jobs side by side, with what all of them share."""

    def __init__(
        self,
        builder: StateGraph[Any, Any, Any, Any],
        saver: AsyncPostgresSaver,
        sink: KafkaSink,
        database: str,
    ) -> None:
        self._sink = sink
        # Two leases, since how long a job waits for its thread is the job's to say here.
        self._graphs = {
            wait: builder.compile(
                checkpointer=saver, lease=PostgresLease(database, wait=wait), name="measuring"
            )
            for wait in (0, 30)
        }

    async def run(self, job: dict[str, Any]) -> None:
        """Start a thread, or go on with it; tell how that ended."""
        graph = self._graphs[job["wait"]]
        config: Any = {"configurable": {"thread_id": job["thread"]}, "run_id": job["run"]}
        parts, digest = 0, blake2b(digest_size=8)
        end, error, begun, sent = "ok", "", False, False
        try:
            begun = job["resume"] and (await graph.aget_state(config)).created_at is not None
            input = None if begun else {"modules": job["modules"]}
            async with graph.open_stream(input, ALL, self._sink, config=config) as stream:
                sent = True
                async for part in stream:
                    if parts == 0:
                        tell("began", run=job["run"], trace=part.trace_id, span=part.span_id)
                    parts += 1
                    digest.update(part.to_json())
        except Exception as failure:  # noqa: BLE001 - it is told
            end, error = type(failure).__name__, str(failure)
        how = {"end": end, "error": error, "begun": begun, "sent": sent}
        tell("ended", run=job["run"], parts=parts, digest=digest.hexdigest(), **how)

    async def tell_account(self) -> None:
        """Say now and then what became of all parts."""
        while True:
            self.account()
            await asyncio.sleep(0.25)

    def account(self) -> None:
        """Say what became of all parts so far."""
        account = self._sink.statistics()
        tell(
            "account",
            **{name: getattr(account, name) for name in ("offered", "delivered", "dropped", "held")},
        )


@asynccontextmanager
async def _saver(database: str) -> AsyncIterator[AsyncPostgresSaver]:
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    # A connection that PostgreSQL has closed, as it was restarted, is replaced.
    check = AsyncConnectionPool.check_connection
    async with AsyncConnectionPool(database, min_size=1, max_size=4, kwargs=settings, check=check) as pool:
        yield AsyncPostgresSaver(pool)  # type: ignore[arg-type]


def _join(cluster: str) -> None:
    import ray

    ray.init(address=cluster, _node_ip_address="127.0.0.1", log_to_driver=False)


async def main(name: str, builder: StateGraph[Any, Any, Any, Any]) -> None:
    handle = telemetry_of(f"cluster-{name}")
    database = os.environ["CLUSTER_DATABASE"]
    if "CLUSTER_RAY" in os.environ:
        _join(os.environ["CLUSTER_RAY"])
    servers = os.environ["CLUSTER_KAFKA"]
    sink = KafkaSink("runs", ALL, servers=servers, heartbeat=HEARTBEAT, flush_timeout=FLUSH)
    async with _saver(database) as saver, sink:
        worker = Worker(builder, saver, sink, database)
        telling = asyncio.create_task(worker.tell_account())
        tell("ready", pid=os.getpid())
        async with asyncio.TaskGroup() as group:
            async for job in jobs():
                group.create_task(worker.run(job))
        telling.cancel()
        worker.account()
    if handle is not None:
        await asyncio.to_thread(handle.shutdown)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], build()))
