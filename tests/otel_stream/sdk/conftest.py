"""OTLP endpoints over gRPC and HTTP in the test's own process, and a program that is observed."""

import socket
from contextvars import copy_context

import pytest

from otel_stream import events as e
from otel_stream.events import End, Run, Task
from otel_stream.sdk.configure import setup
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import consumer_for_run, set_options
from tests.otlp_servers import grpc_server, http_server


@pytest.fixture(autouse=True)
def _fresh(otel_globals):
    yield
    if setup._State.handle is not None:
        setup._State.handle.shutdown(1)
    setup._State.handle = setup._State.arguments = None
    set_options(None)


@pytest.fixture
def http_endpoint():
    with http_server() as endpoint:
        yield endpoint


@pytest.fixture
def grpc_endpoint():
    with grpc_server() as endpoint:
        yield endpoint


@pytest.fixture
def nobody():
    """An address that refuses connections: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def observed_run(nodes=1):
    """One run of ``nodes`` nodes in one superstep: 2 + ``nodes`` spans, ``nodes`` log events."""
    consumer = consumer_for_run()
    run = Run("run-1", "triage", context=copy_context())
    now = 1_700_000_000_000_000_000
    consumer.on_event(e.RunStarted(run, {}, False, now))
    tasks = tuple(Task(run, f"n{i}", 1, id=f"task-{i}") for i in range(nodes))
    consumer.on_event(e.SuperstepStarted(run, 1, tasks, now))
    for number, task in enumerate(tasks):
        consumer.on_event(e.TaskStarted(task, now))
        event = e.TaskEnded(task, End.OK, {"x": 1}, {"x": 1}, None, (), False, now)
        consumer.on_event(event)
        part = StreamPart("updates", (), {task.node: {"x": 1}}, number, now, "run-1", "triage", 1)
        if "updates" in consumer.modes:
            consumer.on_part(part, event)
    consumer.on_event(e.SuperstepEnded(run, 1, End.OK, frozenset(), now))
    consumer.on_event(e.RunEnded(run, End.OK, {}, None, (), 1, now))


@pytest.fixture
def run_something():
    return observed_run


@pytest.fixture
def http_and_grpc(http_endpoint, grpc_endpoint):
    return {"http/protobuf": http_endpoint, "grpc": grpc_endpoint}
