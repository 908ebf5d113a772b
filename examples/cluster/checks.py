"""Whether it went well: each check is a sentence with the figures that it was made of."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

from langgraph.checkpoint.postgres import PostgresSaver

from examples.cluster.crew import Run
from examples.cluster.demo import SHARED, VICTIM, WORKERS, Demo
from examples.cluster.graph import STEPS


class Check(NamedTuple):
    """Whether something holds, None if it could not be looked at; and what."""

    held: bool | None
    what: str


#: Seconds that a trace may take to be found, once its processes have ended.
_PATIENCE = 30


def checked(demo: Demo) -> Iterator[Check]:
    """Yield what was checked: whether it holds, None if it could not be looked at, and in words."""
    runs = [*demo.runs.values()]
    yield _ended(demo, runs)
    yield _spread(runs)
    yield _watched(runs)
    yield _shared(runs)
    yield _resumed(runs)
    yield _account(demo, runs)
    yield _kept(demo, runs)
    yield from _traced(demo, runs)


def _ended(demo: Demo, runs: list[Run]) -> Check:
    threads = {run.thread for run in runs}
    done = {run.thread for run in runs if run.ended.get("end") == "ok"}
    codes = {name: code for name, code in demo.codes.items() if code}
    killed = {VICTIM: -9}
    failed = [run.ended for run in runs if run.ended.get("end") not in ("ok", "ThreadBusyError", None)]
    failures = sorted({f"{one['end']}: {one['error']}" for one in failed})
    return Check(
        done == threads and codes == killed,
        f"{len(done)} of {len(threads)} threads have come to their end; {VICTIM} was killed, and "
        f"{len(demo.codes) - len(codes)} of the {len(demo.children) - 1} others ended with exit code 0"
        + "".join(f"; {len(failed)} runs failed: {one}" for one in failures[:1]),
    )


def _spread(runs: list[Run]) -> Check:
    shares = [sum(run.worker == worker for run in runs) for worker in WORKERS]
    nodes = {node for run in runs for node in run.watched["nodes"]}
    return Check(
        min(shares) > 0 and len(nodes) == 2,
        f"runs were spread over {len(WORKERS)} workers ({', '.join(map(str, shares))}) "
        f"and {len(nodes)} Ray nodes",
    )


def _watched(runs: list[Run]) -> Check:
    """Compare what the watcher has seen with what the workers have, part by part."""
    told = [run for run in runs if run.ended]
    same = [run for run in told if all(run.watched[name] == run.ended[name] for name in ("parts", "digest"))]
    bad = [run for run in runs if not run.watched["in_order"] or run.watched["gaps"]]
    parts = sum(run.watched["parts"] for run in runs)
    twice = sum(run.watched["twice"] for run in runs)
    return Check(
        len(same) == len(told) and not bad and not twice,
        f"the watcher saw {parts:,} parts of {len(runs)} runs: {len(bad)} runs with a gap or out of order, "
        f"{twice} parts twice; {len(same)} of {len(told)} runs that ended are, byte for byte, their worker's",
    )


def _shared(runs: list[Run]) -> Check:
    ends = [run.ended.get("end") for run in runs if run.thread == SHARED and run.resumes is None]
    refused = [run.ended["error"] for run in runs if run.ended.get("end") == "ThreadBusyError"]
    return Check(
        ends == ["ok", "ThreadBusyError", "ok"],
        f"of three workers with the thread {SHARED!r} {ends.count('ok')} ran it, one after the other, and "
        f"{len(refused)} was refused: {''.join(refused).partition(': try')[0]}",
    )


def _resumed(runs: list[Run]) -> Check:
    killed = {run.id for run in runs if run.killed}
    lost = {run.id for run in runs if run.watched["end"] == "lost"}
    seen = {run.id for run in runs if run.killed and run.watched["parts"]}
    on = {run.resumes for run in runs if run.resumes is not None and run.ended.get("end") == "ok"}
    return Check(
        bool(killed) and on == killed and seen <= lost <= killed,
        f"{len(killed)} runs were under way in the worker that was killed: the watcher was told of "
        f"{len(lost)}, and {len(on)} were gone on with by other workers",
    )


def _account(demo: Demo, runs: list[Run]) -> Check:
    living = [child for child in demo.children.values() if child.name in WORKERS and child.name != VICTIM]
    account = {
        name: sum(child.account[name] for child in living)
        for name in ("offered", "delivered", "dropped", "held")
    }
    received = sum(run.watched["parts"] for run in runs if run.worker != VICTIM)
    from_victim = sum(run.watched["parts"] for run in runs if run.worker == VICTIM)
    acknowledged = demo.children[VICTIM].account["delivered"]
    return Check(
        account == {"offered": received, "delivered": received, "dropped": 0, "held": 0}
        and from_victim >= acknowledged,
        f"two workers offered {account['offered']:,} parts, brokers acknowledged {account['delivered']:,}, "
        f"{account['dropped']} were dropped, {received:,} were received; of the one that was killed "
        f"{acknowledged:,} were known to be acknowledged, and {from_victim:,} were received",
    )


def _kept(demo: Demo, runs: list[Run]) -> Check:
    """Look into the database for what each thread has done."""
    right, threads = 0, {run.thread for run in runs}
    with PostgresSaver.from_conn_string(demo.services.database.address) as saver:
        for thread in threads:
            found = saver.get_tuple({"configurable": {"thread_id": thread}})
            values = found.checkpoint["channel_values"] if found else {}
            turns = 2 if thread == SHARED else 1
            right += values.get("log") == [*STEPS] * turns
    return Check(
        right == len(threads),
        f"{right} of {len(threads)} threads in PostgreSQL have each update once, in order",
    )


class Span(NamedTuple):
    """A span as Jaeger has it."""

    service: str
    name: str
    links: frozenset[str]


def _traced(demo: Demo, runs: list[Run]) -> Iterator[Check]:
    if demo.services.jaeger is None:
        yield Check(None, "traces: Jaeger is not built (make backends)")
        return
    begun = [run for run in runs if run.ended.get("end") == "ok"]
    deadline = time.monotonic() + _PATIENCE
    whole: set[str] = set()
    spans: dict[str, list[Span]] = {}
    while len(whole) < len(begun) and time.monotonic() < deadline:
        for run in begun:
            if run.id not in whole:
                spans[run.id] = _spans(demo.services.jaeger, run.watched["traces"])
                whole |= {run.id} if _is_whole(run, spans[run.id]) else set()
    total = sum(len(spans[run.id]) for run in begun)
    yield Check(
        len(whole) == len(begun),
        f"{len(whole)} of {len(begun)} runs are one trace each in Jaeger, over worker, Ray and watcher "
        f"({total:,} spans)",
    )
    resumed = [run for run in begun if run.ended["begun"]]
    linked = [run for run in resumed if _links_back(demo, run, spans[run.id])]
    yield Check(
        bool(resumed) and len(linked) == len(resumed),
        f"{len(linked)} of {len(resumed)} runs that went on from a checkpoint link to the trace "
        "of the run that was killed",
    )


def _is_whole(run: Run, spans: list[Span]) -> bool:
    """Whether all that the run did is in its trace, which is one, by the processes that did it."""
    names = [span.name for span in spans]
    services = {span.service for span in spans}
    steps = [step for step in STEPS if f"invoke_node {step}" in names]
    ran = steps == [*STEPS] or run.resumes is not None
    remote = {"cluster-ray"} if {"measure", "rank"} & {*steps} else set()
    return (
        len(run.watched["traces"]) == 1
        and services == {f"cluster-{run.worker}", "cluster-watcher"} | remote
        and ran
        and names.count("invoke_workflow measuring") == 1
        and names.count("attempt") == len({"measure", "rank"} & {*steps})
    )


def _links_back(demo: Demo, run: Run, spans: list[Span]) -> bool:
    before = demo.runs[str(run.resumes)].watched["traces"]
    return any(set(before) & span.links for span in spans)


def _spans(jaeger: str, traces: list[str]) -> list[Span]:
    found: list[Span] = []
    for trace in traces:
        for resource in _asked(f"{jaeger}/api/v3/traces/{trace}").get("resourceSpans", ()):
            attributes = {one["key"]: one["value"] for one in resource["resource"]["attributes"]}
            service = attributes["service.name"]["stringValue"]
            found += [
                Span(
                    service, span["name"], frozenset(_hex(link["traceId"]) for link in span.get("links", ()))
                )
                for scope in resource["scopeSpans"]
                for span in scope["spans"]
            ]
    return found


def _asked(address: str) -> Any:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["result"]
    except urllib.error.HTTPError:  # it does not know the trace, or not yet
        return {}


def _hex(value: str) -> str:
    return value if len(value) == 32 else base64.b64decode(value).hex()
