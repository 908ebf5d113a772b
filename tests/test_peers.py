"""What ``docs/peers.md`` shows was measured; nobody is measured here, and nothing is installed."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "peers.md").read_text()
RESULTS = json.loads((ROOT / "benchmarks" / "peers" / "results.json").read_text())


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    import benchmarks.peers.told

    return benchmarks.peers


def test_the_tables_of_the_document_are_those_of_the_results(peers: ModuleType) -> None:
    from benchmarks.peers.document import TABLES, filled

    assert set(re.findall(r"<!-- (\w+): written by make peers -->", DOCUMENT)) == set(TABLES)
    assert filled(DOCUMENT, RESULTS) == DOCUMENT


def test_a_table_that_was_changed_by_hand_is_noticed(peers: ModuleType) -> None:
    from benchmarks.peers.document import filled

    number = str(RESULTS["contenders"][0]["cost"]["sampled"]["samples"])
    changed = DOCUMENT.replace("| LangGraph alone |", f"| LangGraph alone {number} |")
    assert filled(changed, RESULTS) == DOCUMENT != changed


def test_everyone_who_takes_part_was_measured(peers: ModuleType) -> None:
    from benchmarks.peers.contenders import CONTENDERS

    assert [one["name"] for one in RESULTS["contenders"]] == [one.name for one in CONTENDERS]
    for one, found in zip(CONTENDERS, RESULTS["contenders"], strict=True):
        if found["error"] is None:
            parts = {"cost": found["cost"], "bytes": found["bytes"], "scenes": found["told"]}
            assert {part for part, what in parts.items() if what} == set(one.parts), one.name


def test_the_states_of_a_run_of_ours_take_at_most_a_fifth_more_than_the_first_and_the_changes() -> None:
    """Of the states alone: spans, updates and routes of a thousand supersteps come on top."""
    (ours,) = (one for one in RESULTS["contenders"] if one["name"] == "otel-stream")
    assert list(ours["bytes"]) == ["10", "1000"]
    for steps, found in ours["bytes"].items():
        assert (found["document"], found["changes"]) == (1, int(steps))
        assert found["events"]["graph.values"] <= 1.2 * RESULTS["state_and_changes"][steps]


def test_environments_are_pinned_by_name_and_version_alone(peers: ModuleType) -> None:
    from benchmarks.peers.contenders import CONTENDERS, OWN, lock

    for environment in {one.environment for one in CONTENDERS} - {OWN}:
        lines = lock(environment).read_text().splitlines()
        assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+", line)] == []
        assert "langgraph==1.2.22" in lines


def test_someone_unknown_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", "--only", "nobody"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    said = " ".join(done.stderr.replace("│", " ").split())
    assert done.returncode == 2
    assert "nobody is called 'nobody'. Names: langgraph, openinference," in said


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["otel-stream", "langgraph-otel-stream"])
def test_what_is_told_of_ours_is_what_a_run_of_ours_tells_now(peers: ModuleType, name: str) -> None:
    from benchmarks.peers.contenders import CONTENDERS
    from benchmarks.peers.run import Found, answers
    from benchmarks.peers.sink import Sink

    (ours,) = (Found(one) for one in CONTENDERS if one.name == name)
    with Sink() as sink:
        answers(ours, sink, print)
    assert ours.error is None
    # More of these may come.
    assert int(ours.told.pop("metrics")) > 10
    assert ours.told == {
        "traces of one run": "1",
        "tasks with a span": "7 of 7",
        "supersteps": "spans: 6 of 6",
        "executed edges": "links: 7 of 7",
        "attempts of a retried node": "numbered",
        "stream events": ours.told["stream events"],
        "user's span opened in a node": "in its node",
        "interrupt": "run unset, node unset; said",
        "resumed run → the one before": "link",
        "stream left by its consumer": "run unset (abandon)",
        "warnings and errors logged": "0",
        "exception's text, content off": "absent",
        "exception's class, content off": "yes",
        "state, content off": "absent",
        "metadata of the config, content off": "absent",
    }
    assert ours.told["stream events"].endswith("events, with custom data")


def test_a_contender_that_cannot_start_says_why_and_the_others_are_measured(
    peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.peers.contenders import OWN, Contender
    from benchmarks.peers.run import Found, costs

    broken = Found(Contender(name="nobody", title="Nobody", environment=OWN))
    bare = Found(Contender(name="otel-stream-bare", title="ours", environment=OWN))
    costs([broken, bare], 2, print, sampled=True)
    assert (broken.error, broken.cost) == ("KeyError: 'nobody'", {})
    assert (bare.error, bare.cost["sampled"]["samples"]) == (None, 2)


# -- what is told: of telemetry that is known ------------------------------------------------------


class Scene:
    """Spans made by hand, as they arrive."""

    def __init__(self) -> None:
        self.request = ExportTraceServiceRequest()
        self._spans = self.request.resource_spans.add().scope_spans.add().spans
        self.trace = b"t" * 16

    def span(self, name: str, parent: Any = None, *, status: int = 0, **attributes: Any) -> Any:
        number = len(self._spans) + 1
        span = self._spans.add(name=name, trace_id=self.trace, span_id=bytes([number]) * 8)
        span.start_time_unix_nano, span.end_time_unix_nano = number, 1000 - number
        span.status.code = status
        if parent is not None:
            span.parent_span_id = parent.span_id
        for key, value in attributes.items():
            span.attributes.add(key=key).value.string_value = str(value)
        return span

    def exported(self) -> Any:
        from benchmarks.peers.exported import exported
        from benchmarks.peers.sink import Received

        return exported(Received([("/v1/traces", self.request.SerializeToString())]))


def tasks(scene: Scene, parents: list[Any], metadata: str) -> list[Any]:
    from benchmarks.peers.told import TASKS

    made = [
        scene.span(f"task {name}", parents[number], metadata=metadata % (number + 1))
        for name, number in TASKS
        if name != "flaky"
    ]
    made.insert(4, scene.span("task flaky", parents[3], metadata=metadata % 4))
    return made


def test_supersteps_as_spans_as_numbers_or_not_at_all(peers: ModuleType) -> None:
    from benchmarks.peers.told import supersteps

    answers = []
    for spans, metadata in ((True, "{}%.0s"), (False, '{"graph_step": %d}'), (False, "{}%.0s")):
        scene = Scene()
        run = scene.span("run")
        parents = [scene.span("superstep", run) if spans else run for _ in range(6)]
        tasks(scene, parents, metadata)
        answers.append(supersteps({"plain": scene.exported()}))
    assert answers == ["spans: 6 of 6", "a number on 7 of 7 tasks", "no"]


def test_edges_are_links_or_names_but_never_nesting(peers: ModuleType) -> None:
    from benchmarks.peers.graphs import EDGES
    from benchmarks.peers.told import TASKS, edges

    scene = Scene()
    run = scene.span("run")
    made = dict(zip(in_order(TASKS), tasks(scene, [run] * 6, "{}%.0s"), strict=True))
    assert edges({"plain": scene.exported()}) == "no"
    for before, after in EDGES[:2]:
        made[after].links.add(trace_id=scene.trace, span_id=made[before].span_id)
    made[("delta", 0)].attributes.add(key="triggers").value.string_value = '["join:beta+gamma:delta"]'
    assert edges({"plain": scene.exported()}) == "links: 2 of 7; by name in triggers: 2 of 7"


def in_order(tasks: list[tuple[str, int]]) -> list[tuple[str, int]]:
    names = [name for name, _ in tasks]
    return [(name, names[:place].count(name)) for place, name in enumerate(names)]


def test_a_resumed_run_is_found_by_link_trace_or_thread(peers: ModuleType) -> None:
    from benchmarks.peers.graphs import THREAD
    from benchmarks.peers.told import resumed

    def runs(trace: bytes, *, link: bool, thread: str) -> dict[str, Any]:
        first, second = Scene(), Scene()
        first.span("run", thread=thread)
        second.trace = trace
        span = second.span("run", thread=thread)
        if link:
            span.links.add(trace_id=first.trace, span_id=b"1" * 8)
        return {"waiting": first.exported(), "resumed": second.exported()}

    other = b"o" * 16
    assert [
        resumed(runs(other, link=True, thread="")),
        resumed(runs(b"t" * 16, link=False, thread="")),
        resumed(runs(other, link=False, thread=THREAD)),
        resumed(runs(other, link=False, thread="")),
    ] == ["link", "the same trace", "thread id in both", "no"]


def test_a_stream_that_was_left_is_told_by_status_and_word(peers: ModuleType) -> None:
    from benchmarks.peers.told import left

    failed, abandoned = Scene(), Scene()
    failed.span("run", status=2)
    abandoned.span("run", end="abandoned")
    assert [left({"broken": scene.exported()}) for scene in (failed, abandoned, Scene())] == [
        "run error",
        "run unset (abandon)",
        "no span",
    ]
