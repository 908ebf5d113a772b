"""Who gets a consumer, and what each signal makes it want."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from otel_stream import events as e
from otel_stream.telemetry import TelemetryOptions, consumer_for_run, set_options

RUN = {e.RunStarted, e.RunEnded}
CALLS = {e.CallStarted, e.CallEnded}
TASKS = {e.SuperstepStarted, e.SuperstepEnded, e.TaskStarted, e.TaskEnded}


@pytest.fixture(autouse=True)
def _options():
    set_options(None)
    yield
    set_options(None)


def test_without_any_provider_there_is_no_consumer(otel_globals):
    assert consumer_for_run() is None


def test_no_op_providers_are_none(otel_globals):
    assert (
        consumer_for_run(
            tracer_provider=trace.NoOpTracerProvider(),
            logger_provider=_logs.NoOpLoggerProvider(),
            meter_provider=metrics.NoOpMeterProvider(),
        )
        is None
    )


def test_a_disabled_sdk_is_none(otel_globals, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert (
        consumer_for_run(
            tracer_provider=TracerProvider(shutdown_on_exit=False),
            logger_provider=LoggerProvider(shutdown_on_exit=False),
            meter_provider=MeterProvider(shutdown_on_exit=False),
        )
        is None
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_global_provider_counts_whenever_it_was_set(otel_globals, when):
    if when == "after":
        assert consumer_for_run() is None
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    assert consumer_for_run() is not None


@pytest.mark.parametrize(
    ("signals", "kinds", "modes"),
    [
        (("traces",), RUN | TASKS | CALLS | {e.AttemptStarted, e.RouteChosen}, set()),
        (("logs",), RUN | {e.RunInterrupted}, {"values", "updates", "custom", "messages"}),
        (("metrics",), RUN | TASKS | CALLS | {e.CheckpointWritten}, set()),
    ],
)
def test_a_signal_wants_only_what_it_needs(otel_globals, make_scene, signals, kinds, modes):
    consumer = make_scene(signals=signals).consumer
    assert {kind for kind in e.EVENTS if kind.bit & consumer.interest} == kinds
    assert consumer.modes == modes


def test_log_events_without_modes_want_nothing(otel_globals, make_scene):
    consumer = make_scene(signals=("logs",), options=TelemetryOptions(modes=frozenset())).consumer
    assert (consumer.interest, consumer.modes) == (0, frozenset())


def test_instruments_are_made_once_for_all_runs(otel_globals):
    meters = MeterProvider(shutdown_on_exit=False)
    providers = (meters, meters, MeterProvider(shutdown_on_exit=False))
    consumers: list[Any] = [consumer_for_run(meter_provider=one) for one in providers]
    first, second, other = (one._metrics._instruments for one in consumers)
    assert first is second
    assert other is not first


def test_importing_and_asking_loads_no_sdk_and_no_exporter():
    program = (
        "import sys; from otel_stream.telemetry import consumer_for_run; assert consumer_for_run() is None;"
        "heavy = ('opentelemetry.sdk', 'opentelemetry.exporter', 'grpc');"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("signals", [("traces",), ("metrics",)])
def test_ends_of_attempts_are_wanted_once_a_node_may_be_retried(make_scene, signals):
    scene = make_scene(signals=signals)
    run = scene.run()
    plain, flaky = scene.step(run, "plain", "flaky")
    plain.retryable = False
    scene.start(plain)
    assert not e.AttemptEnded.bit & scene.consumer.interest
    scene.start(flaky)
    assert e.AttemptEnded.bit & scene.consumer.interest


class Unhashable(MeterProvider):
    """A provider like logfire's, which is compared by its value."""

    __hash__: Any = None

    def __eq__(self, other):
        return self is other


def test_a_provider_that_cannot_be_hashed_has_gauges_like_any_other(scene):
    reader = InMemoryMetricReader()
    meters = Unhashable([reader], shutdown_on_exit=False)
    assert consumer_for_run(meter_provider=meters) is not None
    assert consumer_for_run(meter_provider=meters, tracer_provider=scene.tracers) is not None


def test_a_provider_that_raises_costs_its_telemetry_and_says_so(scene, caplog):
    class Broken(TracerProvider):
        def get_tracer(self, *args, **kwargs):
            raise RuntimeError("no tracer today")

    assert consumer_for_run(tracer_provider=Broken(shutdown_on_exit=False)) is None
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said.startswith("Telemetry of runs is incomplete: RuntimeError in get_tracer (test_consumer.py:")
