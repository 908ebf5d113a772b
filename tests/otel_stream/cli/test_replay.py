"""``otel-stream replay`` as its user meets it."""

import contextvars
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from typer.testing import CliRunner

from otel_stream import events as e
from otel_stream.cli.app import app
from otel_stream.sdk import OtlpJsonFile, OtlpJsonLogExporter
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import TelemetryOptions, consumer_for_run

ROOT = Path(__file__).parents[3]
TIME = 1_700_000_000_000_000_000


def export(path, id="run-1", steps=3, **options):
    """A run of a few supersteps, exported to ``path``; returns its parts."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(OtlpJsonLogExporter(OtlpJsonFile(path))))
    consumer = consumer_for_run(logger_provider=provider, options=TelemetryOptions(**options))
    run = e.Run(id, "triage", context=contextvars.copy_context())
    consumer.on_event(e.RunStarted(run, {}, False, TIME))
    parts = []
    for step in range(steps):
        for mode, data in (("values", {"big": "é" * 2000, "log": ["x"] * step}), ("custom", {"step": step})):
            event = e.ValuesChanged(run, step, data, TIME + step)
            interrupts = () if mode == "values" else None
            part = StreamPart(
                mode, (), data, len(parts), event.time, id, "triage", step, interrupts=interrupts
            )
            consumer.on_part(part, event)
            parts.append(part)
    consumer.on_event(e.RunEnded(run, e.End.OK, {}, None, (), steps, TIME + steps))
    provider.shutdown()
    return parts


@pytest.fixture
def file(tmp_path):
    return tmp_path / "telemetry.otlp.jsonl"


def run(*arguments):
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def test_parts_are_printed_as_the_live_receiver_had_them(file):
    parts = export(file, event_content=True)
    done = run(file, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout_bytes == b"".join(part.to_json() + b"\n" for part in parts)


def test_parts_are_shown_one_a_line_below_their_run(file):
    export(file, event_content=True, steps=2)
    done = run(file, "--modes", "custom")
    assert done.stdout.splitlines() == [
        "run run-1 of triage: ok, 4 parts, 2 states",
        '     1  step    0  custom      -  {"step":0}',
        '     3  step    1  custom      -  {"step":1}',
    ]


def test_the_state_after_a_superstep_is_shown(file):
    export(file, event_content=True)
    done = run(file, "--state-at", 1)
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"big": "é" * 2000, "log": ["x"]})
    beyond = run(file, "--state-at", 40)
    assert (beyond.exit_code, json.loads(beyond.stdout)) == (0, json.loads(run(file, "--state-at", 2).stdout))
    assert beyond.stderr == (
        "otel-stream: step 40 has no state; this is the one after step 2, the last before it\n"
    )
    assert run(file, "--state-at", 2, "--json").stdout.count("\n") == 1


def test_one_run_of_several_is_chosen_by_the_beginning_of_its_id(file):
    export(file, "first", event_content=True)
    mine = export(file, "second", event_content=True)
    assert run(file, "--run", "sec", "--json").stdout_bytes == b"".join(
        part.to_json() + b"\n" for part in mine
    )
    assert [line.split()[1] for line in run(file).stdout.splitlines() if line.startswith("run ")] == [
        "first", "second"
    ]  # fmt: skip


def test_what_is_missing_is_said_and_is_no_success(file):
    export(file, event_content=True)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], *lines[3:-1]]))
    done = run(file)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "otel-stream: run run-1: log event 2 is missing, after part 1 and before part 3",
        "otel-stream: run run-1: how it ended is unknown: it goes on, or its last log events are missing",
        (
            "otel-stream: run run-1: the state at step 2 (part 4) can't be trusted: "
            "part 2, which it builds on, is missing"
        ),
    ]


def test_content_that_was_not_exported_is_said_once(file):
    export(file)
    done = run(file)
    assert (done.exit_code, done.stdout) == (1, "run run-1 of triage: ok, 6 parts, 3 states\n")
    assert done.stderr == (
        "otel-stream: run run-1: 6 of 6 parts have no content: it was not exported, or cut "
        "(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, max_body_bytes)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "'nowhere' cannot be read (no such file or directory); give a file that can"),
        (["FILE", "--modes", "valeus"], "--modes: unknown stream mode 'valeus'; give some of checkpoints, "),
        (["FILE", "--run", "x"], "'x' is the id of 0 runs: give one of run-1."),
        (["FILE", "--state-at", "-9"], "step -9 has no state: there are states from 0 to 2."),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(file, arguments, sentence):
    export(file, event_content=True)
    done = run(*(str(file) if word == "FILE" else word for word in arguments))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"otel-stream: {sentence}")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error_to_talk_about(file):
    export(file, event_content=True, steps=400)
    process = subprocess.Popen(
        [sys.executable, "-m", "otel_stream.cli", "replay", str(file), "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().startswith(b'{"type":"values"')
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(30) == 141


def test_a_state_that_was_not_exported_is_not_shown_as_null(file):
    export(file)
    done = run(file, "--state-at", 1, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("otel-stream: the state at step 1 (part ")
    assert done.stderr.endswith(
        "; OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=event_only has a program export content\n"
    )
