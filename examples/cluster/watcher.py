"""A process that sees every part of every run, and runs none: ``python -m examples.cluster.watcher``."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from hashlib import blake2b
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from examples.cluster.graph import telemetry_of
from examples.cluster.lines import jobs, tell
from otel_stream import StreamPart
from otel_stream.kafka import ProducerLostError, RemoteRunError, remote_stream


class Watcher:
    """Watches runs; ``seen`` counts the parts of each."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self.seen: Counter[str] = Counter()

    async def watch(self, run: str) -> None:
        """See a run from its first part to its end, and tell what there was."""
        digest, seqs, gaps, traces, nodes = blake2b(digest_size=8), [], 0, set(), set()
        end, span = "ok", None
        try:
            async with remote_stream("runs", run_id=run, servers=self._servers) as receiver:
                async for part in receiver:
                    span = span or _joining(part)
                    gaps += part.type == "gap"
                    seqs.append(part.seq)
                    traces.add(part.trace_id)
                    nodes |= _ray_node(part)
                    digest.update(part.to_json())
                    self.seen[run] += 1
        except RemoteRunError as failure:
            end = failure.kind
        except ProducerLostError:
            end = "lost"
        if span is not None:
            span.end()
        tell(
            "watched",
            run=run,
            end=end,
            parts=len(seqs),
            digest=digest.hexdigest(),
            gaps=gaps,
            twice=len(seqs) - len({*seqs}),
            # What is sent is all modes, so that numbers have no holes.
            in_order=seqs == list(range(len(seqs))),
            traces=sorted(one for one in traces if one),
            nodes=sorted(nodes),
        )

    async def tell_seen(self) -> None:
        """Say now and then how much was seen."""
        while True:
            tell("seen", runs=dict(self.seen))
            await asyncio.sleep(0.25)


def _joining(part: StreamPart) -> trace.Span | None:
    """Begin a span of ours in the trace of the run."""
    if part.trace_id is None or part.span_id is None:
        return None
    theirs = SpanContext(
        int(part.trace_id, 16), int(part.span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
    )
    return trace.get_tracer("cluster").start_span("watch", set_span_in_context(NonRecordingSpan(theirs)))


def _ray_node(part: StreamPart) -> set[str]:
    data: Any = part.data
    return {data["node"]} if part.type == "custom" and "node" in data else set()


async def main() -> None:
    handle = telemetry_of("cluster-watcher")
    watcher = Watcher(os.environ["CLUSTER_KAFKA"])
    telling = asyncio.create_task(watcher.tell_seen())
    tell("ready", pid=os.getpid())
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(watcher.watch(job["run"])) async for job in jobs()]
        for one in watching:
            one.cancel()  # what was killed before it had begun is never heard of
    telling.cancel()
    tell("seen", runs=dict(watcher.seen))
    if handle is not None:
        await asyncio.to_thread(handle.shutdown)


if __name__ == "__main__":
    asyncio.run(main())
