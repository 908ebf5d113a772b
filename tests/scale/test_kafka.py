"""Streams through a real broker: what comes out is what went in, once, in order, or it is told."""

import json
import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from engine import ExecutionEngine
from otel_stream import MODES, StreamConfig
from otel_stream.events import End
from otel_stream.kafka import ForeignRecordError, KafkaSink, ProducerLostError, RemoteRunError, remote_stream
from otel_stream.kafka.records import Kind, Origin
from otel_stream.parts import StreamPart
from tests.scale import graphs
from tests.scale.waiting import taken, texts, until

ALL = StreamConfig(modes=MODES, subgraphs=True)
WRITTEN = StreamConfig(modes="custom")


@pytest.mark.parametrize(
    ("graph", "input"),
    [(graphs.varied, {}), (graphs.talking, {"messages": []}), (lambda: graphs.writing(3000), {})],
    ids=["varied", "talking", "long"],
)
async def test_a_remote_receiver_gets_the_parts_that_one_beside_the_run_gets(servers, topic, graph, input):
    sink = KafkaSink(topic, ALL, servers=servers)
    async with graph().open_stream(input, ALL, sink) as stream:
        beside = [part async for part in stream]
    elsewhere = remote_stream(topic, run_id=stream.run_id, servers=servers)
    assert texts(await taken(elsewhere)) == texts(beside)
    assert elsewhere.end is End.OK
    sent, received = sink.statistics(), elsewhere.statistics()
    assert (sent.offered, sent.delivered, sent.held, sent.dropped) == (len(beside), len(beside), 0, 0)
    assert (received.offered, received.delivered, received.dropped) == (len(beside), len(beside), 0)


async def test_who_watches_while_the_run_goes_on_gets_each_part_as_it_comes(servers, topic):
    taken_up = anyio.Event()

    async def wait(state):
        await graphs.get_stream_writer().write("first")
        await taken_up.wait()
        await graphs.get_stream_writer().write("second")
        return {}

    graph = graphs.compiled("waiting", wait)
    async with (
        graph.open_stream({}, KafkaSink(topic, WRITTEN, servers=servers)) as stream,
        remote_stream(topic, run_id=stream.run_id, servers=servers) as elsewhere,
    ):
        assert (await anext(elsewhere)).data == "first"
        taken_up.set()
        assert [part.data async for part in elsewhere] == ["second"]


async def test_the_end_of_a_run_is_told_whatever_it_is(servers, topic):
    async with KafkaSink(topic, ALL, servers=servers) as sink:
        async with graphs.failing().open_stream({}, sink) as failed:
            with pytest.raises(ValueError, match="no such thing"):
                await failed.wait()
        async with graphs.asking().open_stream(
            {}, sink, config={"configurable": {"thread_id": "1"}}
        ) as asking:
            await asking.wait()
        with anyio.CancelScope() as scope:
            async with graphs.compiled("sleeping", _sleeping).open_stream({}, sink) as cancelled:
                scope.cancel()
                await cancelled.wait()
    elsewhere = remote_stream(topic, run_id=failed.run_id, servers=servers)
    with pytest.raises(RemoteRunError, match=r"^ValueError: no such thing$"):
        await taken(elsewhere)
    ends = {}
    for stream in (asking, cancelled):
        elsewhere = remote_stream(topic, run_id=stream.run_id, servers=servers)
        await taken(elsewhere)
        ends[stream.run_id] = elsewhere.end
    assert list(ends.values()) == [End.INTERRUPTED, End.CANCELLED]


async def _sleeping(state):
    await anyio.sleep_forever()


async def test_modes_filters_and_the_end_are_the_remote_receivers_own(servers, topic):
    async with graphs.varied().open_stream({}, ALL, KafkaSink(topic, ALL, servers=servers)) as stream:
        beside = [part async for part in stream]
    config = StreamConfig(
        modes=("updates", "tasks"),
        filter=lambda part: part.node in ("sub", None),
        include_end=True,
        include_metadata=False,
    )
    elsewhere = remote_stream(topic, config, run_id=stream.run_id, servers=servers)
    got = await taken(elsewhere)
    wanted = [part for part in beside if part.type in config.modes and not part.ns]
    kept = [part for part in wanted if part.node == "sub"]
    assert texts(got[:-1]) == [part.to_json(metadata=False) for part in kept]
    assert (got[-1].type, got[-1].data) == ("end", {"end": "ok", "error": None, "interrupts": []})
    account = elsewhere.statistics()
    assert (account.offered, account.delivered) == (len(wanted) + 1, len(kept) + 1)
    assert account.filtered == len(wanted) - len(kept)


async def test_a_receiver_goes_on_where_another_one_stopped(servers, topic):
    async with graphs.writing(500).open_stream(
        {}, WRITTEN, KafkaSink(topic, WRITTEN, servers=servers)
    ) as stream:
        beside = [part async for part in stream]
    first = remote_stream(topic, run_id=stream.run_id, servers=servers)
    async with first:
        begun = [await anext(first) for _ in range(123)]
    last = begun[-1]
    since = datetime.fromtimestamp(last.time_unix_nano / 1e9, UTC)
    for options in ({}, {"since": since}):
        rest = remote_stream(topic, run_id=stream.run_id, from_seq=last.seq + 1, servers=servers, **options)
        assert texts(begun + await taken(rest)) == texts(beside)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
async def test_a_slow_remote_consumer_has_the_policies_that_any_has(servers, topic, overflow):
    async with graphs.writing(2000).open_stream({}, KafkaSink(topic, WRITTEN, servers=servers)) as stream:
        await stream.wait()
    config = StreamConfig(modes="custom", buffer_size=10, overflow=overflow)
    slow = remote_stream(topic, config, run_id=stream.run_id, servers=servers)
    async with slow:
        first = await anext(slow)
        if overflow != "block":
            await until(lambda: slow.closed)  # all was read, and most of it had no room
        parts = [first, *[part async for part in slow]]
    gaps = [part.data["dropped"] for part in parts if part.type == "gap"]
    account = slow.statistics()
    assert account.offered == 2000 == account.delivered + account.dropped
    assert sum(gaps) == account.dropped
    assert account.high_water <= 10 + 512
    assert (account.dropped == 0) == (overflow == "block")


async def test_records_are_read_without_us(servers, topic, otel_globals):
    trace.set_tracer_provider(TracerProvider())
    config = StreamConfig(modes="custom", name="live")
    async with graphs.writing(2).open_stream({}, config, KafkaSink(topic, config, servers=servers)) as stream:
        beside = [part async for part in stream]
    records = [record async for record in raw(servers, topic)]
    assert {record.key for record in records} == {stream.run_id.encode()}
    headers = [dict(record.headers) for record in records]
    assert [(one["otel-stream"], one["kind"], one["stream"]) for one in headers] == [
        (b"1", kind, b"live") for kind in (b"beat", b"part", b"part", b"end")
    ]
    assert [one.get("number") for one in headers] == [None, b"0", b"1", b"2"]
    assert [json.loads(record.value) for record in records[1:3]] == [
        json.loads(part.to_json()) for part in beside
    ]
    assert json.loads(records[0].value) == {"every": 5.0}
    assert json.loads(records[3].value)["data"] == {"end": "ok", "error": None, "interrupts": []}
    parent = f"00-{beside[0].trace_id}-{beside[0].span_id}-01".encode()
    assert beside[0].span_id is not None
    assert [one.get("traceparent") for one in headers] == [None, parent, parent, None]
    assert [record.timestamp for record in records[1:3]] == [
        part.time_unix_nano // 1_000_000 for part in beside
    ]


async def raw(servers, topic):
    """What is in a topic now, in its order."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest")
    async with consumer:
        places = sorted(consumer.assignment())
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
            while await consumer.position(place) < ends[place]:
                yield await consumer.getone(place)


async def test_a_part_that_no_broker_takes_is_told_in_its_place(servers, topic):
    sizes = [10, 2_000_000, 10, 999_000, 10]

    async def write(state):
        for size in sizes:
            await graphs.get_stream_writer().write("x" * size)
        return {}

    sink = KafkaSink(topic, WRITTEN, servers=servers)
    async with graphs.compiled("large", write).open_stream({}, WRITTEN, sink) as stream:
        beside = [part async for part in stream]
    parts = await taken(remote_stream(topic, run_id=stream.run_id, servers=servers))
    assert [part.type for part in parts] == ["custom", "gap", "custom", "gap", "custom"]
    assert texts(parts[::2]) == texts(beside[::2])
    assert parts[1].data == {
        "dropped": 1,
        "modes": {"custom": 1},
        "reasons": {"too_large": 1},
        "first_seq": beside[1].seq,
        "last_seq": beside[1].seq,
    }
    account = sink.statistics()
    assert (account.offered, account.delivered, account.reasons) == (5, 3, {"too_large": 2})


async def test_what_a_broker_takes_less_than_we_send_is_told_too(servers, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "2000"})])
    await admin.close()

    async def write(state):
        for size in [10] * 50 + [5000] + [10] * 50:
            await graphs.get_stream_writer().write("x" * size)
        return {}

    sink = KafkaSink(topic, WRITTEN, servers=servers)
    async with graphs.compiled("large", write).open_stream({}, WRITTEN, sink) as stream:
        beside = [part async for part in stream]
    parts = await taken(remote_stream(topic, run_id=stream.run_id, servers=servers))
    assert parts[50].type == "gap"
    assert texts(parts[:50] + parts[51:]) == texts(beside[:50] + beside[51:])
    assert sink.statistics().reasons == {"too_large": 1}


async def test_what_the_topic_has_forgotten_is_told(servers, topic):
    async with graphs.writing(100).open_stream(
        {}, WRITTEN, KafkaSink(topic, WRITTEN, servers=servers)
    ) as stream:
        beside = [part async for part in stream]
    places = {}
    async for record in raw(servers, topic):
        if dict(record.headers).get("number") == b"40":
            places[TopicPartition(topic, record.partition)] = RecordsToDelete(record.offset)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.delete_records(places)
    await admin.close()
    gap, *parts = await taken(remote_stream(topic, run_id=stream.run_id, servers=servers))
    assert texts(parts) == texts(beside[40:])
    assert gap.type == "gap"
    assert gap.data == {
        "dropped": 40,
        "modes": {},
        "reasons": {"expired": 40},
        "first_seq": 0,
        "last_seq": beside[40].seq - 1,
    }


async def test_what_was_sent_twice_is_shown_once_and_records_of_others_not_at_all(servers, topic):
    run_id = uuid.uuid4().hex
    parts = [StreamPart("custom", (), number, seq=number, run_id=run_id) for number in range(4)]
    origin = Origin("", "one")
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:

        async def send(kind, number, value, headers=None, key=run_id):
            headers = origin.headers(kind, number, None) if headers is None else headers
            await producer.send_and_wait(topic, value, key=key.encode(), headers=list(headers))

        for number in (0, 1, 0, 1, 2):
            await send(Kind.PART, number, parts[number].to_json())
        await send(Kind.PART, 3, b"not ours", headers=())
        await send(
            Kind.PART, 3, parts[0].to_json(), headers=Origin("another", "x").headers(Kind.PART, 0, None)
        )
        await send(Kind.PART, 3, parts[3].to_json())
        await send(Kind.PART, 9, parts[3].to_json(), key="another run")
        end = StreamPart("end", (), {"end": "ok", "error": None, "interrupts": ()})
        await send(Kind.END, 4, end.to_json())
    elsewhere = remote_stream(topic, run_id=run_id, servers=servers)
    assert texts(await taken(elsewhere)) == texts(parts)


async def test_another_version_of_the_encoding_is_refused_in_a_sentence(servers, topic):
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(topic, b"{}", key=b"run", headers=[("otel-stream", b"2")])
    with pytest.raises(ForeignRecordError, match=r"records of version 2 .* this reads version 1"):
        await taken(remote_stream(topic, run_id="run", servers=servers))


async def test_an_engines_sinks_get_every_run_and_many_runs_at_once_stay_apart(servers, topic):
    graph = graphs.writing(50)
    async with KafkaSink(topic, WRITTEN, servers=servers) as sink:
        engine = ExecutionEngine(sinks=[sink])
        running = [await engine.execute_with_stream(graph, {}, WRITTEN) for _ in range(40)]
        beside = {run.run_id: [part async for part in receiver] for run, receiver in running}
    for run_id, parts in beside.items():
        assert texts(await taken(remote_stream(topic, run_id=run_id, servers=servers))) == texts(parts)
    account = sink.statistics()
    assert (account.offered, account.delivered, account.held) == (2000, 2000, 0)


async def test_a_sink_that_is_left_before_a_run_has_ended_says_so(servers, topic):
    async with KafkaSink(topic, WRITTEN, servers=servers) as sink:
        stream = graphs.compiled("sleeping", _sleeping).open_stream({}, sink)
        stream.start()
    with pytest.raises(
        ProducerLostError, match="was left by its producer before its end: the sink was closed"
    ):
        await taken(remote_stream(topic, run_id=stream.run_id, servers=servers))
    await stream.aclose()


def test_runs_and_consumers_need_no_event_loop(servers, topic):
    sink = KafkaSink(topic, WRITTEN, servers=servers)

    def write(state):
        for number in range(20):
            graphs.get_stream_writer()(number)
        return {}

    with graphs.compiled("sync", write).open_stream({}, WRITTEN, sink) as stream:
        beside = list(stream)
    with remote_stream(topic, run_id=stream.run_id, servers=servers) as elsewhere:
        assert texts(elsewhere) == texts(beside)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_runs_and_consumers_may_be_trios(servers, topic, anyio_backend):
    async with graphs.writing(20).open_stream(
        {}, WRITTEN, KafkaSink(topic, WRITTEN, servers=servers)
    ) as stream:
        beside = [part async for part in stream]
    assert texts(await taken(remote_stream(topic, run_id=stream.run_id, servers=servers))) == texts(beside)


async def test_runs_of_langgraph_are_sent_as_well(servers, topic):
    from langgraph.graph import START, StateGraph

    from otel_stream.adapters.langgraph import LangGraphInstrumentor, open_stream

    graph = StateGraph(graphs.Count).add_node("one", lambda state: {"n": 1}).add_edge(START, "one").compile()
    config = StreamConfig(modes=("updates", "values"))
    LangGraphInstrumentor().instrument()
    try:
        async with open_stream(graph, {}, config, KafkaSink(topic, config, servers=servers)) as stream:
            beside = [part async for part in stream]
    finally:
        LangGraphInstrumentor().uninstrument()
    assert beside
    assert texts(await taken(remote_stream(topic, run_id=beside[0].run_id, servers=servers))) == texts(beside)


def test_what_the_page_shows_runs(servers, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "kafka.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    program = program.replace("127.0.0.1:9092", servers).replace('"runs"', f'"runs-{uuid.uuid4().hex}"')
    file = tmp_path / "example.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", file], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stdout) == (
        0,
        "values {'name': 'Ada'}\nupdates {'answer': {'said': 'hello, Ada'}}\nvalues {'said': 'hello, Ada'}\n",
    ), done.stderr
