"""Of any run: what is told is what was, and what was lost is named. From the exported bytes alone."""

import random
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_stream import events as e
from otel_stream.encoding import decode, encode
from otel_stream.replay import ReplayError, replay
from otel_stream.sdk.export.compaction import compacted
from otel_stream.sdk.export.exporters import to_otlp_json
from otel_stream.stream.copying import snapshot
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import TelemetryOptions, consumer_for_run
from tests.otel_stream.telemetry.test_deltas import BIG, VALUES, evolve

TIME = 1_700_000_000_000_000_000
OPTIONS = TelemetryOptions(event_content=True, max_body_bytes=3000, modes=frozenset({"values", "custom"}))
STATES = st.dictionaries(st.text(min_size=1, max_size=3), VALUES, min_size=1, max_size=4)
CHANCE = st.randoms(use_true_random=False)


def happen(state, chance, steps=15):
    """Let a run and its subgraphs happen; returns the exported records, and the live parts as JSON."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    consumer = consumer_for_run(logger_provider=provider, options=OPTIONS)
    run = e.Run("run-1", "g", context=copy_context(), tags=("a|b", "c"))
    consumer.on_event(e.RunStarted(run, {}, False, TIME))
    deep = e.Run("deep", "deep", context=copy_context(), parent=e.Task(run, "n", 1, id="t"), ns=("n:t",))
    states, live = {run: state, deep: {"big": BIG * 4, "deep": state}}, {}
    for seq in range(steps):
        which = chance.choice([run, run, deep])
        mode = chance.choice(["values", "values", "custom"])
        data = snapshot(states[which]) if mode == "values" else seq
        event = e.ValuesChanged(which, seq, data, TIME + chance.randrange(10**6))
        interrupts = None if mode == "custom" else chance.choice([(), (), ({"value": "?"},)])
        part = StreamPart(
            mode, which.ns, data, seq * 2, event.time, "run-1", which.graph, seq - 1, tags=which.tags,
            interrupts=interrupts,
        )  # fmt: skip
        live[seq * 2] = part.to_json()
        consumer.on_part(part, event)
        evolve(states[which], chance)
    consumer.on_event(e.RunEnded(run, e.End.OK, {}, None, (), 1, TIME))
    provider.shutdown()
    assert consumer.failures == 0
    return list(exporter.get_finished_logs()), live


def stored(records, chance):
    """Return the lines of a file: batches of any size, in any order."""
    lines = []
    while records:
        size = chance.randrange(1, 8)
        batch, records = records[:size], records[size:]
        lines.append(to_otlp_json(encode_logs(list(compacted(batch)))))
    chance.shuffle(lines)
    return lines


def again(text):
    """Return what JSON makes of JSON: keys that it says twice are said once."""
    return encode(decode(text))


@given(STATES, CHANCE)
def test_what_is_told_is_what_was(state, chance):
    records, live = happen({"big": BIG, **state}, chance)
    run = replay(stored(records, chance)).run()
    assert [part.to_json() for part in run.parts] == [again(text) for text in live.values()]
    assert run.complete


@given(STATES, CHANCE)
def test_what_is_lost_is_named_and_nothing_wrong_is_told(state, chance):
    records, live = happen({"big": BIG, **state}, chance)
    lost = set(chance.sample(range(len(records)), chance.randrange(1, 4)))
    try:
        run = replay(stored([one for n, one in enumerate(records) if n not in lost], chance)).run()
    except ReplayError:
        assert len(lost) == len(records)
        return
    last = max(set(range(len(records))) - lost)
    named = {number for hole in run.holes for number in range(hole.first, hole.last + 1)}
    assert named == {number for number in lost if number < last}
    assert (run.end is None) == (len(records) - 1 in lost)
    told = {part.seq: part.to_json() for part in run.parts}
    assert told == {seq: again(live[seq]) for seq in told}
    doubtful = {state.seq for state in run.states if not state.trusted}
    gone = {records[number].log_record.attributes.get("graph.stream.seq") for number in lost}
    assert set(live) - set(told) <= doubtful | gone


def json_of(body):
    try:
        return decode(body)
    except ValueError:
        return None


@pytest.mark.parametrize("seed", range(60))
def test_a_bit_that_flips_on_the_way_is_not_told(seed):
    chance = random.Random(seed)
    emitted, live = happen({"big": BIG, "text": "abc" * 50, "log": list("abc")}, chance)
    records = list(compacted(emitted))
    values = [one for one in records if one.log_record.attributes.get("graph.values.encoding")]
    record = chance.choice(values).log_record
    before = record.body
    place = chance.randrange(len(record.body))
    record.body = record.body[:place] + chr(ord(record.body[place]) ^ 1) + record.body[place + 1 :]
    if json_of(record.body) == json_of(before):
        return
    run = replay(stored(records, chance)).run()
    told = {part.seq: part.to_json() for part in run.parts}
    assert told == {seq: again(live[seq]) for seq in told}
    assert not run.complete
