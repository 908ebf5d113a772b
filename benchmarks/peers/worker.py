"""The process of one contender: TASK CONTENDER, told on stdin when to go on, answering in JSON lines.

Runs with the Python of the contender's own environment.

- ``cost``: one sample per line it is sent; telemetry is counted and thrown away;
- ``bytes N``: one run of N supersteps over a big state, exported as OTLP;
- ``scenes``: every scene, one per line it is sent, exported as OTLP.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import distributions
from typing import Any

from benchmarks.peers import graphs
from benchmarks.peers.scenes import UNLIMITED, Scenes

#: CPU time of all threads, so that what a peer does beside the event loop counts, too.
CLOCK = time.process_time
#: Our engine's names start with this, and with the other one LangGraph's under our telemetry; the rest of the
#: name says what is on.
OURS, ADAPTED = "otel-stream", "langgraph-otel-stream"


class Contender:
    """A library, with telemetry switched on."""

    def __init__(self, name: str, *, counting: bool, sampled: bool) -> None:
        self.names = graphs.library(ours=name.startswith(OURS))
        self.config: dict[str, Any] = dict(UNLIMITED)
        self.counted: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.flush: Callable[[], object] = lambda: None
        self.close: Callable[[], object] = lambda: None
        #: Whether a receiver of all modes watches our runs.
        self.watched = name.endswith("-streaming")
        #: Whether nothing is exported but spans.
        self.spans_alone = name.endswith("-spans")
        #: Whether LangGraph's runs are shown as ours are.
        self.adapted = name.startswith(ADAPTED)
        if not name.startswith((OURS, ADAPTED)):
            self._switch_on(name, counting=counting, sampled=sampled)
        elif not name.endswith(("-bare", "-idle")):
            (self._count_ours if counting else self._export_ours)(sampled)
        if self.adapted:
            from otel_stream.adapters.langgraph import LangGraphInstrumentor

            LangGraphInstrumentor().instrument()

    def _switch_on(self, name: str, *, counting: bool, sampled: bool) -> None:
        from benchmarks.peers.exports import Exports
        from benchmarks.peers.switches import OWN_SPANS, SWITCHES

        exports = Exports(counting=counting, sampled=sampled, own_spans=name in OWN_SPANS)
        exports.install()
        switched = SWITCHES[name](exports)
        self.config |= switched.config
        self.close = exports.close
        if counting:
            self.counted = exports.counted

        def flush() -> None:
            switched.flush()
            exports.flush()

        self.flush = flush

    def _count_ours(self, sampled: bool) -> None:
        from benchmarks.cases import Telemetry
        from benchmarks.providers import close, install, installed

        kind = Telemetry.SAMPLED if sampled else Telemetry.UNSAMPLED
        install(kind, spans_alone=self.spans_alone)
        self.counted = installed().flush
        self.close = close

    def _export_ours(self, sampled: bool) -> None:
        from otel_stream import configure

        handle = configure()
        self.flush, self.close = handle.flush, handle.shutdown


def cost(contender: Contender, runner: asyncio.Runner) -> Iterator[dict[str, Any]]:
    """Run the loop again and again; yield CPU microseconds a superstep, and spans and records of a run."""
    graph = graphs.loop(contender.names)

    async def plain() -> None:
        await graph.ainvoke({"n": 0}, contender.config)

    async def watched() -> None:
        from otel_stream import StreamConfig
        from otel_stream.adapters.langgraph import open_stream
        from otel_stream.config import MODES

        opening = partial(open_stream, graph) if contender.adapted else graph.open_stream
        opened = opening({"n": 0}, StreamConfig(modes=MODES), config=UNLIMITED)
        async with opened as stream:
            async for _ in stream:
                pass

    work = watched if contender.watched else plain
    repeats = 1

    def sample() -> dict[str, Any]:
        gc.collect()
        start = CLOCK()
        for _ in range(repeats):
            runner.run(work())
            contender.flush()
            spans, logs = contender.counted()
        seconds = CLOCK() - start
        return {"us": seconds / repeats / graphs.STEPS * 1e6, "spans": spans, "logs": logs}

    sample()
    # Half a tenth of a second: longer than most interference, so that the quick are exposed to it alike.
    repeats = max(1, round(0.05 / max(sample()["us"] * graphs.STEPS / 1e6, 1e-6)))
    while True:
        yield sample()


def sizes(contender: Contender, runner: asyncio.Runner, steps: int) -> Iterator[dict[str, Any]]:
    """Run the graph with the big state once."""
    graph = graphs.growing(contender.names, steps)
    document = graphs.document()

    async def run() -> None:
        result = await graph.ainvoke({"document": document, "log": [], "n": 0}, contender.config)
        if len(result["log"]) != steps:
            raise RuntimeError(f"the log has {len(result['log'])} lines, but it should have {steps}")

    runner.run(run())
    contender.flush()
    contender.close()
    yield {"done": True}


class Complaints(logging.Handler):
    """Collects what libraries log as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}".splitlines()[0][:200])

    def taken(self) -> list[str]:
        """Return what came since the last time."""
        lines, self.lines = self.lines, []
        return lines


def scenes(contender: Contender, runner: asyncio.Runner) -> Iterator[dict[str, Any]]:
    """Run one scene after the other."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    for name, scene in Scenes(contender.names, contender.config).all().items():

        async def run(scene: Any = scene) -> None:
            await scene()
            # Callbacks of a run that was left may still be under way.
            await asyncio.sleep(0.2)

        runner.run(run())
        contender.flush()
        yield {"scene": name, "complaints": complaints.taken()}
    contender.close()
    yield {"scene": "", "complaints": complaints.taken()}


def main() -> None:
    """Do what the arguments say: TASK NAME SAMPLED [STEPS]."""
    task, name, sampled = sys.argv[1:4]
    # Peers print; what they print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = Contender(name, counting=task == "cost", sampled=sampled == "sampled")
    with asyncio.Runner() as runner:
        work = {
            "cost": lambda: cost(contender, runner),
            "bytes": lambda: sizes(contender, runner, int(sys.argv[4])),
            "scenes": lambda: scenes(contender, runner),
        }[task]()
        versions = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in distributions()}
        print(json.dumps({"versions": versions}), file=answers, flush=True)
        for _ in sys.stdin:
            answer = next(work, None)
            print(json.dumps(answer), file=answers, flush=True)
            if answer is None:
                break
    # Threads of a peer that waits for its own server must not keep us.
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
