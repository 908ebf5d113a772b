"""Messages of models are one log event each, when they are complete."""

import json
from contextvars import copy_context

import hypothesis.strategies as st
import pytest
from hypothesis import given
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessageChunk

from otel_stream import events as e
from otel_stream.events import Run, Task
from otel_stream.parts import StreamPart
from otel_stream.telemetry import TelemetryOptions
from otel_stream.telemetry.logs.messages import Messages

CONTENT = TelemetryOptions(event_content=True)


def say(scene, task, chunk):
    scene.part(
        "messages", (chunk, {"model": "m"}), e.MessageWritten(task, chunk, {"model": "m"}, scene.now())
    )


def told(scene):
    """(seq, first seq, parts, id, body) of every message."""
    names = (
        "graph.stream.seq",
        "graph.stream.aggregate.first_seq",
        "graph.stream.aggregate.parts",
        "graph.message.id",
    )
    return [
        (*(record.attributes.get(name) for name in names), json.loads(record.body))
        for record in scene.records()
        if record.event_name == "graph.messages"
    ]


def begin(scene, *nodes):
    run = scene.run()
    tasks = scene.step(run, *nodes)
    for task in tasks:
        scene.start(task)
    return run, tasks


def contents(scene):
    return [(*about[:4], about[4][0]["content"], about[4][1]) for about in told(scene)]


def test_chunks_become_one_event_with_the_last_one(make_scene):
    scene = make_scene(options=CONTENT)
    _, (task,) = begin(scene, "talk")
    for word, last in (("a", None), ("b", None), ("c", "last")):
        assert told(scene) == []
        say(scene, task, AIMessageChunk(word, id="m", chunk_position=last))
    assert contents(scene) == [(2, 0, 3, "m", "abc", {"model": "m"})]
    assert scene.records()[0].span_id == int(task.span_id, 16)


def test_messages_side_by_side_are_told_apart(make_scene):
    scene = make_scene(options=CONTENT)
    _, tasks = begin(scene, "a", "b")
    for word, last in (("x", None), ("y", "last")):
        for task in tasks:
            for id in ("m", "n"):
                say(scene, task, AIMessageChunk(task.node + id + word, id=id, chunk_position=last))
    assert contents(scene) == [
        (4, 0, 2, "m", "amxamy", {"model": "m"}),
        (5, 1, 2, "n", "anxany", {"model": "m"}),
        (6, 2, 2, "m", "bmxbmy", {"model": "m"}),
        (7, 3, 2, "n", "bnxbny", {"model": "m"}),
    ]


@pytest.mark.parametrize("chunk", [AIMessage("whole", id="w"), AIMessageChunk("whole")])
def test_a_whole_message_and_one_without_identity_wait_for_nothing(make_scene, chunk):
    scene = make_scene(options=CONTENT)
    _, (task,) = begin(scene, "talk")
    say(scene, task, chunk)
    assert contents(scene) == [(0, None, None, chunk.id, "whole", {"model": "m"})]


def test_what_is_not_complete_comes_when_its_task_has_ended(make_scene):
    scene = make_scene(options=CONTENT)
    _, (a, b) = begin(scene, "a", "b")
    for task in (a, b):
        say(scene, task, AIMessageChunk("x", id=task.node))
    scene.part("updates", {"a": {}}, scene.finish(a))
    assert [record.event_name for record in scene.records()] == ["graph.messages", "graph.updates"]
    assert [about[3] for about in told(scene)] == ["a"]


@pytest.mark.parametrize("end", [e.End.ERROR, e.End.CANCELLED, e.End.ABANDONED, e.End.OK])
def test_or_with_its_run_however_it_ends(make_scene, end):
    scene = make_scene(options=CONTENT)
    run, (task,) = begin(scene, "talk")
    say(scene, task, AIMessageChunk("x", id="m"))
    scene.end(run, end)
    assert contents(scene) == [(0, None, None, "m", "x", {"model": "m"})]
    last = scene.records()[-1]
    assert (last.event_name, last.attributes["graph.run.end"], last.attributes["graph.log.seq"]) == (
        "graph.run_end", end.value, 1
    )  # fmt: skip


def test_without_content_only_lengths_are_kept(scene):
    _, (task,) = begin(scene, "talk")
    for last in (None, "last"):
        say(scene, task, AIMessageChunk("canary", id="m", chunk_position=last))
    assert told(scene) == [(1, 0, 2, "m", {"type": "AIMessageChunk", "size": 12})]


def test_chunks_are_events_of_their_own_where_that_is_asked_for(make_scene):
    scene = make_scene(options=TelemetryOptions(event_content=True, messages="chunks"))
    _, (task,) = begin(scene, "talk")
    for last in (None, "last"):
        say(scene, task, AIMessageChunk("x", id="m", chunk_position=last))
    assert [(about[0], about[4][0]["content"]) for about in told(scene)] == [(0, "x"), (1, "x")]


class TextChunk:
    """Chunks of anybody's: what they add up to is theirs to know."""

    def __init__(self, content):
        self.content, self.id = content, "m"

    def __add__(self, other):
        if not isinstance(other, TextChunk):
            raise TypeError
        return TextChunk(self.content + other.content)

    def model_dump(self):
        return {"content": self.content}


class LoneChunk(TextChunk):
    __add__ = None


@pytest.mark.parametrize(
    ("kind", "shown"), [(TextChunk, {"content": "xyz"}), (LoneChunk, [{"content": c} for c in "xyz"])]
)
def test_chunks_that_are_not_langchains(make_scene, kind, shown):
    scene = make_scene(options=CONTENT)
    run, (task,) = begin(scene, "talk")
    for word in "xyz":
        say(scene, task, kind(word))
    scene.end(run)
    assert [about[4][0] for about in told(scene)] == [shown]


def test_messages_that_never_end_do_not_pile_up(make_scene):
    scene = make_scene(options=CONTENT)
    _, (task,) = begin(scene, "talk")
    for number in range(100):
        say(scene, task, ToolMessageChunk("x", id=str(number), tool_call_id="t"))
    assert [about[3] for about in told(scene)] == [str(number) for number in range(36)]


class NothingKnown(set):
    """Has every chunk looked at as if it were the first of its kind."""

    def add(self, kind):
        pass


def shown(message):
    data = message.part.data[0]
    data = data.model_dump() if hasattr(data, "model_dump") else data
    return message.part.seq, message.first_seq, message.parts, message.size, type(message.event), data


CHUNKS = st.one_of(
    st.builds(
        AIMessageChunk,
        content=st.sampled_from(["", "a", "bc", ["d"], [{"type": "text", "text": "e"}]]),
        id=st.sampled_from([None, "m", "n"]),
        chunk_position=st.sampled_from([None, None, None, "last"]),
    ),
    st.builds(AIMessage, content=st.just("whole"), id=st.sampled_from([None, "m"])),
    st.sampled_from([None, "m", 5]).map(lambda name: {"id": name, "content": "x"}),
    st.builds(TextChunk, st.sampled_from(["y", None])),
)


@given(st.lists(st.tuples(st.sampled_from("ab"), CHUNKS | st.just("ends"))), st.booleans(), st.booleans())
def test_a_chunk_like_the_one_before_is_joined_as_any_other(steps, keep, unnamed):
    run = Run("r", "g", context=copy_context())
    tasks = {name: Task(run, name, 1, id=name) for name in "ab"}
    ways = [Messages(keep=keep, unnamed=unnamed) for _ in range(2)]
    ways[1]._known = NothingKnown()
    told = [[], []]
    for seq, (name, chunk) in enumerate(steps):
        for way, into in zip(ways, told, strict=True):
            if chunk == "ends":
                done = way.end(name)
            else:
                part = StreamPart("messages", (), (chunk, {}), seq, task_id=name)
                done = way.add(part, e.MessageWritten(tasks[name], chunk, {}, seq))
            into += [(seq, *shown(message)) for message in done]
            assert way.waiting == ways[0].waiting
    for way, into in zip(ways, told, strict=True):
        into += [("end", *shown(message)) for message in way.end()]
    assert told[0] == told[1]


PIECES = [
    {"id": "m", "type": "AIMessageChunk", "content": "ab", "role": "assistant", "n": 1},
    {"id": "m", "type": "AIMessageChunk", "content": None, "usage": {"total": 3}},
    {
        "id": "m",
        "type": "AIMessageChunk",
        "content": "c",
        "tool_calls": [{"index": 0, "name": "f", "function": {"arguments": "{"}}],
    },
    {
        "id": "m",
        "type": "AIMessageChunk",
        "tool_calls": [{"index": 0, "function": {"arguments": "}"}}],
        "n": 2,
    },
]
WHOLE = {
    "id": "m",
    "type": "AIMessageChunk",
    "content": "abc",
    "role": "assistant",
    "n": 2,
    "usage": {"total": 3},
    "tool_calls": [{"index": 0, "name": "f", "function": {"arguments": "{}"}}],
}


def test_chunks_that_are_mappings_become_one_event_with_the_texts_of_all(make_scene):
    scene = make_scene(options=CONTENT)
    run, (task,) = begin(scene, "talk")
    for piece in PIECES:
        say(scene, task, piece)
    scene.end(run)
    assert told(scene) == [(3, 0, 4, "m", [WHOLE, {"model": "m"}])]
    assert PIECES[2]["tool_calls"][0]["function"] == {"arguments": "{"}
