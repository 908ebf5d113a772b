"""Telemetry leaves, whichever way a process comes into being and ends."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[3])
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

BEGIN = f"""
    import os, sys, threading
    sys.path.insert(0, {ROOT!r})
    from typing import TypedDict
    from engine import START, StateGraph
    from otel_stream.sdk import configure

    class State(TypedDict, total=False):
        x: int

    def graph(node, name):
        return StateGraph(State).add_node("n", node).add_edge(START, "n").compile(name=name)

    def run(name):
        graph(lambda state: {{"x": 1}}, name).invoke({{"x": 0}})
"""


def program(body, tmp_path, *before):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(BEGIN) + textwrap.dedent(body))
    done = subprocess.run(
        [*before, sys.executable, "-W", "ignore", str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=50,
    )
    return done, exported(tmp_path / "t.jsonl")


def exported(path):
    """Return by instance: names of root spans, names of log events, and active runs as last told."""
    found = {}
    for line in path.read_text().splitlines():
        for kind, resources in json.loads(line).items():
            for resource in resources:
                about = {
                    one["key"]: one["value"].get("stringValue") for one in resource["resource"]["attributes"]
                }
                mine = found.setdefault(
                    about["service.instance.id"], {"spans": [], "logs": [], "metrics": {}}
                )
                for scope in resource[f"scope{kind.removeprefix('resource')}"]:
                    mine["spans"] += [one["name"] for one in scope.get("spans", ())]
                    mine["logs"] += [one.get("eventName", "") for one in scope.get("logRecords", ())]
                    mine["metrics"].update({one["name"]: one for one in scope.get("metrics", ())})
    return found


def runs(found):
    return sorted(
        tuple(name for name in mine["spans"] if name.startswith("invoke_workflow")) for mine in found.values()
    )


def points(mine, name):
    metric = mine["metrics"][name]
    (data,) = [value for key, value in metric.items() if isinstance(value, dict)]
    return [
        int(point.get("asInt", point.get("count", point.get("asDouble", 0)))) for point in data["dataPoints"]
    ]


CHILDREN = {
    "fork": "p = mp.get_context('fork').Process(target=run, args=('c',)); p.start(); p.join()",
    "pool": "p = mp.get_context('fork').Pool(1); p.map(run, ['c']); p.close(); p.join()",
    "terminated pool": "with mp.get_context('fork').Pool(1) as p: p.map(run, ['c'])",
    "executor": """
        with ProcessPoolExecutor(1, mp_context=mp.get_context('fork')) as pool:
            pool.submit(run, 'c').result()
    """,
    "spawn": "p = mp.get_context('spawn').Process(target=of_its_own); p.start(); p.join()",
    "forkserver": "p = mp.get_context('forkserver').Process(target=of_its_own); p.start(); p.join()",
    "os.fork": """
        child = os.fork()
        if child == 0:
            run('c')
            sys.exit(0)
        os.waitpid(child, 0)
    """,
}


@pytest.mark.parametrize("way", CHILDREN)
def test_runs_of_a_child_process_leave_it_under_an_instance_of_its_own(tmp_path, way):
    body = """
    import multiprocessing as mp
    from concurrent.futures import ProcessPoolExecutor

    def of_its_own():
        configure("child", path="t.jsonl")
        run("c")

    if __name__ == "__main__":
        configure("parent", path="t.jsonl")
        run("parent")
    """
    last = textwrap.indent(textwrap.dedent(CHILDREN[way]), " " * 8)
    done, found = program(f"{body.rstrip()}\n{last}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert runs(found) == [("invoke_workflow c",), ("invoke_workflow parent",)]
    for mine in found.values():
        assert "graph.run_end" in mine["logs"]
        assert points(mine, "gen_ai.invoke_workflow.duration") == [1]


def test_a_child_shows_nothing_that_is_in_progress_in_its_parent(tmp_path):
    body = """
    from engine import InMemorySaver, interrupt
    handle = configure("parent", path="t.jsonl")
    go, entered = threading.Event(), threading.Event()

    def slow(state):
        entered.set()
        go.wait(20)

    asking = StateGraph(State).add_node("n", lambda s: interrupt("?")).add_edge(START, "n")
    asking = asking.compile(name="g", checkpointer=InMemorySaver())
    asking.invoke({"x": 0}, {"configurable": {"thread_id": "1"}})
    thread = threading.Thread(target=graph(slow, "g").invoke, args=({"x": 0},))
    thread.start()
    assert entered.wait(20)
    child = os.fork()
    if child == 0:
        run("g")
        handle.shutdown()
        os._exit(0)
    os.waitpid(child, 0)
    go.set()
    thread.join()
    """
    done, found = program(body, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (child,) = [mine for mine in found.values() if mine["spans"].count("invoke_workflow g") == 1]
    assert set(points(child, "graph.run.active")) == {0}
    assert "graph.interrupt.waiting" not in child["metrics"]
    assert points(child, "gen_ai.invoke_workflow.duration") == [1]


def test_a_fork_while_others_emit_leaves_a_child_that_works(tmp_path):
    body = """
    handle = configure("parent", path="t.jsonl")
    over = threading.Event()
    # Python's own locks, of imports and of cached properties (until 3.11), are not renewed by a fork.
    noise, own = (graph(lambda state: {"x": 1}, name) for name in ("noise", "c"))
    for one in (noise, own):
        one.invoke({"x": 0})
    handle.flush()

    def emit():
        while not over.is_set():
            noise.invoke({"x": 0})

    threads = [threading.Thread(target=emit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            own.invoke({"x": 0})
            os._exit(0 if handle.shutdown(5) else 1)
        assert os.waitpid(child, 0)[1] == 0
    over.set()
    for thread in threads:
        thread.join()
    """
    done, found = program(body, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(one == ("invoke_workflow c",) for one in runs(found)) == 20


def test_a_provider_of_no_name_is_none(tmp_path):
    body = """
    os.environ |= {f"OTEL_PYTHON_{kind}_PROVIDER": "" for kind in ("TRACER", "LOGGER", "METER")}
    handle = configure("svc", path="t.jsonl")
    graph(lambda state: {"x": 1}, "job").invoke({"x": 0})
    assert handle.shutdown(5)
    """
    done, found = program(body, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert runs(found) == [("invoke_workflow job",)]


TERMINATED = """
    import asyncio, signal
    configure("svc", path="t.jsonl")

    async def work(state):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(30)

    asyncio.run(graph(work, "job").ainvoke({"x": 0}))
"""


@pytest.mark.parametrize("as_pid_1", [False, True])
def test_on_sigterm_the_run_in_progress_ends_and_leaves_and_the_process_ends(tmp_path, as_pid_1):
    before = ()
    if as_pid_1:
        before = ("unshare", "--pid", "--fork", "--map-root-user")
        if not shutil.which("unshare") or subprocess.run([*before, "true"], check=False).returncode:
            pytest.skip("no process can be the first one here")
    done, found = program(TERMINATED, tmp_path, *before)
    assert done.returncode == (143 if as_pid_1 else -15)
    (mine,) = found.values()
    assert sorted(mine["spans"]) == ["invoke_node n", "invoke_workflow job", "superstep"]
    assert mine["logs"].count("graph.run_end") == 1


def test_sigterm_never_waits_for_a_lock_that_the_interrupted_code_holds(tmp_path):
    body = """
    import signal
    handle = configure("svc", path="t.jsonl")
    run("g")
    account = handle._pipelines[0].accounts[0]
    with account._lock:
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(100_000))
    threading.Event().wait(30)
    """
    done, found = program(body, tmp_path)
    assert done.returncode == -15
    assert runs(found) == [("invoke_workflow g",)]


def test_what_exporting_says_does_not_come_back_as_log_records(http_endpoint, tmp_path):
    body = f"""
    import logging
    from opentelemetry._logs import get_logger_provider
    from otel_stream.sdk.logs.python_logging import LogHandler
    handle = configure("svc", endpoint={http_endpoint.url!r})
    logging.basicConfig(level=logging.DEBUG, handlers=[LogHandler(get_logger_provider())])
    logging.getLogger("app").info("hello")
    for _ in range(3):
        handle.flush()
    handle.shutdown()
    """
    path = tmp_path / "t.jsonl"
    path.write_text("")
    done, _ = program(body, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record.body.string_value for record in http_endpoint.records()] == ["hello"]
