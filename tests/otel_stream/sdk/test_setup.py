"""``configure()`` against endpoints that answer, that do not, and environments that object."""

import logging
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_stream.sdk import Counts, Handle, configure
from otel_stream.telemetry import get_options

ALL_OF_TWO_NODES = {"spans": Counts(4, 4), "logs": Counts(4, 4)}
METRICS = {
    "gen_ai.invoke_workflow.duration",
    "graph.superstep.duration",
    "graph.node.duration",
    "graph.node.active",
    "graph.run.active",
    "graph.run.supersteps",
    "otel_stream.export.exported",
    "otel_stream.export.lost",
    "otel_stream.export.queue",
}


def _without_metrics(counts):
    return {name: count for name, count in counts.items() if name != "metrics"}


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("by", ["arguments", "environment"])
def test_a_run_arrives_whole_at_an_endpoint(http_and_grpc, run_something, monkeypatch, protocol, by):
    endpoint = http_and_grpc[protocol]
    if by == "environment":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        handle = configure("triage-service")
    else:
        handle = configure("triage-service", protocol=protocol, endpoint=endpoint.url)
    run_something(nodes=2)
    assert handle.shutdown() is True
    spans = {span.name: span for span in endpoint.spans()}
    names = {span.span_id: span.name for span in endpoint.spans()}
    assert {name: names.get(span.parent_span_id) for name, span in spans.items()} == {
        "invoke_workflow triage": None,
        "superstep": "invoke_workflow triage",
        "invoke_node n0": "superstep",
        "invoke_node n1": "superstep",
    }
    assert len({span.trace_id for span in spans.values()}) == 1
    assert [(r.event_name, names[r.span_id]) for r in endpoint.records()] == [
        ("graph.run_start", "invoke_workflow triage"),
        ("graph.updates", "invoke_node n0"),
        ("graph.updates", "invoke_node n1"),
        ("graph.run_end", "invoke_workflow triage"),
    ]
    assert endpoint.metrics() == METRICS | {"graph.superstep.tasks"}
    assert endpoint.services() == {"triage-service"}
    counts = handle.counts()
    assert _without_metrics(counts) == ALL_OF_TWO_NODES
    assert counts["metrics"].exported == counts["metrics"].emitted > 0
    assert (handle.owned, handle.destination) == (True, f"{endpoint.url} ({protocol})")


def test_each_signal_can_have_its_own_protocol_and_endpoint(http_and_grpc, run_something, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http_and_grpc["http/protobuf"].url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", http_and_grpc["grpc"].url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    handle = configure()
    run_something()
    assert handle.shutdown() is True
    over_grpc, over_http = http_and_grpc["grpc"], http_and_grpc["http/protobuf"]
    assert (len(over_grpc.spans()), len(over_grpc.records()), over_grpc.metrics()) == (3, 0, set())
    assert (len(over_http.spans()), len(over_http.records()), over_http.metrics()) == (0, 3, METRICS)


def test_flush_delivers_what_waits_and_the_run_goes_on(http_endpoint, run_something):
    handle = configure(endpoint=http_endpoint.url)
    run_something()
    before = handle.counts()["spans"]
    assert handle.flush() is True
    assert (before, handle.counts()["spans"]) == (Counts(3, 0, 0, 3), Counts(3, 3, 0, 0))
    run_something()
    assert handle.shutdown() is True
    assert handle.counts()["spans"] == Counts(6, 6, 0, 0)
    assert (handle.shutdown(), handle.flush()) == (True, True)


def test_flush_tells_that_a_batch_was_refused(http_endpoint, run_something, caplog):
    # The SDK's own force_flush says True here.
    http_endpoint.status = 400
    handle = configure(endpoint=http_endpoint.url)
    run_something()
    assert handle.flush() is False
    assert handle.counts()["spans"] == Counts(3, 0, 3, 0)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"Telemetry does not arrive at {http_endpoint.url} (http/protobuf); ")
    assert "The receiver answered 400" in said


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_endpoint_nobody_answers_on_costs_telemetry_and_nothing_else(
    nobody, run_something, caplog, protocol
):
    handle = configure(endpoint=nobody, protocol=protocol)
    run_something(nodes=2)
    assert handle.shutdown(timeout=0.5) is False
    assert _without_metrics(handle.counts()) == {"spans": Counts(4, 0, 4, 0), "logs": Counts(4, 0, 4, 0)}
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said.startswith(f"Telemetry was lost on its way to {nobody} ({protocol}): 4 spans, 4 logs, ")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_shutdown_in_vain_ends_before_its_time_and_names_the_doctor(
    nobody, run_something, caplog, monkeypatch, protocol
):
    waits = []
    monkeypatch.setattr(Handle, "_wait", lambda self, deadline: waits.append(deadline - time.monotonic()))
    handle = configure(endpoint=nobody, protocol=protocol, shutdown_timeout=40)
    run_something()
    assert handle.shutdown() is False
    assert [wait < 1 for wait in waits] == [True]
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said.endswith("Nothing has ever arrived there: `otel-stream doctor` looks for the reason.")


def test_a_place_that_has_taken_something_gets_the_whole_time(http_endpoint, run_something):
    handle = configure(endpoint=http_endpoint.url)
    run_something()
    assert handle.flush() is True
    assert handle._is_in_vain() is False
    handle.shutdown()


@pytest.mark.parametrize(
    ("missing", "call", "sentence"),
    [
        (
            "opentelemetry.sdk",
            "otel_stream.configure()",
            (
                "otel_stream.sdk needs opentelemetry.sdk, which is not installed: "
                "pip install 'otel-stream[otlp]'."
            ),
        ),
        (
            "opentelemetry.exporter",
            "otel_stream.configure()",
            (
                "OTLP over HTTP needs opentelemetry.exporter, which is not installed: "
                "pip install 'otel-stream[otlp]'."
            ),
        ),
        (
            "opentelemetry.exporter",
            "otel_stream.configure(path='t.jsonl')",
            (
                "A file of OTLP JSON lines needs opentelemetry.exporter, which is not installed: "
                "pip install 'otel-stream[otlp]'."
            ),
        ),
        (
            "grpc",
            "otel_stream.configure(protocol='grpc')",
            ("OTLP over gRPC needs grpc, which is not installed: pip install 'otel-stream[grpc]'."),
        ),
    ],
)
def test_what_is_not_installed_is_said_as_what_to_install(tmp_path, missing, call, sentence):
    program = f"""
        import sys
        sys.path.insert(0, {ROOT!r})

        class Missing:
            def find_spec(self, name, path=None, target=None):
                if (name + ".").startswith({missing!r} + "."):
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name={missing!r})

        sys.meta_path.insert(0, Missing())
        import otel_stream
        {call}
    """
    done = _program(program, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {sentence}"


def test_a_signal_that_is_switched_off_is_not_set_up(http_endpoint, run_something, monkeypatch):
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    handle = configure(endpoint=http_endpoint.url)
    run_something()
    assert handle.shutdown() is True
    assert list(handle.counts()) == ["spans"]
    assert (len(http_endpoint.spans()), http_endpoint.records(), http_endpoint.metrics()) == (3, [], set())


def test_the_console_is_an_exporter(run_something, monkeypatch, capsys):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    for signal in ("LOGS", "METRICS"):
        monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "none")
    handle = configure()
    # The SDK's exporter takes sys.stdout when its module is imported, not when it is made.
    handle._pipelines[0].exporters[0]._exporter.out = sys.stdout
    run_something()
    assert handle.shutdown() is True
    assert "invoke_workflow triage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED is true."),
        (
            {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "LOGS", "METRICS")},
            "OTEL_{TRACES,LOGS,METRICS}_EXPORTER are all none.",
        ),
    ],
)
def test_an_environment_that_wants_nothing_gets_nothing(monkeypatch, environ, reason):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    handle = configure("triage")
    assert (handle.owned, handle.reason, handle.counts()) == (False, reason, {})
    assert (handle.flush(), handle.shutdown()) == (True, True)
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_providers_of_the_program_are_left_alone(http_endpoint, run_something):
    mine = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(mine)
    handle = configure(endpoint=http_endpoint.url, capture_content=True)
    run_something()
    assert handle.shutdown() is True
    assert trace.get_tracer_provider() is mine
    assert (handle.owned, handle.reason) == (
        True,
        "The program has set a tracer provider already; they are used.",
    )
    # What nobody has set is filled: log events and metrics of the same runs.
    assert (http_endpoint.spans(), bool(http_endpoint.records())) == ([], True)
    assert http_endpoint.metrics() >= METRICS
    assert get_options().event_content is True


def test_arguments_that_change_nothing_are_named_where_they_are_given(http_endpoint):
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    _logs.set_logger_provider(LoggerProvider(shutdown_on_exit=False))
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
    names = "service_name, endpoint, max_request_bytes, logging ignored"
    with pytest.warns(UserWarning, match=names) as caught:
        handle = configure("mine", endpoint=http_endpoint.url, max_request_bytes=100_000, logging=True)
    assert (handle.owned, [one.filename for one in caught]) == (False, [__file__])


def test_an_endpoint_that_is_empty_is_none():
    assert "localhost:4318" in configure(endpoint="").destination


def test_pythons_logging_is_exported_on_the_span_that_is_current(http_endpoint):
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    handle = configure(endpoint=http_endpoint.url, logging=True)
    try:
        root.setLevel(logging.DEBUG)
        with trace.get_tracer("app").start_as_current_span("mine") as span:
            logging.getLogger("app").warning("hello %s", "world")
        handle.flush()
        handle.shutdown()
    finally:
        root.setLevel(level)
        for one in set(root.handlers) - set(before):
            root.removeHandler(one)
    (record,) = http_endpoint.records()
    assert record.body.string_value == "hello world"
    assert int.from_bytes(record.span_id) == span.get_span_context().span_id


def test_a_second_call_returns_the_first_handle(http_endpoint):
    first = configure("triage", endpoint=http_endpoint.url)
    provider = trace.get_tracer_provider()
    assert configure() is first
    assert configure("triage", endpoint=http_endpoint.url) is first
    message = "configure() was called before; service_name='other', capture_content=True is ignored"
    with pytest.warns(UserWarning, match=re.escape(message)) as caught:
        assert configure("other", capture_content=True) is first
    assert [one.filename for one in caught] == [__file__]
    assert trace.get_tracer_provider() is provider


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_SERVICE_NAME", "env"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=env,x=y")],
)
def test_the_service_name_of_the_environment_wins(http_endpoint, run_something, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    configure("argument", endpoint=http_endpoint.url).shutdown()
    run_something()
    assert trace.get_tracer_provider().resource.attributes["service.name"] == "env"


def test_the_sampler_of_the_environment_is_used(http_endpoint, run_something, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    handle = configure(endpoint=http_endpoint.url)
    run_something()
    assert handle.shutdown() is True
    assert (http_endpoint.spans(), http_endpoint.records(), http_endpoint.metrics()) == ([], [], METRICS)


def test_a_full_queue_is_counted_as_loss(http_endpoint, run_something, monkeypatch, caplog):
    for kind in ("BSP", "BLRP"):
        monkeypatch.setenv(f"OTEL_{kind}_MAX_QUEUE_SIZE", "4")
        monkeypatch.setenv(f"OTEL_{kind}_MAX_EXPORT_BATCH_SIZE", "4")
        monkeypatch.setenv(f"OTEL_{kind}_SCHEDULE_DELAY", "3600000")
    monkeypatch.setattr("otel_stream.sdk.export.batch.Batch._begin", lambda self: None)
    handle = configure(endpoint=http_endpoint.url, starts="spans")
    run_something(nodes=8)  # 10 spans, 19 log events
    assert _without_metrics(handle.counts()) == {"spans": Counts(10, 0, 6, 4), "logs": Counts(19, 0, 12, 7)}
    assert handle.flush() is True
    assert _without_metrics(handle.counts()) == {"spans": Counts(10, 4, 6, 0), "logs": Counts(19, 7, 12, 0)}
    # What was lost is what came between: how the run began and ended is told.
    assert [record.event_name for record in http_endpoint.records()] == [
        "graph.run_start",
        "graph.superstep_start",
        "graph.node_start",
        "graph.updates",
        "graph.node_start",
        "graph.node_start",
        "graph.run_end",
    ]


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (
            {"endpoint": "http://localhost:1", "path": "x.jsonl"},
            {},
            "endpoint='http://localhost:1' and path='x.jsonl' exclude each other: give one.",
        ),
        ({"protocol": "thrift"}, {}, "protocol='thrift' is not supported: use one of grpc, http/protobuf."),
        (
            {"endpoint": "localhost:4317"},
            {},
            "endpoint='localhost:4317' has no scheme: write http://localhost:4317 (or https://localhost:4317).",
        ),
        (
            {"max_request_bytes": 100},
            {},
            "max_request_bytes=100 is too short for a request: give 16384 or more.",
        ),
        ({"endpoint": 5}, {}, "endpoint=5 is a int: give a URL, such as 'http://localhost:4318'."),
        (
            {"max_request_bytes": "big"},
            {},
            "max_request_bytes='big' is a str: give a number of bytes, 16384 or more.",
        ),
        ({"max_body_bytes": True}, {}, "max_body_bytes=True is a bool: give a number of bytes."),
        ({"capture_content": "no"}, {}, "capture_content='no' is a str: give True or False."),
        ({"redaction": ["name"]}, {}, "redaction=['name'] is a list: give a Redaction."),
        ({"path": 3}, {}, "path=3 is a int: give the path of a file."),
        ({"min_span_duration": "1s"}, {}, "min_span_duration='1s' is a str: give seconds, such as 5.0."),
        ({"modes": 5}, {}, "modes=5 is a int: give names of modes."),
        ({"tail": 5}, {}, "tail=5 is a int: give policies, such as [KeepErrors()]."),
    ],
)
def test_bad_settings_get_one_sentence_and_set_up_nothing(monkeypatch, arguments, environ, message):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError) as caught:
        configure(**arguments)
    assert str(caught.value) == message
    providers = (trace.get_tracer_provider(), _logs.get_logger_provider(), metrics.get_meter_provider())
    assert ["Proxy" in type(provider).__name__ for provider in providers] == [True] * 3


def _program(body, tmp_path, warnings="error"):
    environ = {**os.environ, "OTEL_METRICS_EXPORTER": "none"}
    program = textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-W", warnings, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        cwd=tmp_path,
        timeout=50,
    )


SHORT = """
    import sys
    sys.path.insert(0, {root!r})
    from opentelemetry import trace
    from otel_stream.sdk import configure
    configure("short", path="t.jsonl")
    trace.get_tracer("x").start_span("last words").end()
    {end}
"""
ROOT = str(Path(__file__).parents[3])


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise KeyError('x')"])
def test_a_program_that_just_ends_loses_nothing(tmp_path, end):
    done = _program(SHORT.format(root=ROOT, end=end), tmp_path)
    assert "last words" in (tmp_path / "t.jsonl").read_text()
    assert "telemetry" not in done.stderr.lower()


def test_a_program_whose_endpoint_is_dead_ends_well_and_says_so_once(tmp_path, nobody):
    body = SHORT.replace('path="t.jsonl"', f"endpoint={nobody!r}, shutdown_timeout=0.5")
    done = _program(body.format(root=ROOT, end="print('done')"), tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Telemetry was lost on its way to {nobody} (http/protobuf): 1 spans. ")


FORK = """
    import os, sys
    sys.path.insert(0, {root!r})
    from opentelemetry import trace
    from otel_stream.sdk import configure
    handle = configure("parent", path="t.jsonl")
    tracer = trace.get_tracer("x")
    tracer.start_span("before").end()
    child = os.fork()
    if child == 0:
        tracer.start_span("child").end()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    tracer.start_span("after").end()
    assert handle.shutdown()
    assert handle.counts()["spans"].exported == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_exports_its_own_and_nothing_of_its_parent(tmp_path):
    done = _program(FORK.format(root=ROOT), tmp_path, warnings="ignore")
    assert (done.returncode, done.stderr) == (0, "")
    written = (tmp_path / "t.jsonl").read_text()
    assert [written.count(f'"{name}"') for name in ("before", "child", "after")] == [1, 1, 1]
