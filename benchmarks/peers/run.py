"""Everything that is measured, in order: cost by turns, then bytes, then what is told."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.peers import graphs, told
from benchmarks.peers.contenders import Contender
from benchmarks.peers.exported import Exported, exported
from benchmarks.peers.processes import ContenderError, Process
from benchmarks.peers.sink import KINDS, Received, Sink

#: Called with what is being done, for people.
Tell = Callable[[str], None]


@dataclass(slots=True)
class Found:
    """What is known of one contender."""

    contender: Contender
    #: By ``sampled`` or ``unsampled``: min, median, samples, and spans and records of one run.
    cost: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: By the number of supersteps: bytes of traces, logs, metrics, their sum; whether the text of the state
    #: is in them, and how many of the changes are; and bytes of the log records by the name of their event.
    bytes: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    #: One line about why something is missing.
    error: str | None = None


def everything(contenders: Iterable[Contender], rounds: int, tell: Tell) -> list[Found]:
    """Measure all of it; a contender that fails has an ``error``, and the others go on."""
    found = [Found(contender) for contender in contenders]
    for sampled in (True, False):
        costs([one for one in found if "cost" in one.contender.parts], rounds, tell, sampled=sampled)
    with Sink() as sink:
        for one in found:
            for work in (sizes, answers):
                try:
                    work(one, sink, tell)
                except ContenderError as error:
                    one.error = str(error)
                    sink.taken()
    return found


def costs(found: list[Found], rounds: int, tell: Tell, *, sampled: bool) -> None:
    """Sample all contenders by turns: each has a process that waits while the others are measured."""
    kind = "sampled" if sampled else "unsampled"
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        running: list[tuple[Found, Process]] = []
        for one in found:
            tell(f"cost, {kind}: starting {one.contender.name}")
            variables = one.contender.content_on
            process = stack.enter_context(
                Process(one.contender, "cost", sampled=sampled, variables=variables)
            )
            try:
                _meet(one, process)
            except ContenderError as error:
                one.error = str(error)
            else:
                running.append((one, process))
        for number in range(rounds):
            tell(f"cost, {kind}: round {number + 1} of {rounds}, {len(running)} contenders by turns")
            for one, process in list(running):
                try:
                    answer = process.ask()
                except ContenderError as error:
                    one.error = str(error)
                    running.remove((one, process))
                    continue
                taken = samples.setdefault(one.contender.name, [])
                taken.append(answer["us"])
                one.cost[kind] = {
                    "min": round(min(taken), 1),
                    "median": round(median(taken), 1),
                    "samples": len(taken),
                    "spans": answer["spans"],
                    "logs": answer["logs"],
                }
    gc.collect()


def sizes(one: Found, sink: Sink, tell: Tell) -> None:
    """Count the bytes of one run over a big state, content included."""
    if "bytes" not in one.contender.parts:
        return
    for steps in one.contender.steps:
        tell(f"bytes: {one.contender.name}, {steps} supersteps")
        variables = {**_destination(sink), **one.contender.content_on}
        with Process(one.contender, "bytes", str(steps), variables=variables) as process:
            _meet(one, process)
            process.ask()
        one.bytes[str(steps)] = _contents(sink.taken(), steps)


def _contents(received: Received, steps: int) -> dict[str, Any]:
    """Return the lengths, and how much of what happened stands in them at all."""
    lengths = {path.removeprefix("/v1/"): received.bytes(path) for path in KINDS}
    return {
        **lengths,
        "sum": sum(lengths.values()),
        "document": int(_has(received, graphs.document())),
        "changes": sum(received.mention(graphs.line(number)) for number in range(1, steps + 1)),
        "events": received.lengths(),
    }


def _has(received: Received, text: str) -> bool:
    """Whether a long text was exported, in one piece or cut into some."""
    pieces = [text[start : start + 100] for start in range(0, len(text), 100)]
    return sum(received.mention(piece) for piece in pieces) >= 0.99 * len(pieces)


def answers(one: Found, sink: Sink, tell: Tell) -> None:
    """Run the scenes with content on and off, and ask what is told."""
    if "scenes" not in one.contender.parts:
        return
    for content, questions, variables in (
        ("on", told.WITH_CONTENT, one.contender.content_on),
        ("off", told.WITHOUT_CONTENT, one.contender.content_off),
    ):
        tell(f"scenes: {one.contender.name}, content {content}")
        scenes: dict[str, Exported] = {}
        with Process(one.contender, "scenes", variables={**_destination(sink), **variables}) as process:
            _meet(one, process)
            while (answer := process.ask()) is not None:
                scenes[answer["scene"]] = exported(sink.taken(), answer["complaints"])
        one.told |= told.answers(questions, scenes)


def _meet(one: Found, process: Process) -> None:
    one.version = process.hear()["versions"].get(one.contender.package)


def _destination(sink: Sink) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{sink.endpoint}/v1/traces",
    }


def state_and_changes(steps: int) -> int:
    """Return the bytes, as JSON, of the first state and of what each of the supersteps changes."""
    first = {"document": graphs.document(), "log": [], "n": 0}
    changes = ({"log": [graphs.line(n)], "n": n} for n in range(1, steps + 1))
    return sum(len(json.dumps(value, separators=(",", ":"))) for value in (first, *changes))
