"""Servers that fork their workers: all runs' telemetry arrives, each worker's as an instance of its own."""

import os
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.ports import free
from tests.otlp_servers import http_server

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.timeout(400),
]

RUNS = 40
#: Seconds that a server may take to start, to work and to end, on a machine that does much else.
PATIENCE = 150
#: Of one run.
SPANS, ENDS = 5, 1


def instances(sink):
    """{service.instance.id: [root spans, spans, ends of runs, runs measured]}, of who ran graphs."""
    found = {}
    for request in sink.requests:
        for kind in ("resource_spans", "resource_logs", "resource_metrics"):
            for resource in getattr(request, kind, ()):
                about = {one.key: one.value.string_value for one in resource.resource.attributes}
                numbers = found.setdefault(about["service.instance.id"], [0, 0, 0, 0])
                for scope in getattr(resource, f"scope_{kind.removeprefix('resource_')}"):
                    _count(scope, numbers)
    return {id: numbers for id, numbers in found.items() if any(numbers)}


def _count(scope, numbers):
    spans, logs, metrics = (getattr(scope, name, ()) for name in ("spans", "log_records", "metrics"))
    numbers[0] += sum(span.name == "invoke_workflow triage" for span in spans)
    numbers[1] += len(spans)
    numbers[2] += sum(record.event_name == "graph.run_end" for record in logs)
    for metric in metrics:
        if metric.name == "gen_ai.invoke_workflow.duration":
            # Sums since the start: the last one is all of them.
            numbers[3] = sum(point.count for point in metric.histogram.data_points)


def assert_all_arrived(sink, workers, runs):
    found = instances(sink)
    assert len(found) == workers
    assert sum(numbers[2] for numbers in found.values()) == runs
    for roots, spans, ends, measured in found.values():
        assert (spans, ends, measured) == (roots * SPANS, roots * ENDS, roots)


@pytest.fixture
def start(programs):
    started = []

    def start(*arguments, sink):
        environment = {"SINK": sink.url, "OTEL_METRICS_EXPORTER": "otlp"}
        started.append(programs.start("-W", "ignore", "-m", *arguments, environment=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def end(process):
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err


@pytest.mark.parametrize("preload", [False, True], ids=["configured in each", "configured once"])
def test_two_workers_of_gunicorn(start, preload):
    port = free()["http"]
    with http_server() as sink:
        options = ["--preload"] if preload else []
        place = f"127.0.0.1:{port}"
        server = start(
            "gunicorn", "--workers", "2", "--bind", place, "--no-control-socket", *options,
            "tests.programs.serving.wsgi:app", sink=sink,
        )  # fmt: skip
        answered = first_answers(f"http://{place}/", server)
        with ThreadPoolExecutor(8) as pool:
            pids = [*answered, *pool.map(lambda _: ask(f"http://{place}/"), range(RUNS))]
        end(server)
        assert_all_arrived(sink, len(set(pids)), len(pids))


def ask(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read()


def first_answers(url, server):
    """Ask until both workers have answered; return all answers."""
    answers = []
    while len(set(answers)) < 2:
        assert server.poll() is None, server.communicate()[1]
        try:
            answers.append(ask(url))
        except OSError:
            time.sleep(0.05)  # between two looks
    return answers


def test_two_workers_of_celery(start, programs):
    for folder in ("queue", "control", "results"):
        (programs.folder / folder).mkdir()
    with http_server() as sink:
        worker = start(
            "celery", "-A", "tests.programs.serving.tasks", "worker", "-c", "2", "--pool", "prefork",
            "--without-gossip", "--without-mingle", "--loglevel", "ERROR", sink=sink,
        )  # fmt: skip
        asking = start("tests.programs.serving.ask", str(RUNS), sink=sink)
        out, err = asking.communicate(timeout=PATIENCE)
        assert asking.returncode == 0, err
        end(worker)
        assert_all_arrived(sink, int(out), RUNS)


def test_a_pool_of_processes(programs):
    with http_server() as sink:
        out, _ = programs.run(POOL, warnings="ignore", SINK=sink.url, OTEL_METRICS_EXPORTER="otlp")
        assert_all_arrived(sink, int(out), RUNS)


POOL = f"""
    import multiprocessing, os
    from concurrent.futures import ProcessPoolExecutor
    from otel_stream import configure
    from tests.programs import small

    configure("pool", endpoint=os.environ["SINK"])
    graph = small.graph()

    def work(number):
        graph.invoke({{"x": number}})
        return os.getpid()

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        print(len(set(pool.map(work, range({RUNS})))))
"""
