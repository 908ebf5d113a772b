"""Every variable of OpenTelemetry's specification: what is done with it, and the test that shows it.

The page docs/reference/environment.md is what ``page()`` returns.
"""
# ruff: noqa: E501 - a table

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest
from opentelemetry import baggage, context, trace

from engine import START, Send, StateGraph
from otel_stream.sdk import configure
from otel_stream.sdk.configure import readable as readings
from otel_stream.sdk.export.otlp import aggregation, temporality
from otel_stream.telemetry import options

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "docs" / "reference" / "environment.md"

SETUP, PLACES, BATCH, HERE = (
    f"otel_stream/sdk/{name}.py"
    for name in ("test_setup", "test_destinations", "test_batch", "test_environment")
)
OPTIONS, SECRETS = "otel_stream/telemetry/test_options.py", "otel_stream/telemetry/test_secrets.py"
WAY = (PLACES, "test_what_the_environment_says_of_the_way_is_followed_and_a_typing_error_is_told")
WHERE = (PLACES, "test_destination_of_traces")
QUEUE = (BATCH, "test_the_variables_of_the_specification_are_read")
LIMITS = (HERE, "test_limits_of_links_hold_for_lean_spans_and_say_what_they_left_out")
SDK = "The SDK reads it."
READ = (HERE, "test_what_the_sdk_cannot_read_is_told_and_ignored")

#: Variable -> what becomes of it, and the test that shows it.
ROWS = {
    "OTEL_SDK_DISABLED": (
        "Nothing is set up.",
        (SETUP, "test_an_environment_that_wants_nothing_gets_nothing"),
    ),
    "OTEL_CONFIG_FILE": ("Not read, and said so: `opentelemetry-instrument` reads it.", None),
    "OTEL_ENTITIES": ("Not read: Python's SDK does not know it.", None),
    "OTEL_SERVICE_NAME": (
        "Wins over everything.",
        (SETUP, "test_the_service_name_of_the_environment_wins"),
    ),
    "OTEL_RESOURCE_ATTRIBUTES": (
        "Its `service.name` wins over the program's.",
        (HERE, "test_only_the_attribute_itself_names_the_service"),
    ),
    "OTEL_LOG_LEVEL": ("Not read: Python's logging has its own levels.", None),
    "OTEL_PROPAGATORS": ("The API reads it.", None),
    "OTEL_TRACES_SAMPLER": (SDK, (SETUP, "test_the_sampler_of_the_environment_is_used")),
    "OTEL_TRACES_SAMPLER_ARG": (SDK, (SETUP, "test_the_sampler_of_the_environment_is_used")),
    **dict.fromkeys(
        [
            f"OTEL_{kind}_{name}"
            for kind in ("BSP", "BLRP")
            for name in ("SCHEDULE_DELAY", "MAX_EXPORT_BATCH_SIZE")
        ],
        ("Honoured.", QUEUE),
    ),
    **dict.fromkeys(
        ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE"], ("Honoured; 32,768 if it is not set.", QUEUE)
    ),
    **dict.fromkeys(
        ["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT"],
        ("Not used: `OTEL_EXPORTER_OTLP_TIMEOUT` bounds a request with its repetitions.", None),
    ),
    "OTEL_SPAN_LINK_COUNT_LIMIT": ("Honoured, for lean spans, too.", LIMITS),
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": ("Honoured, for lean spans, too.", LIMITS),
    **dict.fromkeys(
        [
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
        ],
        ('Honoured; empty is the default, not the SDK\'s "no limit".', READ),
    ),
    **dict.fromkeys(
        ["OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER"],
        ("Honoured, whatever its case; one that is not installed is told, and OTLP takes its place.", WHERE),
    ),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("Honoured; `/v1/traces` at its end is understood.", WHERE),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("`grpc` and `http/protobuf`; any other is told and ignored.", WHERE),
    **dict.fromkeys(
        [
            f"OTEL_EXPORTER_OTLP_{signal}_{name}"
            for signal in ("TRACES", "LOGS", "METRICS")
            for name in ("ENDPOINT", "PROTOCOL")
        ],
        ("As without the signal, which it wins over.", WHERE),
    ),
    "OTEL_EXPORTER_OTLP_HEADERS": (
        "Honoured, never shown.",
        (PLACES, "test_a_password_is_sent_and_never_shown"),
    ),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("Honoured, in seconds, as Python's SDK has it.", WAY),
    **dict.fromkeys(
        [f"OTEL_EXPORTER_OTLP_{name}" for name in ("COMPRESSION", "CERTIFICATE", "INSECURE")],
        ("Honoured.", WAY),
    ),
    **dict.fromkeys(
        [f"OTEL_EXPORTER_OTLP_{name}" for name in ("CLIENT_KEY", "CLIENT_CERTIFICATE")],
        ("Honoured, for both protocols.", None),
    ),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": (
        "Honoured.",
        (HERE, "test_metrics_are_told_as_the_environment_prefers"),
    ),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        "Honoured.",
        (HERE, "test_metrics_are_told_as_the_environment_prefers"),
    ),
    **dict.fromkeys(
        ["OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT", "OTEL_METRICS_EXEMPLAR_FILTER"],
        ("Honoured, whatever its case.", READ),
    ),
    **dict.fromkeys(
        ["OTEL_EXPORTER_ZIPKIN_ENDPOINT", "OTEL_EXPORTER_ZIPKIN_TIMEOUT"],
        ("Not read: the exporter is deprecated; the Collector has one.", None),
    ),
    **dict.fromkeys(
        ["OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"],
        ("Read by the package of that exporter, if `OTEL_METRICS_EXPORTER` names it.", None),
    ),
    "OTEL_SEMCONV_STABILITY_OPT_IN": ("Chooses the GenAI names.", None),
    "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": ("Exceptions as span events, log events or both.", None),
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": (
        "Whether, and where, content is exported.",
        (SECRETS, "test_content_is_where_the_variable_wants_it"),
    ),
}


#: Variable of ours -> what it does; those of the Collector's files stand with those.
OURS = {
    "OTEL_STREAM_EXPORT_MODES": "Modes whose parts become log events, comma-separated, or `none`; [content](../content.md).",
    "OTEL_STREAM_EXPORT_MESSAGES": "`joined` (default): a message is one log event; `chunks`: each chunk is.",
    "OTEL_STREAM_EXPORT_STARTS": "What is told as it begins: `nodes` (default; those that last), `runs`, `spans` (of anybody), `none`.",
    "OTEL_STREAM_RECORD_AS": "`log_events` (default), `span_events` or `both`.",
    "OTEL_STREAM_MIN_SPAN_DURATION": "Seconds; a node that was faster has no span of its own.",
    "OTEL_STREAM_MODEL_SPANS": "`auto` (default), `on`, `off`: spans of model calls beside other instrumentations; [models](../models.md).",
    "OTEL_STREAM_PRICES": "`auto` (default), `provider`, `off`: whose prices count; [models](../models.md).",
    "OTEL_STREAM_CONVERSATION_BAGGAGE": "`true`: the conversation's id goes to services that are called.",
    "OTEL_STREAM_RUN_ATTRIBUTES": "Metadata of runs that becomes attributes, comma-separated.",
    "OTEL_STREAM_REDACT_PATHS": "Paths whose values are left out, comma-separated; [content](../content.md).",
    "OTEL_STREAM_REDACT_HASH_PATHS": "Paths whose values are hashed.",
    "OTEL_STREAM_REDACT_PATTERN": "A regular expression; what matches is left out.",
    "OTEL_STREAM_REDACT_KEY": "The key of those hashes.",
    "OTEL_STREAM_VIEW_DATA": "The folder in which `otel-stream view` keeps runs.",
    "OTEL_STREAM_VIEW_TOKEN": "The token that its page and its clients show.",
    "OTEL_STREAM_VIEW_BACKEND": "A pattern of links from its page to another backend.",
}


def page():
    lines = [
        "# Variables of the environment",
        "",
        "<!-- Printed by tests/otel_stream/sdk/test_environment.py: change it there. -->",
        "",
        "What `configure()` makes of the variables of OpenTelemetry's specification. Empty is unset. A number that is none,",
        "and a word that is not known, is told and ignored; of these, nothing but an endpoint that is no address stops a program.",
        "A word of ours that is not known (`OTEL_STREAM_EXPORT_MODES=vaules`) does, with the one that was meant, since less or more",
        "would leave than was asked for; a run of LangGraph's goes on, is not observed, and that is said. The last column names the test that holds us to it, if there is one of ours.",
        "",
        "| variable | what becomes of it | shown by |",
        "|---|---|---|",
    ]
    for name, (what, test) in ROWS.items():
        lines.append(f"| `{name}` | {what} | {f'`{test[1]}`' if test else ''} |")
    lines += [
        "",
        "Of our own, read once, when the first run needs them; `configure()` has an argument for most:",
        "",
    ]
    lines += ["| variable | what it does |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in OURS.items()]
    lines += [
        "",
        "Those of the Collector's configurations are in [backends](../backends.md) and [sizing](../sizing.md).",
    ]
    return "\n".join(lines) + "\n"


def test_every_variable_of_ours_that_is_read_is_on_the_page():
    source = [
        file.read_text()
        for file in (TESTS.parent / "otel_stream").rglob("*.py")
        if "doctor" not in file.parts
    ]
    read = set(re.findall(r"""[\"'](OTEL_STREAM_[A-Z_]+)[\"']""", "\n".join(source)))
    assert read - set(OURS) == {"OTEL_STREAM_STORES", "OTEL_STREAM_COLLECTOR"}  # handed to what it starts
    assert set(options.OURS) <= set(OURS)


def test_the_page_is_what_is_printed_here():
    assert PAGE.read_text() == page(), (
        "python -m pytest prints it: write page() to docs/reference/environment.md"
    )


@pytest.mark.parametrize("test", sorted({test for _, test in ROWS.values() if test}))
def test_every_test_that_the_page_names_is_there(test):
    file, name = test
    assert re.search(rf"^def {name}\b", (TESTS / file).read_text(), re.MULTILINE)


class State(TypedDict, total=False):
    x: object


def test_limits_of_links_hold_for_lean_spans_and_say_what_they_left_out(http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "10")
    monkeypatch.setenv("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "2")
    handle = configure(endpoint=http_endpoint.url)
    built = StateGraph(State)
    for name in ("split", "work", "join"):
        built.add_node(name, lambda state: {})
    built.add_edge(START, "split").add_edge("work", "join")
    built.add_conditional_edges("split", lambda state: [Send("work", {}) for _ in range(30)], ["work"])
    built.compile(name="g").invoke({"x": 0})
    assert handle.shutdown()
    (join,) = [span for span in http_endpoint.spans() if span.name == "invoke_node join"]
    assert (len(join.links), join.dropped_links_count) == (10, 20)
    assert {len(link.attributes) for link in join.links} == {2}


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ("k8s.service.name=web", "program"),
        ("aws.ecs.service.name=web,team=a", "program"),
        ("service.name=,team=a", "program"),
        ("team=a, service.name = env", "env"),
    ],
)
def test_only_the_attribute_itself_names_the_service(http_endpoint, monkeypatch, attributes, name):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
    handle = configure("program", endpoint=http_endpoint.url)
    trace.get_tracer("app").start_span("one").end()
    assert handle.shutdown()
    assert http_endpoint.services() == {name}


def test_metrics_are_told_as_the_environment_prefers(caplog):
    preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    names = {
        wish: {one.__name__ for one in temporality({preference: wish})} for wish in ("", "DELTA", "lowmemory")
    }
    assert names == {
        "": set(),
        "DELTA": {"Counter", "ObservableCounter", "Histogram"},
        "lowmemory": {"Counter", "Histogram"},
    }
    histograms = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
    (chosen,) = aggregation({histograms: "base2_exponential_bucket_histogram"}).values()
    assert type(chosen).__name__ == "ExponentialBucketHistogramAggregation"
    assert (temporality({preference: "some"}), aggregation({histograms: "none"})) == ({}, {})
    assert len(caplog.records) == 2


def test_what_a_node_puts_into_the_context_is_there_in_its_subgraph(http_endpoint):
    seen = {}
    handle = configure(endpoint=http_endpoint.url)

    def graph(node, name):
        return StateGraph(State).add_node("n", node).add_edge(START, "n").compile(name=name)

    def note(state):
        seen["session"] = baggage.get_baggage("session.id")
        seen["span"] = trace.get_current_span().get_span_context().span_id

    inner = graph(note, "inner")

    def outer(state):
        token = context.attach(baggage.set_baggage("session.id", "s7"))
        inner.invoke({"x": 0})
        context.detach(token)

    graph(outer, "outer").invoke({"x": 0})
    assert handle.shutdown()
    assert seen["session"] == "s7"
    spans = {int.from_bytes(span.span_id): span.name for span in http_endpoint.spans()}
    assert spans[seen["span"]] == "invoke_node n"


#: Variables that the SDK itself reads, each with what it stops at.
UNREADABLE = [
    *((name, value) for name in sorted(ROWS) if name.endswith("_LIMIT") for value in ("many", "-1", "12.0")),
    *(
        (f"OTEL_METRIC_EXPORT_{name}", value)
        for name in ("INTERVAL", "TIMEOUT")
        for value in ("1m", "0", "-1", "nan")
    ),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "sometimes"),
]


@pytest.mark.parametrize(("name", "value"), UNREADABLE)
def test_what_the_sdk_cannot_read_is_told_and_ignored(name, value, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv(name, value)
    handle = configure(path=tmp_path / "telemetry.jsonl")
    assert handle.owned
    assert handle.shutdown()
    (told,) = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert told.startswith(f"{name}={value!r} is ignored: give ")
    assert os.environ[name] == value


def test_what_is_empty_is_not_set_for_the_sdk_either(monkeypatch, caplog, tmp_path):
    names = sorted(readings.READINGS)
    for name in names:
        monkeypatch.setenv(name, " ")
    handle = configure("program", path=tmp_path / "telemetry.jsonl")
    span = trace.get_tracer("app").start_span(
        "one", links=[trace.Link(context_of(n + 1)) for n in range(200)]
    )
    assert len(span.links) == 128
    assert span.resource.attributes["service.name"] == "program"
    assert handle.shutdown()
    assert caplog.records == []
    assert {name: os.environ[name] for name in names} == dict.fromkeys(names, " ")


@pytest.mark.parametrize("value", ["ALWAYS_OFF", " Trace_Based "])
def test_the_case_of_a_filter_of_exemplars_does_not_matter(value, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", value)
    assert configure(path=tmp_path / "telemetry.jsonl").shutdown()
    assert caplog.records == []


def context_of(number):
    return trace.SpanContext(number, number, is_remote=False)


def test_what_a_missing_exporter_was_to_have_is_said_to_go_where_it_goes(http_endpoint, monkeypatch):
    whole = configure(endpoint=http_endpoint.url)
    assert whole.shutdown()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "oltp")
    assert destination_in_a_process(http_endpoint.url) == whole.destination


def destination_in_a_process(endpoint):
    program = f"from otel_stream.sdk import configure; print(configure(endpoint={endpoint!r}).destination)"
    return subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
