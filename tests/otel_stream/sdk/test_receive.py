"""Graph events that arrive as log records, received as the stream parts they were made of."""

import logging

import pytest
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context

from engine import START, StateGraph
from otel_stream.config import ConfigError, Custom, OverflowPolicy, StreamConfig
from otel_stream.filters import Mode
from otel_stream.sdk import OTHER_LOGS, StreamLogProcessor
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import TelemetryOptions, set_options


@pytest.fixture
def processor():
    return StreamLogProcessor()


@pytest.fixture
def logger(processor):
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(processor)
    return loggers.get_logger("x")


ABOUT = {
    "graph.run.id": "run-1",
    "graph.name": "triage",
    "graph.stream.seq": 3,
    "graph.superstep": 1,
}
OF_TASK = {"gen_ai.node.name": "plan", "graph.task.id": "task-1"}


def held(receiver):
    """What a receiver holds, without waiting for more."""
    return list(iter(receiver.take_nowait, None))


def brief(receiver):
    return [(part.type, part.data) for part in held(receiver)]


def update(logger, data='{"plan":{"x":1}}', **about):
    logger.emit(event_name="graph.updates", timestamp=17, body=data, attributes=ABOUT | OF_TASK | about)


def test_a_log_event_becomes_the_part_it_was_made_of(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes="updates"))
    span = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("node")
    about = span.get_span_context()
    logger.emit(
        event_name="graph.updates",
        timestamp=17,
        body='{"plan":{"x":[1,null,"é"]}}',
        attributes=ABOUT | OF_TASK | {"graph.task.attempt": 2},
        context=set_span_in_context(span),
    )
    assert held(receiver) == [
        StreamPart(
            "updates", (), {"plan": {"x": [1, None, "é"]}}, seq=3, time_unix_nano=17, run_id="run-1",
            graph="triage", step=1, node="plan", task_id="task-1", attempt=2,
            trace_id=f"{about.trace_id:032x}", span_id=f"{about.span_id:016x}",
        )
    ]  # fmt: skip


def test_a_part_of_no_task_has_no_attempt_and_without_a_span_no_ids(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes="values"))
    logger.emit(event_name="graph.values", observed_timestamp=18, body="{}", attributes=ABOUT)
    about = {"time_unix_nano": 18, "run_id": "run-1", "graph": "triage", "step": 1, "interrupts": ()}
    expected = StreamPart("values", (), {}, seq=3, **about)
    assert held(receiver) == [expected]


def test_a_receiver_gets_its_modes_and_each_receiver_its_own(processor, logger):
    both = processor.subscribe(StreamConfig(modes=("updates", "custom")))
    one = processor.subscribe(StreamConfig(modes="custom"))
    for mode in ("updates", "values", "custom"):
        logger.emit(event_name=f"graph.{mode}", body=f'"{mode}"', attributes=ABOUT)
    assert brief(both) == [("updates", "updates"), ("custom", "custom")]
    assert brief(one) == [("custom", "custom")]


def test_subgraphs_are_received_if_they_are_wanted(processor, logger):
    without = processor.subscribe(StreamConfig(modes="updates"))
    with_them = processor.subscribe(StreamConfig(modes="updates", subgraphs=True))
    update(logger)
    update(logger, **{"graph.ns": "outer:1|inner:2"})
    assert [part.ns for part in held(without)] == [()]
    assert [part.ns for part in held(with_them)] == [(), ("outer:1", "inner:2")]


@pytest.mark.parametrize("body", ['{"cut":"of', "", None, {"not": "ours"}])
def test_a_body_that_is_no_json_is_handed_over_as_it_is(processor, logger, body):
    receiver = processor.subscribe(StreamConfig(modes="updates"))
    update(logger, body)
    assert (brief(receiver), processor.failures) == ([("updates", body)], 0)


def test_the_settings_of_a_receiver_apply(processor, logger):
    config = StreamConfig(
        modes="updates", buffer_size=2, include_metadata=False, overflow="drop_newest", filter=Mode("updates")
    )
    receiver = processor.subscribe(config)
    for number in range(4):
        update(logger, str(number))
    numbers = receiver.statistics()
    assert (numbers.offered, numbers.dropped) == (4, 2)
    assert [part for part in held(receiver) if part.type != "gap"] == [
        StreamPart("updates", (), 0),
        StreamPart("updates", (), 1),
    ]


def test_a_mode_of_some_program_is_received_under_its_name(processor, logger):
    called = []
    receiver = processor.subscribe(StreamConfig(modes=Custom(called.append, "tokens")))
    for mode in ("tokens", "other"):
        about = ABOUT | {"graph.stream.mode": mode}
        logger.emit(event_name="graph.custom_mode", body='{"n":1}', attributes=about)
    assert (brief(receiver), called) == ([("tokens", {"n": 1})], [])


def test_other_log_records_can_be_had_as_a_mode(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes=(OTHER_LOGS, "updates")))
    logger.emit(body="disk full", severity_text="WARN", attributes={"disk": "a"})
    update(logger)
    logger.emit(event_name="cache.miss")
    assert brief(receiver) == [
        ("logs", {"severity": "WARN", "event_name": None, "body": "disk full", "attributes": {"disk": "a"}}),
        ("updates", {"plan": {"x": 1}}),
        ("logs", {"severity": None, "event_name": "cache.miss", "body": None, "attributes": {}}),
    ]


def test_a_mode_that_returns_none_makes_no_part_and_one_that_raises_ends_its_receiver_alone(
    processor, logger, caplog
):
    def only_text(record):
        return record.body.upper() if record.body != "skip" else None

    careful = processor.subscribe(StreamConfig(modes=OTHER_LOGS))
    receiver = processor.subscribe(StreamConfig(modes=Custom(only_text, "loud")))
    for body in ("a", "skip", 1, "b"):
        logger.emit(body=body)
    assert brief(receiver) == [("loud", "A")]
    assert (type(receiver.failed), len(held(careful))) == (AttributeError, 4)
    with pytest.raises(AttributeError):
        next(receiver)


def test_it_wants_what_its_receivers_want(processor, logger):
    def wants():
        return [logger.enabled(event_name=name) for name in ("graph.updates", "graph.values", "other", None)]

    assert wants() == [False, False, False, False]
    receiver = processor.subscribe(StreamConfig(modes="updates"))
    assert wants() == [True, False, False, False]
    processor.subscribe(StreamConfig(modes=OTHER_LOGS))
    assert wants() == [True, False, True, True]
    receiver.close()
    assert wants() == [False, False, True, True]


def test_a_closed_receiver_gets_nothing_more(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes="updates"))
    update(logger)
    receiver.close()
    update(logger)
    assert receiver.statistics().offered == 1
    assert list(receiver) == []


def test_a_shutdown_ends_receivers_after_what_they_hold(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes="updates"))
    update(logger)
    assert processor.force_flush() is True
    processor.shutdown()
    update(logger)
    assert [part.data for part in receiver] == [{"plan": {"x": 1}}]
    with pytest.raises(ConfigError, match="it was shut down; subscribe to one that is in use"):
        processor.subscribe(StreamConfig(modes="updates"))


def test_a_record_that_cannot_be_read_never_reaches_who_logs(processor, logger, caplog):
    receiver = processor.subscribe(StreamConfig(modes="updates", subgraphs=True))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            update(logger, **{"graph.ns": 7})
    update(logger)
    assert (processor.failures, len(held(receiver))) == (2, 1)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Reading a log record as a stream part failed; ")


def test_a_policy_that_cannot_be_kept_is_refused_with_the_remedy(processor):
    with pytest.raises(ConfigError) as caught:
        processor.subscribe(StreamConfig(modes="updates", overflow="block"))
    assert str(caught.value) == (
        "StreamConfig.overflow: 'block' can't be kept, a log record waits for nobody; "
        "choose drop_oldest, drop_newest, coalesce or error"
    )


def test_a_clone_of_a_receiver_gets_what_comes_from_then_on(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes="updates"))
    update(logger, "1")
    clone = receiver.clone()
    update(logger, "2")
    assert (brief(receiver), brief(clone)) == ([("updates", 1), ("updates", 2)], [("updates", 2)])


# -- states as what changed, bodies in pieces, the end --------------------------------------------


def values(logger, seq, body, **about):
    about = {NAMES[name]: value for name, value in about.items()}
    logger.emit(event_name="graph.values", body=body, attributes=ABOUT | {"graph.stream.seq": seq} | about)


NAMES = {
    "graph_values_encoding": "graph.values.encoding",
    "graph_values_base_seq": "graph.values.base_seq",
    "graph_stream_body_form": "graph.stream.body.form",
}
KEYFRAME = {"graph_values_encoding": "keyframe"}
DELTA = {"graph_values_encoding": "delta"}


def test_states_are_complete_from_the_first_keyframe_on(processor, logger):
    values(logger, 0, '{"a":1,"b":["x"]}', **KEYFRAME)
    receiver = processor.subscribe(StreamConfig(modes="values"))
    values(logger, 1, '{"=a":2}', **DELTA, graph_values_base_seq=0)
    assert (held(receiver), processor.skipped) == ([], 1)
    values(logger, 2, '{"a":3,"b":["x"]}', **KEYFRAME)
    values(logger, 3, '{"=a":4,"+b":["y"]}', **DELTA, graph_values_base_seq=2)
    values(logger, 5, '{"=a":5}', **DELTA, graph_values_base_seq=4)  # the one before is lost
    values(logger, 6, '{"=a":6}', **DELTA, graph_values_base_seq=5)
    assert [(part.seq, part.data) for part in held(receiver)] == [
        (2, {"a": 3, "b": ["x"]}),
        (3, {"a": 4, "b": ["x", "y"]}),
    ]
    assert processor.skipped == 3


def test_nothing_is_made_of_a_change_to_a_state_that_was_cut(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes="values"))
    values(logger, 0, '{"a":1,"b":"wo', **KEYFRAME, graph_stream_body_form="cut")
    values(logger, 1, '{"=a":2}', **DELTA, graph_values_base_seq=0)
    assert (brief(receiver), processor.skipped) == ([("values", '{"a":1,"b":"wo')], 1)


def test_a_body_in_pieces_becomes_one_part(processor, logger):
    receiver = processor.subscribe(StreamConfig(modes="values"))
    for pieces in (["x]"], ["[1,", "2,", "3]"], ["[4", ",5]"], ["[6", None], ["[7", "]"]):
        for number, piece in enumerate(pieces):
            about = {"graph.stream.body.chunk": number, "graph.stream.body.chunks": max(2, len(pieces))}
            if pieces == ["x]"]:
                about["graph.stream.body.chunk"] = 1  # its first piece came before the receiver did
            if piece is not None:
                logger.emit(event_name="graph.values", body=piece, attributes=ABOUT | about)
    assert brief(receiver) == [("values", [1, 2, 3]), ("values", [4, 5]), ("values", [7])]


def test_the_end_of_a_run_is_told_to_who_wants_it(processor, logger):
    with_end = processor.subscribe(StreamConfig(modes="updates", include_end=True))
    without = processor.subscribe(StreamConfig(modes="updates"))
    logger.emit(event_name="graph.run_end", body="ok", attributes=ABOUT | {"graph.run.end": "cancelled"})
    assert brief(with_end) == [("end", {"end": "cancelled", "error": None, "interrupts": ()})]
    assert held(without) == []


def test_the_oldest_part_goes_where_no_policy_was_chosen(processor):
    receiver = processor.subscribe(StreamConfig(modes="updates"))
    assert receiver.config.overflow is OverflowPolicy.DROP_OLDEST


# -- from end to end ------------------------------------------------------------------------------


async def test_what_a_run_exports_is_what_its_own_receiver_gets(processor):
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(processor)
    _logs.set_logger_provider(loggers)
    modes = ("values", "updates", "custom", "tasks")
    set_options(TelemetryOptions(modes=frozenset(modes), event_content=True))

    def plan(state, writer):
        writer({"half": ["way"]})
        return {"x": 1, "long": "word " * 500}

    def act(state):
        return {"x": state["x"] + 1}

    graph = StateGraph(dict)
    graph.add_node("plan", plan).add_node("act", act).add_edge(START, "plan").add_edge("plan", "act")
    config = StreamConfig(modes=modes, include_end=True, overflow="drop_oldest")
    far = processor.subscribe(config)
    async with graph.compile(name="g").open_stream({"x": 0}, config) as stream:
        near = [part async for part in stream]
    received = held(far)
    assert [part.to_json() for part in received[:-1]] == [part.to_json() for part in near[:-1]]
    assert [(part.type, part.data) for part in (received[-1], near[-1])] == [
        ("end", {"end": "ok", "error": None, "interrupts": ()})
    ] * 2
    assert (len(near), processor.skipped, processor.failures) == (11, 0, 0)
