"""Deltas that wait together leave together; replay tells them apart again."""

from contextvars import copy_context

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)

from otel_stream import events as e
from otel_stream.encoding import decode, encode
from otel_stream.replay import replay
from otel_stream.sdk import OtlpJsonFile, OtlpJsonLogExporter
from otel_stream.sdk.export.compaction import CompactingLogExporter, compacted, requests
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import TelemetryOptions, consumer_for_run
from otel_stream.telemetry.redaction import Redaction

TIME = 1_700_000_000_000_000_000


def parts_of(states, ns=(), start=0, **more):
    return [
        StreamPart("values", ns, state, seq, TIME + seq * 1000, "run-1", "g", seq, interrupts=(), **more)
        for seq, state in enumerate(states, start)
    ]


def emit(processor, *parts, ended=True, **options):
    """Export ``parts`` of one run through ``processor``."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    consumer = consumer_for_run(
        logger_provider=provider, options=TelemetryOptions(event_content=True, **options)
    )
    run = e.Run("run-1", "g", context=copy_context())
    consumer.on_event(e.RunStarted(run, {}, False, TIME))
    for part in parts:
        consumer.on_part(part, e.ValuesChanged(run, part.step, part.data, part.time_unix_nano))
    if ended:
        consumer.on_event(e.RunEnded(run, e.End.OK, {}, None, (), 1, TIME))
    provider.shutdown()


def records(*parts, **options):
    exporter = InMemoryLogRecordExporter()
    emit(SimpleLogRecordProcessor(exporter), *parts, **options)
    return exporter.get_finished_logs()


def growing(number, size=1000):
    return [{"doc": "d" * size, "log": [f"{n:04d}" for n in range(count)]} for count in range(number)]


def told(batch, path):
    exporter = OtlpJsonLogExporter(OtlpJsonFile(path))
    exporter.export(batch)
    exporter.shutdown()
    return replay(path).run()


def test_what_was_put_together_is_told_as_it_was(tmp_path):
    parts = parts_of(growing(50))
    whole = records(*parts)
    batch = list(compacted(whole))
    assert [one.log_record.event_name for one in batch] == ["graph.values", "graph.run_end", "graph.values"]
    assert batch[-1].log_record.attributes["graph.values.rows"] == 49
    run = told(batch, tmp_path / "file")
    assert [part.to_json() for part in run.parts] == [
        part.to_json() for part in told(whole, tmp_path / "whole").parts
    ]
    assert [encode(state.values) for state in run.states] == [encode(part.data) for part in parts]
    assert run.complete


def test_runs_of_subgraphs_and_other_modes_keep_apart(tmp_path):
    deep = parts_of(growing(5), ("sub:1",), 100)
    parts = [part for pair in zip(parts_of(growing(5)), deep, strict=True) for part in pair]
    other = StreamPart("custom", (), {"x": 1}, 200, TIME, "run-1", "g", 1)
    batch = list(compacted(records(*parts, other)))
    rows = [one.log_record.attributes.get("graph.values.rows") for one in batch]
    # The scene's run is the root's; parts say where they are from, and so must what stands for them.
    assert sum(row or 1 for row in rows) == len(parts) + 2


def test_deltas_on_both_sides_of_a_keyframe_are_not_put_together(tmp_path):
    states = [*growing(4), *({**state, "new": {str(n): n for n in range(999)}} for state in growing(4, 2000))]
    batch = list(compacted(records(*parts_of(states), ended=False)))
    assert [one.log_record.attributes.get("graph.values.rows") for one in batch] == [None, 3, None, 3]
    assert told(batch, tmp_path / "file").states[-1].trusted


def test_rows_that_were_changed_on_their_way_are_a_hole(tmp_path):
    *others, last = compacted(records(*parts_of(growing(5)), ended=False))
    last.log_record.body = last.log_record.body.replace("0001", "0009")
    run = told([*others, last], tmp_path / "file")
    assert len(run.states) == 1
    assert run.problems() == ["how the run ended is unknown: it goes on, or its last log events are missing"]
    assert [part.seq for part in run.parts] == [0]


def test_redactions_are_added_up():
    states = [{**state, "key": n, "who": f"canary {n}"} for n, state in enumerate(growing(4))]
    batch = list(compacted(records(*parts_of(states), ended=False, redaction=Redaction(patterns="canary"))))
    assert [one.log_record.attributes["graph.redaction.count"] for one in batch] == [1, 3]


@pytest.mark.parametrize("text", ["x", "漢"], ids=["ascii", "three bytes a character"])
def test_requests_are_counted_in_bytes_of_bodies_and_attributes(text):
    parts = [StreamPart("custom", (), text * 300, n, TIME, "run-1", "g", 1) for n in range(6)]
    items = records(*parts, ended=False)
    size = len(text.encode()) * 300
    found = [len(request) for request in requests(items, 2 * (size + 150))]
    assert found == [2, 2, 2]
    assert [len(request) for request in requests(items, 10)] == [1] * 6
    assert list(requests([], 8)) == []


def test_a_failure_of_the_exporter_is_passed_on():
    class Failing(InMemoryLogRecordExporter):
        def export(self, batch):
            return LogRecordExportResult.FAILURE

    exporter = CompactingLogExporter(Failing())
    assert exporter.export(records(*parts_of(growing(2)))) is LogRecordExportResult.FAILURE
    assert exporter.force_flush()
    exporter.shutdown()


class Sizes(InMemoryLogRecordExporter):
    """How many bytes of protobuf every batch takes."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def export(self, batch):
        self.sizes.append(len(encode_logs(batch).SerializeToString()))
        return LogRecordExportResult.SUCCESS


def test_a_long_run_costs_what_changed_and_a_fifth_at_most(tmp_path):
    """100 KB of state, 1,000 supersteps, 100 bytes changed in each: as OTLP JSON and as protobuf."""
    doc, log, states, changes = "".join(f"{n:05d}" for n in range(20_000)), [], [], 0
    for step in range(1000):
        line = f"{step:04d}" + "x" * 96
        log = [*log, line]
        states.append({"doc": doc, "log": log, "n": step})
        changes += len(encode({"log": [line], "n": step}))
    budget = 1.2 * (len(encode(states[0])) + changes)
    path, sizes = tmp_path / "file", Sizes()
    exporter = CompactingLogExporter(OtlpJsonLogExporter(OtlpJsonFile(path)))
    emit(BatchLogRecordProcessor(exporter), *parts_of(states))
    emit(BatchLogRecordProcessor(CompactingLogExporter(sizes)), *parts_of(states))
    assert path.stat().st_size <= budget
    assert sum(sizes.sizes) <= budget
    run = replay(path).run()
    assert [encode(state.values) for state in run.states] == [encode(state) for state in states]
    assert decode(run.parts[-1].to_json())["data"]["n"] == 999
