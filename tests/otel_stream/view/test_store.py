"""The store by itself: what is written once, what goes when it is full, what is found."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from otel_stream.view import retention, schema
from otel_stream.view.items import Batch, Log, Span
from otel_stream.view.reading import NotThere, Reader
from otel_stream.view.states import States
from otel_stream.view.writer import Job, Writer
from tests.otel_stream.view.viewers import wait_for

TRACE = "ab" * 16


def span(id: str, parent: str = "", start: int = 1, end: int | None = 2, **attributes: Any) -> Span:
    name = attributes.pop("name", f"span {id}")
    trace = attributes.pop("trace", TRACE)
    return Span(trace, id, parent, name, 1, start, end, 0, "", attributes, [], [], "service", "scope")


def log(
    number: int, name: str = "graph.custom", body: Any = "{}", run: str = "run", **attributes: Any
) -> Log:
    about = {"graph.run.id": run, "graph.name": "triage", "graph.log.seq": number, **attributes}
    return Log(TRACE, "01", number + 1, name, 9, body, about, "service", "scope")


def batch(*items: Span | Log) -> Batch:
    spans = [one for one in items if isinstance(one, Span)]
    logs = [one for one in items if isinstance(one, Log)]
    return Batch(spans, logs, [], 100 * len(items))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def writer(path: Path) -> Any:
    found = Writer(path)
    yield found
    found.close()


@pytest.fixture
def reader(path: Path, writer: Writer) -> Any:
    found = Reader(path)
    yield found
    found.close()


def test_what_is_delivered_twice_is_there_once(writer: Writer, reader: Reader) -> None:
    for _ in range(2):
        writer.write(batch(span("01"), span("02", "01"), log(0), log(1)))
    assert (writer.counts.spans, writer.counts.logs) == (2, 2)
    told = reader.run("run")
    assert (told["run"]["spans"], told["run"]["logs"]) == (2, 2)
    assert [len(told["spans"]), len(told["events"])] == [2, 2]


@pytest.mark.parametrize("ended_first", [False, True])
def test_a_span_that_has_begun_is_open_until_its_end_whichever_comes_first(
    writer: Writer, reader: Reader, ended_first: bool
) -> None:
    body = json.dumps({"spanId": "02", "parentSpanId": "01", "name": "invoke_node plan"})
    start = Log(TRACE, "02", 5, "graph.node_start", 9, body, {"graph.run.id": "run"}, "service", "scope")
    end = span("02", "01", 5, 9, name="invoke_node plan", extra=True)
    ends: list[Any] = []
    for one in (end, start) if ended_first else (start, end):
        writer.write(batch(one))
        ends.append(reader.span("run" if not ended_first or ends else TRACE, "02")["end_time"])
    assert ends == ([9e-6, 9e-6] if ended_first else [None, 9e-6])
    assert reader.run("run")["run"]["spans"] == 1
    assert reader.span("run", "02")["about"]["attributes"] == {"extra": True}


@pytest.mark.parametrize("body", ["", "[", "7", '{"spanId": 7, "name": "x"}', '{"spanId": "02"}', None, {}])
def test_a_beginning_that_says_nothing_is_a_log_event_and_no_span(
    writer: Writer, reader: Reader, body: Any
) -> None:
    writer.write(batch(log(0, "graph.node_start", body)))
    told = reader.run("run")
    assert (told["spans"], [event["name"] for event in told["events"]]) == ([], ["graph.node_start"])


def test_the_oldest_traces_go_when_the_store_is_full_and_others_stay_whole(path: Path) -> None:
    writer = Writer(path, capacity=1_000_000)
    text = "x" * 5_000
    for number in range(200):
        trace = f"{number:032x}"
        writer.write(batch(span("01", trace=trace, text=text), span("02", "01", trace=trace, text=text)))
    reader = Reader(path)
    runs = reader.runs(limit=200)
    kept = sorted(run["trace"] for run in runs)
    assert kept == [f"{number:032x}" for number in range(200 - len(kept), 200)]
    assert writer.counts.deleted == 200 - len(kept) > 0
    assert {run["spans"] for run in runs} == {2}
    with pytest.raises(NotThere):
        reader.run(f"{0:032x}")
    reader.close()
    writer.close()
    connection = schema.connect(path)
    assert retention.used(connection) < 1_000_000
    orphans = "SELECT count(*) FROM span WHERE trace NOT IN (SELECT id FROM unit)"
    assert connection.execute(orphans).fetchone() == (0,)
    connection.close()
    # What was deleted is used again, so the file stays near the bound.
    assert path.stat().st_size < 1_300_000


def test_a_queue_that_is_full_refuses_and_loses_nothing_that_it_took(path: Path) -> None:
    writer = Writer(path, queue=1_000)
    gate, begun = threading.Event(), threading.Event()
    done: list[Exception | None] = []

    def wait(error: Exception | None) -> None:
        begun.set()
        gate.wait(20)

    assert writer.offer(Job(batch(span("00")), wait))
    assert begun.wait(20)
    taken = [writer.offer(Job(batch(span(f"{n:02x}"))._replace(size=400), done.append)) for n in range(1, 5)]
    assert taken == [True, True, False, False]
    gate.set()
    writer.close()
    assert done == [None, None]
    assert writer.counts.spans == 3


def test_a_commit_that_fails_is_told_and_the_next_one_is_whole(
    writer: Writer, reader: Reader, path: Path
) -> None:
    outcome: list[Any] = []
    broken = span("01", start=2**70)  # no number of SQLite's
    assert writer.offer(Job(batch(log(0), broken), outcome.append))
    wait_for(lambda: outcome)
    assert isinstance(outcome[0], OverflowError)
    assert reader.runs() == []
    writer.write(batch(log(0), span("01")))
    assert [(run["key"], run["logs"], run["spans"]) for run in reader.runs()] == [("run", 1, 1)]


def test_runs_are_found_by_words_attributes_and_columns_running_or_ended(
    writer: Writer, reader: Reader
) -> None:
    writer.write(
        batch(
            log(0, body='{"city": "Zürich"}', **{"gen_ai.conversation.id": "t7"}),
            span("01", **{"http.route": "/ask", "n": 7}),
            log(1, "graph.run_end", "ok", **{"graph.run.end": "error"}),
        )
    )
    queries = {
        "": 1, "zürich": 1, "zür": 1, "ZÜRICH city": 1, "zürich berlin": 0, "thread:t7": 1, "thread:t8": 0,
        "graph:triage": 1, "state:failed": 1, "state:error": 1, "state:waiting": 0, "run:ru": 1, "run:x": 0,
        "http.route=/ask": 1, "http.route=/": 0, "n=7": 1, "n=8": 0, "=": 1, f"trace:{TRACE[:5]} zürich": 1,
        'service:"service"': 1,
        "'": 1, '"; DROP TABLE unit; --': 0, "state:'; --": 0, "%": 1,
        "a=\"$.b' OR 1": 0, "NEAR(": 0, "*": 1,
    }  # fmt: skip
    first = {query: len(reader.runs(query)) for query in queries}
    index = schema.connect_reading(Path(reader._path))
    wait_for(lambda: index.execute("SELECT count(*) FROM unit WHERE indexed < version").fetchone()[0] == 0)
    index.close()
    assert first == {query: len(reader.runs(query)) for query in queries} == queries


def test_a_large_state_is_told_in_outline_and_the_rest_where_it_is_asked_for(
    writer: Writer, reader: Reader
) -> None:
    state = {"notes": [{"text": "x" * 3_000}] * 3_000, "question": "?"}
    about = {"graph.stream.mode": "values", "graph.values.encoding": "keyframe", "graph.superstep": 1}
    more = {**state, "notes": [*state["notes"], {"text": "new"}]}
    writer.write(batch(log(0, "graph.values", json.dumps(state), **about, **{"graph.stream.seq": 0})))
    writer.write(batch(log(1, "graph.values", json.dumps(more), **about, **{"graph.stream.seq": 1})))
    states = States(reader)
    outline = states.outline("run", 1)
    assert [(one["key"], one["how"], one.get("from")) for one in outline["keys"]] == [
        ("notes", "~", 3_000),
        ("question", "=", None),
    ]
    assert len(json.dumps(outline)) < 2_000
    assert json.loads(outline["keys"][0]["added"][0]["json"]) == {"text": "new"}
    value = states.value("run", 1, ["notes"], 2_950)
    assert [len(value["items"]), value["more"]] == [51, 0]
    assert states.value("run", 1, ["notes", 0, "text"])["text"] == "x" * 3_000
    for path in (["nothing"], ["notes", 9_999], ["notes", "x"]):
        with pytest.raises(NotThere):
            states.value("run", 1, path)


def test_a_run_says_what_its_receivers_have_lost_by_its_span_or_its_log_event(
    writer: Writer, reader: Reader
) -> None:
    by_span = {"name": "invoke_workflow triage", "graph.run.id": "one", "graph.run.end": "ok"}
    writer.write(batch(span("01", **by_span, **{"graph.run.dropped": 12})))
    writer.write(
        batch(log(0, "graph.run_end", "ok", "two", **{"graph.run.end": "ok", "graph.run.dropped": 3}))
    )
    writer.write(
        batch(log(0, "graph.run_end", "ok", "three", **{"graph.run.end": "ok", "graph.run.dropped": "x"}))
    )
    found = {run["key"]: run for run in reader.runs()}
    assert {key: run.get("dropped") for key, run in found.items()} == {"one": 12, "two": 3, "three": None}
    assert [run for run in found.values() if "question" in run] == []


def test_a_store_of_another_version_is_named_and_left_alone(path: Path) -> None:
    connection = schema.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Exception, match="was made by another version"):
        Writer(path)
