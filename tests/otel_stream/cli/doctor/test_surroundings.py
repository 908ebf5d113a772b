"""What is wrong before anything is sent, each planted for real: files, packages, variables, providers."""

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_stream.cli.doctor import surroundings
from otel_stream.cli.options import UsageError
from tests.otel_stream.cli.doctor.conftest import said

ROOT = Path(__file__).parents[4]
ALL = ("traces", "logs", "metrics")


def arrived(report):
    return {name for name, signal in report.signals.items() if signal.arrived}


@pytest.mark.parametrize("name", ["engine.py", "engine/__init__.py"])
def test_a_module_of_the_users_that_hides_engine(diagnose, http_endpoint, tmp_path, name):
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("raise SystemExit('the doctor must not run what it looks at')\n")
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "engine",
            "note",
            ALL,
            (
                f"{theirs} hides otel-stream's own package engine, so that `from engine "
                "import StateGraph` fails. "
                "Rename that file if the program uses otel-stream's engine; without "
                "it, nothing need be changed."
            ),
        )
    ]
    assert arrived(report) == set(ALL)


def test_a_folder_called_engine_without_a_module_hides_nothing(diagnose, http_endpoint, tmp_path):
    (tmp_path / "engine").mkdir()
    assert said(diagnose(http_endpoint.url)) == []


def test_what_is_said_of_engine_is_what_python_does(tmp_path):
    (tmp_path / "engine.py").write_text("")
    (tmp_path / "app.py").write_text("from engine import StateGraph\n")
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot import name 'StateGraph' from 'engine'" in done.stderr


def test_our_engine_is_found_though_another_is_imported(tmp_path):
    (tmp_path / "engine.py").write_text("other = True\n")
    program = (
        "import engine; assert engine.other\n"
        "from otel_stream.cli.doctor.surroundings import our_engine\n"
        "print(our_engine().StateGraph.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("StateGraph\n", "")


def test_packages_of_different_versions(diagnose, http_endpoint, monkeypatch, tmp_path):
    ours = surroundings.packages().seen
    folder = tmp_path / "opentelemetry_sdk-1.30.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: opentelemetry-sdk\nVersion: 1.30.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert said(diagnose(http_endpoint.url)) == [
        (
            "packages",
            "note",
            ALL,
            (
                "OpenTelemetry's packages belong together, and these differ from opentelemetry-api "
                f"{ours}: opentelemetry-sdk 1.30.0. "
                "Install one version of all of them: pip install --upgrade --force-reinstall otel-stream."
            ),
        )
    ]


def test_packages_that_cannot_be_imported(tmp_path):
    package = tmp_path / "opentelemetry" / "sdk"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('cannot import name _ExtendedAttributes')\n")
    done = subprocess.run(
        [sys.executable, "-m", "otel_stream.cli", "doctor"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "STOP  import OpenTelemetry and engine: ImportError: cannot import name _ExtendedAttributes" in (
        done.stdout
    )
    assert done.stdout.count("stopped at: packages") == 3


def test_langgraph_of_a_version_without_what_is_hooked(diagnose, http_endpoint, monkeypatch):
    monkeypatch.delattr("langgraph.pregel._loop.PregelLoop.after_tick")
    assert said(diagnose(http_endpoint.url)) == [
        (
            "LangGraph",
            "note",
            ALL,
            (
                "This version of LangGraph has no SyncPregelLoop.after_tick, AsyncPregelLoop.after_tick: "
                "only its runs and nodes are told of. "
                "Update otel-stream, or install a version of LangGraph that it knows."
            ),
        )
    ]


def test_langgraph_left_out_by_a_variable(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "requests, langgraph")
    assert said(diagnose(http_endpoint.url)) == [
        (
            "LangGraph",
            "note",
            ALL,
            (
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=requests, langgraph has opentelemetry-instrument "
                "leave it out. "
                "Take langgraph out of it, or call configure(langgraph=True)."
            ),
        )
    ]


def test_langgraph_without_what_observes_it(diagnose, http_endpoint, monkeypatch):
    found = surroundings.importlib.util.find_spec
    absent = {"opentelemetry.instrumentation"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in absent else found(name))
    assert said(diagnose(http_endpoint.url)) == [
        (
            "LangGraph",
            "note",
            ALL,
            (
                "What observes LangGraph is not installed as a whole: configure(langgraph=True) will fail. "
                "Install it: pip install 'otel-stream[langgraph]'."
            ),
        )
    ]


def test_the_sdk_being_disabled(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "True")
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        ("SDK", "stop", ALL, "OTEL_SDK_DISABLED=true switches all telemetry off. Unset it.")
    ]
    assert (arrived(report), http_endpoint.spans()) == (set(), [])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("none", "OTEL_LOGS_EXPORTER=none switches logs off. Unset it, or set it to otlp."),
        (
            "console",
            "OTEL_LOGS_EXPORTER=console sends logs to no OTLP endpoint. Unset it, or add otlp to it.",
        ),
    ],
)
def test_a_signal_that_is_switched_off(diagnose, http_endpoint, monkeypatch, capfd, value, message):
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", value)
    report = diagnose(http_endpoint.url)
    assert said(report) == [("exporter", "stop", ("logs",), message)]
    assert (arrived(report), http_endpoint.records()) == ({"traces", "metrics"}, [])
    assert capfd.readouterr().out == ""


def test_a_console_beside_otlp_is_left_out_of_the_doctors_run(diagnose, http_endpoint, monkeypatch, capfd):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console, otlp")
    assert arrived(diagnose(http_endpoint.url)) == set(ALL)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["always_off", "parentbased_always_off"])
def test_a_sampler_that_keeps_nothing(diagnose, http_endpoint, monkeypatch, name):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "sampler",
            "stop",
            ("traces", "logs"),
            (
                f"OTEL_TRACES_SAMPLER={name} keeps no run: its spans are not exported, "
                "and log events follow them. "
                "Unset it, or set it to parentbased_always_on."
            ),
        )
    ]
    assert (arrived(report), http_endpoint.spans(), http_endpoint.records()) == ({"metrics"}, [], [])


def test_a_sampler_that_keeps_a_share_does_not_hide_the_doctors_run(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.000001")
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "sampler",
            "note",
            ("traces", "logs"),
            (
                "OTEL_TRACES_SAMPLER=parentbased_traceidratio keeps 0.0001 % of the runs; "
                "the rest is sampled away, with its log events. "
                "Raise OTEL_TRACES_SAMPLER_ARG if runs are missing; the doctor's own run is sent in any case."
            ),
        )
    ]
    assert arrived(report) == set(ALL)


def test_modes_that_make_no_log_events(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_STREAM_EXPORT_MODES", "none")
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "modes",
            "stop",
            ("logs",),
            (
                "OTEL_STREAM_EXPORT_MODES names no modes, so runs make no log events. "
                "Unset it, or name modes, such as updates,messages."
            ),
        )
    ]
    assert (arrived(report), http_endpoint.records()) == ({"traces", "metrics"}, [])


def test_parts_that_are_events_of_spans(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_STREAM_RECORD_AS", "span_events")
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "modes",
            "stop",
            ("logs",),
            (
                "OTEL_STREAM_RECORD_AS=span_events puts stream parts on spans, so there are no log events. "
                "Unset it, or set it to both, if log events are wanted."
            ),
        )
    ]
    assert arrived(report) == {"traces", "metrics"}


def test_a_provider_that_somebody_else_has_set(diagnose, http_endpoint):
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "provider",
            "stop",
            ALL,
            (
                "Something else has set up OpenTelemetry before configure(), so "
                "otel-stream exports through that. "
                "Start without opentelemetry-instrument, or look for the exporter "
                "where that provider is made."
            ),
        )
    ]
    assert report.findings[-1].verdict.seen == (
        "opentelemetry.sdk.trace.TracerProvider. "
        "The program has set a tracer provider already; they are used."
    )


def test_a_file_of_configuration_that_is_not_read(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_CONFIG_FILE", "otel.yaml")
    assert said(diagnose(http_endpoint.url)) == [
        (
            "configuration",
            "note",
            ALL,
            (
                "OTEL_CONFIG_FILE is not read by configure(). "
                "Start the program with opentelemetry-instrument, or use variables instead."
            ),
        )
    ]


def test_headers_that_are_left_out(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer geheim")
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "headers",
            "note",
            ALL,
            (
                "OTEL_EXPORTER_OTLP_HEADERS has an entry without an equals sign, which is left out. "
                "Write name=value,name=value, with %2C for a comma in a value."
            ),
        )
    ]
    assert b"geheim" not in report.to_json()


def test_an_endpoint_of_the_environment_that_is_not_the_one_tried(
    diagnose, http_endpoint, refusing, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{refusing}")
    report = diagnose(http_endpoint.url)
    assert said(report) == [
        (
            "endpoint",
            "note",
            ALL,
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, and a program uses that; only ENDPOINT is tried here. "
                "Unset OTEL_EXPORTER_OTLP_ENDPOINT, or run otel-stream doctor without ENDPOINT to try it."
            ),
        )
    ]
    assert arrived(report) == set(ALL)


@pytest.mark.parametrize("variable", ["COMPRESSION", "PROTOCOL"])
def test_what_the_environment_says_and_cannot_mean_stops_nothing(
    diagnose, http_endpoint, monkeypatch, variable
):
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", "http/json")
    report = diagnose(http_endpoint.url)
    assert (said(report), arrived(report)) == ([], set(ALL))


def test_a_proxy_on_the_way(diagnose, replies, monkeypatch):
    proxy = replies()
    monkeypatch.setenv("http_proxy", proxy.url)
    report = diagnose("http://collector.example:4318")
    assert said(report) == [
        (
            "proxy",
            "note",
            ALL,
            (
                "collector.example:4318 is reached through the proxy in HTTP_PROXY. "
                "If it should not be, put collector.example into NO_PROXY."
            ),
        )
    ]
    assert arrived(report) == set(ALL)
    assert {path for path, _ in proxy.got} == {f"http://collector.example:4318/v1/{signal}" for signal in ALL}


def test_the_environment_is_left_as_it_was(diagnose, http_endpoint, monkeypatch):
    import os

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:1/v1/logs")
    before = dict(os.environ)
    diagnose(http_endpoint.url)
    # gRPC's silence is meant to last.
    after = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    assert after == {name: value for name, value in before.items() if name != "GRPC_VERBOSITY"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318' has no scheme: "
                "write http://localhost:4318 (or https://localhost:4318)."
            ),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "htp://me:geheim@localhost"},
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT: 'htp://localhost' is no address of HTTP; "
                "write http://HOST:4318 or https://HOST"
            ),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:port"},
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT is no address, for its port is no number: "
                "write / ? # of a password as %2F %3F %23."
            ),
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://' names no host; write http://HOST:4318",
        ),
    ],
)
def test_variables_that_make_no_sense(diagnose, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as raised:
        diagnose()
    assert str(raised.value) == message
