"""What was exported, told again: the parts and states of the live receiver, or exactly what is missing."""

import json
import random

import pytest

from otel_stream.encoding import decode, encode
from otel_stream.replay import Hole, ReplayError, replay
from tests.otel_stream.replay.stores import collected, in_loki, numbered, records_of, without


def told(runs):
    return {run.id: [part.to_json() for part in run.parts] for run in runs}


def test_parts_are_those_of_the_live_receiver_byte_for_byte(recorded):
    found = replay(recorded.path)
    assert told(found.runs) == recorded.live
    assert [(run.graph, run.end, run.complete) for run in found.runs] == [
        ("outer", "interrupted", True),
        ("outer", "ok", True),
        ("broken", "error", True),
    ]
    assert {part.type for part in found.parts} == {
        "values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"
    }  # fmt: skip


def test_states_are_those_of_the_live_receiver_subgraphs_included(recorded):
    found = replay(str(recorded.path))
    live = [decode(line) for lines in recorded.live.values() for line in lines]
    assert [(state.seq, list(state.ns), encode(state.values)) for state in found.states] == [
        (part["seq"], part["ns"], encode(part["data"])) for part in live if part["type"] == "values"
    ]
    assert len({state.ns for state in found.states}) == 4
    assert all(state.trusted for state in found.states)


def test_most_states_left_the_process_as_deltas(recorded):
    encodings = [about.get("graph.values.encoding") for about, _ in records_of(recorded.lines)]
    assert encodings.count("delta") > 5 * encodings.count("keyframe")


def test_and_together_where_they_waited_together(joined):
    about = [about for about, _ in records_of(joined.lines)]
    assert any(one.get("graph.values.rows", 0) > 3 for one in about)
    assert all(run.complete for run in replay(joined.path).runs)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_another_order_other_batches_and_repetition_change_nothing(recorded, batch):
    lines = collected(recorded.lines, batch, random.Random(batch))
    assert told(replay(lines).runs) == recorded.live


@pytest.mark.parametrize("categorised", [False, True])
def test_from_loki_comes_the_same(recorded, categorised, tmp_path):
    path = tmp_path / "loki.json"
    path.write_text(json.dumps(in_loki(recorded.lines, categorised=categorised), indent=1))
    assert told(replay(path).runs) == recorded.live


# -- what is missing ------------------------------------------------------------------------------


def test_every_record_that_is_removed_is_named_and_nothing_wrong_is_told(recorded):
    """One after the other, all of them: whatever is told is true, and the hole has the record's number."""
    whole = replay(recorded.path).runs[1]
    live = recorded.live[whole.id]
    numbers = sorted(numbered(recorded.lines, whole.id))
    for number in numbers[:-1]:
        run = replay(without(recorded.lines, whole.id, {number})).run(whole.id)
        assert [(hole.first, hole.last) for hole in run.holes] == [(number, number)]
        assert not run.complete
        assert set(told([run])[run.id]) < set(live)


def test_a_hole_says_which_states_cannot_be_trusted_until_a_digest_agrees_again(recorded):
    run = replay(recorded.path).runs[0]
    about = [about for about, _ in records_of(recorded.lines) if about["graph.run.id"] == run.id]
    root = [a for a in about if a["graph.stream.mode"] == "values" and "graph.ns" not in a]
    gone = root[10]["graph.log.seq"]
    found = replay(without(recorded.lines, run.id, {gone})).run(run.id)
    seq = root[10]["graph.stream.seq"]
    doubtful = [state for state in found.states if not state.trusted]
    assert doubtful
    assert doubtful[0].why == f"part {seq}, which it builds on, is missing"
    assert [state.ns for state in doubtful] == [()] * len(doubtful)
    assert found.problems()[0] == str(Hole(gone, gone, *_around(about, gone)))
    sound = {part.seq: part.to_json() for part in found.parts}
    live = {decode(line)["seq"]: line for line in recorded.live[run.id]}
    assert sound == {number: live[number] for number in sound}
    assert set(live) - set(sound) == {seq, *(state.seq for state in doubtful)}


def _around(about, gone):
    seqs = {one["graph.log.seq"]: one.get("graph.stream.seq") for one in about}
    return seqs[gone - 1], seqs[gone + 1]


def test_the_first_and_the_last_records_are_missed_too(recorded):
    run = replay(recorded.path).runs[1]
    last = max(numbered(recorded.lines, run.id))
    first = replay(without(recorded.lines, run.id, {0, 1})).run(run.id)
    assert first.problems()[0].startswith("log events 0 to 1 are missing, before part ")
    cut = replay(without(recorded.lines, run.id, {last})).run(run.id)
    assert cut.problems() == ["how the run ended is unknown: it goes on, or its last log events are missing"]


def test_a_body_that_was_changed_on_its_way_is_found_by_its_digest(recorded):
    lines = [
        line.replace('\\"n\\":24', '\\"n\\":42').replace('\\"=n\\":24', '\\"=n\\":42')
        for line in recorded.lines
    ]
    run = replay(lines).runs[0]
    assert any("its digest is another one" in problem for problem in run.problems())
    live = {decode(line)["seq"]: decode(line)["data"] for line in recorded.live[run.id]}
    assert all(part.data == live[part.seq] for part in run.parts if part.type == "values")


def test_a_piece_of_a_long_body_that_is_missing_makes_the_state_unknown(joined):
    about = [about for about, _ in records_of(joined.lines) if about.get("graph.stream.body.chunk") == 1]
    gone, id = about[0]["graph.log.seq"], about[0]["graph.run.id"]
    run = replay(without(joined.lines, id, {gone})).run(id)
    (first, *_) = [state for state in run.states if not state.trusted]
    assert (first.seq, first.why) == (about[0]["graph.stream.seq"], "its content was cut")


# -- what was never exported ----------------------------------------------------------------------


def test_long_states_are_spread_and_long_parts_are_cut_and_said_to_be(joined):
    found = replay(joined.path)
    values = {
        run: [line for line in lines if decode(line)["type"] == "values"]
        for run, lines in joined.live.items()
    }
    assert {
        run.id: [part.to_json() for part in run.parts if part.type == "values"] for run in found.runs
    } == values
    cut = [part.type for run in found.runs for part in run.withheld]
    assert set(cut) <= {"checkpoints", "debug", "tasks"}
    assert cut
    assert all(run.complete for run in found.runs)


def test_chunks_of_a_message_are_one_part_that_says_how_many_there_were(joined):
    run = replay(joined.path).runs[0]
    messages = [
        part for part in run.parts if part.type == "messages" and part.data[0]["type"] == "AIMessageChunk"
    ]
    assert {part.data[0]["content"] for part in messages} == {"replayed ü"}
    live = [decode(line) for line in joined.live[run.id]]
    chunks = [
        part for part in live if part["type"] == "messages" and part["data"][0]["type"] == "AIMessageChunk"
    ]
    assert len(chunks) == 3 * len(messages)
    triples = zip(*[iter(sorted(chunks, key=_message))] * 3, strict=True)
    assert {part.seq: run.joined[part.seq] for part in messages} == {
        last["seq"]: (first["seq"], 3) for first, _, last in triples
    }


def _message(part):
    return part["task_id"], part["data"][0]["id"], part["seq"]


def test_without_content_every_part_is_known_of_and_none_is_shown(summarised):
    found = replay(summarised.path)
    assert found.parts == ()
    live = [decode(line) for lines in summarised.live.values() for line in lines]
    told_of = {(part.run_id, part.seq) for run in found.runs for part in run.withheld}
    one_of_three = {(p["run_id"], p["seq"]) for p in live if p["type"] != "messages"}
    assert one_of_three <= told_of
    assert {state.why for state in found.states} == {"its content was not exported"}


# -- what can't be replayed at all ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: give a file of OTLP JSON lines, or Loki's answer to a query_range."),
        ("what?", "is no JSON: give a file of OTLP JSON lines, or Loki's answer to a query_range."),
        (
            '{"resourceSpans": []}\n',
            "has no log events of graph runs: were they exported (OTEL_LOGS_EXPORTER, modes), and was",
        ),
        (
            '{"resourceSpans": []}\n{"resourceLogs": [\n{\n',
            (
                "has no log events of graph runs but in what can't be read: line 2 is no JSON object; "
                "it may have been cut off, and 1 more."
            ),
        ),
        (
            '{"resourceLogs": [{"scopeLogs": 3}]}\n',
            "a document looks like OTLP JSON or Loki's answer, but is not in that form",
        ),
    ],
)
def test_what_is_nothing_to_replay_is_said_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(ReplayError) as caught:
        replay(path)
    assert message in str(caught.value)


def test_a_line_that_was_cut_off_is_said_and_the_others_are_told(recorded):
    found = replay([*recorded.lines, recorded.lines[0][:50]])
    assert found.damaged == (f"line {len(recorded.lines) + 1} is no JSON object; it may have been cut off",)
    assert told(found.runs) == recorded.live


def test_a_mark_that_an_editor_has_put_before_the_first_line_is_no_part_of_it(recorded, tmp_path):
    path = tmp_path / "file"
    path.write_text("\ufeff" + recorded.path.read_text())
    assert told(replay(path).runs) == recorded.live


def test_a_state_is_found_by_its_superstep(recorded):
    run = replay(recorded.path).runs[0]
    assert run.state_at(3).step == 3
    assert run.state_at(10_000) == [state for state in run.states if state.ns == ()][-1]
    with pytest.raises(ReplayError, match=r"step -9 has no state: there are states from 0 to "):
        run.state_at(-9)


def test_a_run_is_found_by_the_beginning_of_its_id(recorded):
    found = replay(recorded.path)
    assert found.run(found.runs[2].id[:8]) is found.runs[2]
    with pytest.raises(ReplayError, match=r"^there are 3 runs: say which one"):
        found.run()
    with pytest.raises(ReplayError, match=r"^'nope' is the id of 0 runs: give one of "):
        found.run("nope")
