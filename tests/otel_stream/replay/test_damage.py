"""A record that is out of shape is counted and passed over; the others are told."""

import copy
import json
import subprocess
import sys
from contextlib import suppress

import pytest

from otel_stream import semconv
from otel_stream.encoding import decode
from otel_stream.replay import replay
from otel_stream.sdk import OtlpJsonFile
from tests.otel_stream.replay.stores import in_loki

#: In place of an attribute's value.
VALUES = [
    {},
    None,
    3,
    [],
    {"stringValue": "x"},
    {"stringValue": None},
    {"intValue": "x"},
    {"intValue": "-7"},
    {"intValue": "9" * 5000},
    {"doubleValue": 1.5},
    {"boolValue": True},
    {"arrayValue": {}},
    {"arrayValue": {"values": [{"intValue": 3}]}},
    {"kvlistValue": {"values": []}},
]


def records(documents):
    for document in documents:
        for resource in document.get("resourceLogs", ()):
            for scope in resource["scopeLogs"]:
                yield from scope["logRecords"]


def mended(lines, change, of=40):
    """Return the lines with one record of the first run changed, and that record's run."""
    documents = [json.loads(line) for line in lines]
    record = list(records(documents))[of]
    run = next(
        one["value"]["stringValue"] for one in record["attributes"] if one["key"] == semconv.GRAPH_RUN_ID
    )
    change(record)
    return [json.dumps(document) for document in documents], run


@pytest.mark.parametrize("value", VALUES, ids=json.dumps)
def test_an_attribute_of_any_other_type_costs_its_record_alone(recorded, value):
    few = recorded.lines[:60]
    first, *others = replay(few).runs
    assert not others
    names = [one["key"] for one in list(records(map(json.loads, few)))[40]["attributes"]]
    for name in names:

        def change(record, name=name):
            next(one for one in record["attributes"] if one["key"] == name)["value"] = copy.deepcopy(value)

        lines, run = mended(few, change)
        told = {part.to_json() for part in replay(lines).run(run).parts if part.seq < 20}
        assert told == {part.to_json() for part in first.parts if part.seq < 20}


@pytest.mark.parametrize("body", [{}, None, 7, {"kvlistValue": {"values": []}}, {"bytesValue": "eA=="}])
def test_a_body_of_any_other_type_is_counted(recorded, body):
    lines, run = mended(recorded.lines, lambda record: record.__setitem__("body", body))
    found = replay(lines)
    assert len(found.run(run).holes) == 1
    (sentence,) = found.damaged
    assert sentence.startswith("1 log event is out of shape (the first: ")


def test_json_that_is_nested_too_deeply_is_a_damaged_line(recorded):
    found = replay([*recorded.lines, "[" * 100_000, '{"resourceLogs":' * 100_000])
    assert len(found.damaged) == 2
    assert {run.id for run in found.runs} == set(recorded.live)


def test_a_branch_that_is_out_of_shape_costs_no_other(recorded):
    odd = [{"resourceLogs": [3, {"scopeLogs": [None, {"logRecords": ["x", {"attributes": 3}]}]}]}]
    found = replay([*recorded.lines, *map(json.dumps, odd)])
    assert found.damaged[0].startswith("4 log events are out of shape (the first: ")
    assert {run.id: [part.to_json() for part in run.parts] for run in found.runs} == recorded.live


def test_a_line_of_lokis_that_is_out_of_shape_costs_no_other(recorded):
    document = in_loki(recorded.lines, categorised=False)
    document["data"]["result"].append({"stream": {}, "values": [["1"], "x", ["1", "{}", 3]]})
    found = replay(document)
    assert found.damaged[0].startswith("3 log events are out of shape")
    assert {run.id: [part.to_json() for part in run.parts] for run in found.runs} == recorded.live


def test_a_writer_that_finds_half_a_line_ends_it_first(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"whole":1}\n{"resourceLogs":[{"sc')
    first, second = OtlpJsonFile(path), OtlpJsonFile(path)
    first.attach()
    second.attach()
    first.append(b'{"a":1}')
    with path.open("ab") as crashed:
        crashed.write(b'{"half":')
    second.append(b'{"b":2}')
    first.append(b'{"c":3}')
    first.detach()
    second.detach()
    lines = path.read_bytes().split(b"\n")
    assert lines[-1] == b""
    whole = []
    for line in lines[:-1]:
        with suppress(ValueError):
            whole.append(decode(line))
    assert whole == [{"whole": 1}, {"a": 1}, {"b": 2}, {"c": 3}]


WRITES_SLOWLY = """
import fcntl, sys
with open(sys.argv[1], "ab", buffering=0) as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    file.write(b'{"a":')
    print("half", flush=True)
    sys.stdin.read()
"""


def test_half_a_line_that_another_process_is_writing_is_not_ended(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    monkeypatch.setattr("otel_stream.sdk.export.exporters.PATIENCE", 0.0)
    path = tmp_path / "file.jsonl"
    ours = OtlpJsonFile(path)
    ours.attach()
    command = [sys.executable, "-c", WRITES_SLOWLY, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"half\n"
        ours.append(b"1}")
    ours.append(b'{"b":2}')
    ours.detach()
    assert [decode(line) for line in path.read_bytes().splitlines()] == [{"a": 1}, {"b": 2}]
