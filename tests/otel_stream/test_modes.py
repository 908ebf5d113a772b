"""Each mode's parts, made of events by hand: whole lists, in LangGraph's order and shape."""

import dataclasses
import json
from contextvars import copy_context
from typing import Any

import pytest

from otel_stream.config import MODES, Custom, StreamConfig
from otel_stream.events import (
    CheckpointSaved,
    CustomWritten,
    End,
    MessageWritten,
    Run,
    RunEnded,
    RunInterrupted,
    RunStarted,
    Task,
    TaskEnded,
    TaskStarted,
    ValuesChanged,
)
from otel_stream.stream.modes import StreamPart, v1_payload, v2_payload
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream

SECOND = 1_000_000_000


@dataclasses.dataclass
class Interrupt:
    value: Any
    id: str
    response_schema: Any = None


RUN = Run("run", "graph", context=copy_context(), tags=("t",))
TASK = Task(RUN, "a", 1, input={"log": []}, triggers=("branch:to:a",), id="id-a")
CHECKPOINT = CheckpointSaved(
    RUN,
    0,
    {"configurable": {"thread_id": "1", "checkpoint_id": "c1"}},
    None,
    {"log": ["x"]},
    {"source": "loop", "step": 0, "parents": {}},
    ("a",),
    ({"id": "id-a", "name": "a", "interrupts": (), "state": None},),
    1 * SECOND,
)
CHECKPOINT_DATA = {
    "config": {"configurable": {"thread_id": "1", "checkpoint_id": "c1"}},
    "parent_config": None,
    "values": {"log": ["x"]},
    "metadata": {"source": "loop", "step": 0, "parents": {}},
    "next": ["a"],
    "tasks": [{"id": "id-a", "name": "a", "interrupts": (), "state": None}],
}
TASK_DATA = {"id": "id-a", "name": "a", "input": {"log": []}, "triggers": ("branch:to:a",)}


def ended(end=End.OK, update=None, result=None, error=None, interrupts=(), cached=False, time=0, values=None):
    return TaskEnded(TASK, end, update, result or {}, error, interrupts, cached, time, values)


def parts(events, modes, **settings):
    receiver = StreamReceiver(StreamConfig(modes=modes, **settings))
    stream = Stream([receiver])
    for event in events:
        stream.emit(event)
    return list(iter(receiver.take_nowait, None))


def data(events, modes):
    return [(part.type, part.data) for part in parts(events, modes)]


def test_values_show_the_state_and_what_it_waits_for():
    pending = (Interrupt("name?", "i1"),)
    events = [
        ValuesChanged(RUN, 1, {"log": ["a"]}, 0),
        ended(End.INTERRUPTED, interrupts=pending, values={"log": ["a"]}),
    ]
    got = parts(events, "values")
    assert [(part.data, part.interrupts) for part in got] == [({"log": ["a"]}, ()), ({"log": ["a"]}, pending)]
    assert [v1_payload(part) for part in got] == [{"log": ["a"]}, {"log": ["a"], "__interrupt__": pending}]
    assert [v2_payload(part) for part in got] == [
        {"type": "values", "ns": (), "data": {"log": ["a"]}, "interrupts": ()},
        {"type": "values", "ns": (), "data": {"log": ["a"]}, "interrupts": pending},
    ]


def test_a_state_that_is_no_mapping_gives_way_to_its_interrupts_in_v1():
    pending = (Interrupt("name?", "i1"),)
    got = parts(
        [ValuesChanged(RUN, 1, "state", 0), ended(End.INTERRUPTED, interrupts=pending, values="state")],
        "values",
    )
    assert [v1_payload(part) for part in got] == ["state", {"__interrupt__": pending}]


def test_updates_show_what_each_task_wrote():
    pending = (Interrupt("name?", "i1"),)
    nested = Run("sub", "inner", context=copy_context(), ns=("a:id-a",), parent=TASK)
    events = [
        TaskStarted(TASK, 0),
        ended(update={"log": ["a"]}),
        ended(update=[{"log": ["a"]}, {"log": ["b"]}]),
        ended(update=None),
        ended(update={"n": 1}, cached=True),
        ended(End.INTERRUPTED, interrupts=pending),
        RunInterrupted(RUN, 1, pending, 0),
        ended(End.INTERRUPTED),
        ended(End.ERROR, error=ValueError("x")),
        ended(End.TIMEOUT, error=TimeoutError()),
        ended(End.CANCELLED),
        RunInterrupted(nested, 1, (), 0),
        RunInterrupted(RUN, 1, (), 0),
    ]
    assert data(events, "updates") == [
        ("updates", {"a": {"log": ["a"]}}),
        ("updates", {"a": [{"log": ["a"]}, {"log": ["b"]}]}),
        ("updates", {"a": None}),
        ("updates", {"a": {"n": 1}, "__metadata__": {"cached": True}}),
        ("updates", {"__interrupt__": pending}),
        ("updates", {"__interrupt__": ()}),
    ]


def test_tasks_show_every_start_and_every_result():
    error = ValueError("x")
    events = [
        TaskStarted(TASK, 0),
        TaskStarted(Task(RUN, "b", 1, input=3, id="id-b", metadata={"lc_agent_name": "z"}), 0),
        ended(update={"n": 1}, result={"n": 1}),
        ended(result={"n": {"$writes": [1, 2]}}, cached=True),
        ended(End.CANCELLED),
        ended(End.ERROR, error=error),
        ended(End.INTERRUPTED, interrupts=(Interrupt("name?", "i1", {"type": "string"}),)),
    ]
    result = {"id": "id-a", "name": "a", "error": None, "result": {}, "interrupts": []}
    asked = {"value": "name?", "id": "i1", "response_schema": {"type": "string"}}
    assert data(events, "tasks") == [
        ("tasks", TASK_DATA),
        (
            "tasks",
            {"id": "id-b", "name": "b", "input": 3, "triggers": (), "metadata": {"lc_agent_name": "z"}},
        ),
        ("tasks", result | {"result": {"n": 1}}),
        ("tasks", result | {"result": {"n": {"$writes": [1, 2]}}}),
        ("tasks", result),
        ("tasks", result | {"error": error}),
        ("tasks", result | {"interrupts": [asked]}),
    ]


def test_an_interrupt_that_is_no_dataclass_is_shown_by_its_attributes():
    class Foreign:
        value, id = "name?", "i1"

    assert data([ended(End.INTERRUPTED, interrupts=(Foreign(),))], "tasks")[0][1]["interrupts"] == [
        {"value": "name?", "id": "i1", "response_schema": None}
    ]


def test_checkpoints_show_what_was_saved_and_what_comes_next():
    assert data([CHECKPOINT], "checkpoints") == [("checkpoints", CHECKPOINT_DATA)]


def test_debug_wraps_checkpoints_and_tasks_with_step_and_time():
    result = {"id": "id-a", "name": "a", "error": None, "result": {"n": 1}, "interrupts": []}
    events = [CHECKPOINT, TaskStarted(TASK, 1_500_000_000), ended(result={"n": 1}, time=1_000_001_999)]
    assert data(events, "debug") == [
        (
            "debug",
            {
                "step": 0,
                "timestamp": "1970-01-01T00:00:01.000000+00:00",
                "type": "checkpoint",
                "payload": CHECKPOINT_DATA,
            },
        ),
        (
            "debug",
            {
                "step": 1,
                "timestamp": "1970-01-01T00:00:01.500000+00:00",
                "type": "task",
                "payload": TASK_DATA,
            },
        ),
        (
            "debug",
            {
                "step": 1,
                "timestamp": "1970-01-01T00:00:01.000001+00:00",
                "type": "task_result",
                "payload": result,
            },
        ),
    ]


def test_custom_and_messages_are_passed_on_by_reference():
    written, chunk, metadata = {"from": ["a"]}, object(), {"langgraph_node": "a"}
    got = parts(
        [CustomWritten(TASK, written, 0), MessageWritten(TASK, chunk, metadata, 0)], ["custom", "messages"]
    )
    assert [part.type for part in got] == ["custom", "messages"]
    assert got[0].data is written
    assert got[1].data[0] is chunk
    assert got[1].data[1] is metadata


def test_a_written_none_is_a_part_too():
    assert data([CustomWritten(TASK, None, 0)], "custom") == [("custom", None)]


def test_the_modes_of_one_event_follow_each_other_as_in_langgraph():
    pending = (Interrupt("name?", "i1"),)
    events = [
        RunStarted(RUN, {}, False, 0),
        ValuesChanged(RUN, -1, {"log": []}, 0),
        CHECKPOINT,
        TaskStarted(TASK, 0),
        CustomWritten(TASK, 1, 0),
        MessageWritten(TASK, "x", {}, 0),
        ended(End.INTERRUPTED, interrupts=pending, values={"log": []}),
        RunEnded(RUN, End.INTERRUPTED, None, None, pending, 1, 0),
    ]
    got = parts(events, frozenset(MODES), include_end=True)
    assert [part.type for part in got] == [
        "values",
        "checkpoints",
        "debug",
        "tasks",
        "debug",
        "custom",
        "messages",
        "updates",
        "values",
        "tasks",
        "debug",
        "end",
    ]
    assert [part.seq for part in got] == list(range(12))
    assert got[-1].data == {"end": "interrupted", "error": None, "interrupts": pending}


@pytest.mark.clause("S-DEL-4")
def test_a_part_already_made_never_changes():
    state, given, update = {"log": ["a"]}, {"log": ["a"]}, {"log": ["a"]}
    task = Task(RUN, "a", 1, input=given, id="id-a")
    events = [
        ValuesChanged(RUN, 1, state, 0),
        TaskStarted(task, 0),
        TaskEnded(task, End.OK, update, update, None, (), False, 0),
        CheckpointSaved(RUN, 1, {}, None, state, {}, (), (), 0),
    ]
    got = parts(events, ["values", "tasks", "updates", "checkpoints"])
    for changed in (state, given, update):
        changed["log"].append("b")
    assert [got[0].data, got[1].data["input"], got[2].data, got[3].data["result"], got[4].data["values"]] == [
        {"log": ["a"]},
        {"log": ["a"]},
        {"a": {"log": ["a"]}},
        {"log": ["a"]},
        {"log": ["a"]},
    ]


@pytest.mark.clause("S-FIL-3")
def test_a_custom_mode_makes_its_own_parts_of_any_event():
    ends = Custom(lambda event: event.end.value if isinstance(event, TaskEnded) else None, "ends")
    starts = Custom(lambda event: event.task.node, "starts", events=(TaskStarted,))
    events = [RunStarted(RUN, {}, False, 0), TaskStarted(TASK, 0), ended(), ended(End.CANCELLED)]
    assert data(events, [starts, ends]) == [("starts", "a"), ("ends", "ok"), ("ends", "cancelled")]


def test_a_custom_mode_that_names_its_events_wants_no_other():
    narrow = Stream([StreamReceiver(StreamConfig(modes=Custom(print, "x", events=(TaskStarted,))))])
    assert narrow.interest == TaskStarted.bit | RunEnded.bit


@pytest.mark.parametrize("metadata", [True, False])
def test_a_part_as_dict_and_as_json_agree(metadata):
    part = parts([ValuesChanged(RUN, 1, {"log": ["a"]}, 5)], "values")[0]
    known = {"seq": 0, "time_unix_nano": 5, "run_id": "run", "graph": "graph", "step": 1, "tags": ("t",)}
    whole = {"type": "values", "ns": (), "data": {"log": ["a"]}, "interrupts": ()} | (
        known if metadata else {}
    )
    assert part.to_dict(metadata) == whole
    assert json.loads(part.to_json(metadata)) == json.loads(json.dumps(whole))


def test_without_metadata_a_part_is_its_mode_namespace_and_data():
    assert parts([CustomWritten(TASK, 1, 5)], "custom", include_metadata=False) == [
        StreamPart("custom", (), 1)
    ]
    assert parts([CustomWritten(TASK, 1, 5)], "custom") == [
        StreamPart("custom", (), 1, 0, 5, "run", "graph", 1, "a", "id-a", 1, None, None, ("t",))
    ]
