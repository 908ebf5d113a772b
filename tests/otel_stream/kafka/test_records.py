"""The encoding of records: what is written is read, and what is missing or comes twice is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stream.events import End
from otel_stream.kafka.records import ForeignRecordError, Kind, Origin, end_of, end_part, envelope, part_of
from otel_stream.kafka.remote import _Sequence
from otel_stream.parts import AggregateOf, StreamPart

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object)
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=8,
)
NUMBERS = st.none() | st.integers(0, 2**62)
PARTS = st.builds(
    StreamPart,
    st.sampled_from(["values", "updates", "messages", "custom", "end", "own"]),
    st.lists(st.text()).map(tuple),
    DATA,
    seq=NUMBERS,
    time_unix_nano=NUMBERS,
    run_id=st.none() | st.text(),
    node=st.none() | st.text(),
    tags=st.lists(st.text()).map(tuple),
    interrupts=st.none() | st.lists(DATA).map(tuple),
    aggregate=st.none() | st.builds(AggregateOf, st.integers(1, 9), NUMBERS, NUMBERS, NUMBERS, NUMBERS),
)


@given(PARTS)
def test_a_part_that_was_read_is_written_as_it_was(part: StreamPart) -> None:
    text = part.to_json()
    again = part_of(text)
    assert again.to_json() == text
    assert (again.type, again.seq, again.time_unix_nano, again.run_id) == (
        part.type, part.seq, part.time_unix_nano, part.run_id,
    )  # fmt: skip


@given(st.text(), st.text(), st.sampled_from(list(Kind)), NUMBERS)
def test_headers_say_what_was_put_into_them(stream, producer, kind, number) -> None:
    try:
        stream.encode(), producer.encode()
    except UnicodeEncodeError:
        return
    told = envelope(Origin(stream, producer).headers(kind, number, None))
    assert told is not None
    assert (told.kind, told.number, told.origin) == (kind, number, Origin(stream, producer))


@given(
    st.lists(st.tuples(st.sampled_from(["otel-stream", "kind", "number", "stream", "producer"]), st.binary()))
)
def test_headers_of_others_are_none_of_ours_or_refused(headers) -> None:
    if not any(name == "otel-stream" for name, _ in headers):
        assert envelope(headers) is None
        return
    with pytest.raises(ForeignRecordError, match=r"version|can't be read"):
        envelope(headers)


@given(st.binary())
def test_values_of_others_are_refused(value) -> None:
    with pytest.raises(ForeignRecordError, match=r"^the value of a record is no part: "):
        part_of(value)


@pytest.mark.parametrize("end", list(End))
def test_how_a_run_ended_is_read_as_it_was_written(end) -> None:
    error = ValueError("no such thing") if end.failed else None
    told = {"type": "ValueError", "message": "no such thing"} if end.failed else None
    assert end_of(part_of(end_part("run", end, error).to_json())) == (end, told)


@given(st.integers(1, 30), st.data())
def test_whatever_is_sent_again_or_missing_each_part_is_shown_once_and_every_gap_is_told(count, data) -> None:
    """Of a run's records some are forgotten from the beginning on, and stretches of the rest come again."""
    parts = [StreamPart("custom", (), number, seq=2 * number, run_id="run") for number in range(count)]
    forgotten = data.draw(st.integers(0, count - 1))
    arrived, next_one = [], forgotten
    while next_one < count:
        back = data.draw(st.integers(0, next_one - forgotten))
        until = data.draw(st.integers(next_one + 1, count))
        arrived += range(next_one - back, until)
        next_one = until
    sequence = _Sequence(None, joined_late=False)
    shown = []
    for number in arrived:
        told = envelope(Origin("", "producer").headers(Kind.PART, number, None))
        shown += sequence.told(told, parts[number])
    gaps = [part for part in shown if part.type == "gap"]
    assert [part for part in shown if part.type != "gap"] == parts[forgotten:]
    assert [gap.data["dropped"] for gap in gaps] == ([forgotten] if forgotten else [])


@given(st.integers(0, 20), st.integers(0, 50))
def test_from_seq_shows_what_comes_from_there_and_no_gap_before_it(first, from_seq) -> None:
    parts = [StreamPart("custom", (), number, seq=2 * number, run_id="run") for number in range(20)]
    sequence = _Sequence(from_seq, joined_late=False)
    shown = []
    for number in range(first, 20):
        told = envelope(Origin("", "producer").headers(Kind.PART, number, None))
        shown += sequence.told(told, parts[number])
    wanted = [part for part in parts[first:] if part.seq >= from_seq]
    assert [part for part in shown if part.type != "gap"] == wanted
    missing = [part for part in parts[:first] if part.seq >= from_seq]
    gaps = [part for part in shown if part.type == "gap"]
    assert gaps or not (missing and wanted)
    assert not gaps or (first > 0 and parts[first].seq > from_seq)


def test_a_run_that_is_sent_anew_is_shown_anew() -> None:
    sequence = _Sequence(None, joined_late=False)
    part = StreamPart("custom", (), "x", seq=0)
    shown = [
        sequence.told(envelope(Origin("", producer).headers(Kind.PART, 0, None)), part)
        for producer in ("one", "one", "two")
    ]
    assert shown == [[part], [], [part]]
