"""Of several workers one at a time runs a thread; who waits for it gets it when that one ends or dies."""

import asyncio
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import psycopg
import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engine import InMemorySaver, LeaseLostError, PostgresLease, SqliteLease, ThreadBusyError
from otel_stream import semconv
from tests.persistence.leaseholder import THREAD, entrypoint_of, graph_of, lease_of, saver_of

KINDS = ["sqlite", "postgres"]
pytestmark = [pytest.mark.xdist_group("postgres"), pytest.mark.timeout(120)]


@pytest.fixture
def threads(places):
    """Databases without threads."""
    with psycopg.connect(places["postgres"], autocommit=True) as connection:
        connection.execute("drop schema public cascade; create schema public")
    places = {**places, "sqlite": f"{places['sqlite']}.{time.monotonic_ns()}"}
    for kind in KINDS:
        with saver_of(kind, places[kind]) as saver:
            saver.setup()
    return places


def assert_free(kind, threads):
    held = lease_of(kind, threads[kind]).take("one")
    assert not isinstance(held, str), held
    held.release()


@pytest.fixture
def worker(threads, tmp_path):
    """Start a worker in a process of its own, which stands still in its second node."""
    started = []

    def start(kind, ttl=30, program="graph"):
        mark = tmp_path / f"{kind}-{len(started)}"
        about = (kind, threads[kind], mark, str(ttl), program)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.persistence.leaseholder", *about],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        while not mark.with_name(f"{mark.name}.there").exists():
            assert process.poll() is None
            time.sleep(0.01)
        return process, mark.with_name(f"{mark.name}.go")

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_that_another_process_runs_is_refused_in_a_sentence_that_says_who(threads, worker, kind):
    process, go = worker(kind)
    ran = []
    with saver_of(kind, threads[kind]) as saver:
        graph = graph_of(lambda: ran.append("here")).compile(
            checkpointer=saver, lease=lease_of(kind, threads[kind])
        )
        with pytest.raises(
            ThreadBusyError, match=rf"^thread 'one' is being run by the worker '.*:{process.pid}': try"
        ):
            graph.invoke({"log": ["another"]}, THREAD)
        assert graph.invoke({"log": ["in"]}, {"configurable": {"thread_id": "two"}})["log"] == [
            "in",
            "first",
            "second",
        ]
        go.touch()
        assert process.communicate()[0] == "{'log': ['in', 'first', 'second']}\n"
        assert graph.invoke({"log": ["more"]}, THREAD)["log"] == [
            "in",
            "first",
            "second",
            "more",
            "first",
            "second",
        ]
    assert ran == ["here", "here"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_is_killed_is_followed_by_one_that_waits_and_linked_in_the_trace(
    threads, worker, kind, otel_globals
):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    process, _ = worker(kind, ttl=2)
    with saver_of(kind, threads[kind]) as saver:
        graph = graph_of().compile(checkpointer=saver, lease=lease_of(kind, threads[kind], wait=60))
        with ThreadPoolExecutor() as pool:
            going_on = pool.submit(graph.invoke, None, THREAD)
            process.send_signal(signal.SIGKILL)
            assert going_on.result()["log"] == ["in", "first", "second"]
    (run,) = (span for span in exporter.get_finished_spans() if span.name.startswith("invoke_workflow"))
    (link,) = [link for link in run.links if link.attributes[semconv.GRAPH_LINK_KIND] == "resume"]
    assert f"{link.context.trace_id:032x}" == run.attributes[semconv.GRAPH_RESUME_TRACE_ID]
    assert link.context.trace_id != run.context.trace_id
    assert link.attributes[semconv.GRAPH_RUN_ID] == run.attributes[semconv.GRAPH_RESUME_RUN_ID]
    nodes = [span.name for span in exporter.get_finished_spans() if span.name.startswith("invoke_node")]
    assert nodes == ["invoke_node second"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_whose_function_another_process_runs_is_refused_and_gone_on_with_when_that_dies(
    threads, worker, kind
):
    process, _ = worker(kind, ttl=2, program="entrypoint")
    ran = []
    with saver_of(kind, threads[kind]) as saver:

        def function(wait):
            lease = lease_of(kind, threads[kind], wait=wait)
            return entrypoint_of(lambda: ran.append("here"), checkpointer=saver, lease=lease)

        with pytest.raises(
            ThreadBusyError, match=rf"'one' is being run by the worker '.*:{process.pid}': try"
        ):
            function(wait=0).invoke("another", THREAD)
        assert ran == []
        process.send_signal(signal.SIGKILL)
        assert function(wait=60).invoke(None, THREAD) == {"log": ["in", "first", "second"]}
        assert function(wait=0).invoke("more", THREAD)["log"][3:] == ["more", "first", "second"]
    assert ran == ["here", "here"]
    assert_free(kind, threads)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_a_thread_that_another_process_runs_is_updated_when_that_has_ended(
    threads, worker, kind
):
    process, go = worker(kind)
    with saver_of(kind, threads[kind]) as saver:

        def graph(wait):
            lease = lease_of(kind, threads[kind], wait=wait)
            return graph_of().compile(checkpointer=saver, lease=lease)

        with pytest.raises(
            ThreadBusyError, match=rf"'one' is being run by the worker '.*:{process.pid}': try"
        ):
            graph(wait=0).update_state(THREAD, {"log": ["changed"]}, as_node="second")
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(graph(wait=60).update_state, THREAD, {"log": ["changed"]}, as_node="second")
            go.touch()
            waiting.result()
        assert graph(wait=0).get_state(THREAD).values["log"] == ["in", "first", "second", "changed"]
    assert_free(kind, threads)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_update_that_is_cancelled_while_it_waits_leaves_nothing_held_and_nothing_changed(
    threads, anyio_backend
):
    held = PostgresLease(threads["postgres"]).take("one")
    async with AsyncPostgresSaver.from_conn_string(threads["postgres"]) as saver:
        lease = PostgresLease(threads["postgres"], wait=60)
        graph = graph_of().compile(checkpointer=saver, lease=lease)
        with anyio.move_on_after(0.05) as scope:
            await graph.aupdate_state(THREAD, {"log": ["changed"]}, as_node="second")
        assert scope.cancelled_caught
        held.release()
        assert (await graph.aget_state(THREAD)).values == {}
        await graph.aupdate_state(THREAD, {"log": ["changed"]}, as_node="second")
        assert (await graph.aget_state(THREAD)).values == {"log": ["changed"]}
    assert_free("postgres", threads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_may_update_the_thread_of_its_own_run(threads, kind):
    def change():
        graph.update_state(THREAD, {"log": ["changed"]}, as_node="second")

    with saver_of(kind, threads[kind]) as saver:
        lease = lease_of(kind, threads[kind])
        graph = graph_of(change).compile(checkpointer=saver, lease=lease)
        assert graph.invoke({"log": []}, THREAD)["log"] == ["first", "second"]
        logs = [state.values.get("log") for state in graph.get_state_history(THREAD)]
    assert ["first", "changed"] in logs
    assert_free(kind, threads)


@pytest.mark.parametrize("kind", KINDS)
def test_many_runs_of_one_thread_follow_each_other(threads, kind):
    """In one process, each with a saver of its own and a lease of its own or a shared one."""
    inside, most = [], []

    def wait_here():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)  # so that others come
        inside.pop()

    shared = lease_of(kind, threads[kind], wait=100)

    def run(number):
        lease = shared if number % 2 else lease_of(kind, threads[kind], wait=100)
        with saver_of(kind, threads[kind]) as saver:
            graph_of(wait_here).compile(checkpointer=saver, lease=lease).invoke(
                {"log": [str(number)]}, THREAD
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    with saver_of(kind, threads[kind]) as saver:
        log = graph_of().compile(checkpointer=saver).get_state(THREAD).values["log"]
    assert max(most) == 1
    assert sorted(log[::3], key=int) == [str(number) for number in range(8)]
    assert (log[1::3], log[2::3]) == (["first"] * 8, ["second"] * 8)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_an_event_loop_waiting_holds_up_nothing_and_cancelling_leaves_nothing_held(
    threads, anyio_backend
):
    lease = PostgresLease(threads["postgres"], wait=60)
    held = PostgresLease(threads["postgres"]).take("one")
    async with AsyncPostgresSaver.from_conn_string(threads["postgres"]) as saver:
        graph = graph_of().compile(checkpointer=saver, lease=lease)
        for _ in range(5):  # cancelled while it waits, by either way
            waiting = asyncio.ensure_future(graph.ainvoke({"log": []}, THREAD))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        with anyio.move_on_after(0.05):
            await graph.ainvoke({"log": []}, THREAD)
        held.release()
        assert (await graph.ainvoke({"log": []}, THREAD))["log"] == ["first", "second"]
    assert_free("postgres", threads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_can_no_longer_be_sure_of_its_thread_stops_before_its_next_superstep(threads, kind):
    lease = lease_of(kind, threads[kind], ttl=0.3)
    ran, taken = [], []

    def lose():
        if kind == "postgres":
            with psycopg.connect(threads[kind], autocommit=True) as other:
                other.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where application_name like 'otel-stream %'"
                )
        else:
            with lease._lock:  # its renewing thread can't get at it, as if the process had stood still
                time.sleep(0.4)
                taken.append(lease_of(kind, threads[kind], ttl=30).take("one"))
        ran.append("second")

    with saver_of(kind, threads[kind]) as saver:
        graph = (
            graph_of(lose).add_node("third", lambda state: ran.append("third")).add_edge("second", "third")
        )
        compiled = graph.compile(checkpointer=saver, lease=lease)
        with pytest.raises(
            LeaseLostError, match=r"^the lease of thread 'one' is lost, so another worker may run it: "
        ):
            compiled.invoke({"log": []}, THREAD)
        assert ran == ["second"]
        for one in taken:
            one.release()
        assert compiled.invoke(None, THREAD)["log"] == ["first", "second"]
    assert ran == ["second", "third"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ends", ["well", "badly"])
def test_a_thread_is_free_when_its_run_has_ended_however_it_did(threads, kind, ends):
    def end():
        if ends == "badly":
            raise ValueError("no")

    with saver_of(kind, threads[kind]) as saver:
        graph = graph_of(end).compile(checkpointer=saver, lease=lease_of(kind, threads[kind]))
        for _ in range(2):
            try:
                graph.invoke({"log": []}, THREAD)
            except ValueError:
                assert ends == "badly"
    assert_free(kind, threads)


FORKS = """
import os, sys
from engine import LeaseLostError
from tests.persistence.leaseholder import lease_of

kind, place = sys.argv[1:]
lease = lease_of(kind, place, ttl=30)
held = lease.take("one")
if os.fork() == 0:
    try:
        held.check()
    except LeaseLostError:
        os._exit(0 if isinstance(lease.take("one"), str) else 2)
status = os.waitstatus_to_exitcode(os.wait()[1])
assert status == 0, status
held.check()
held.release()
taken = lease_of(kind, place).take("one")
assert not isinstance(taken, str), taken
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_child_holds_nothing_of_its_parent(threads, kind):
    done = subprocess.run(
        [sys.executable, "-c", FORKS, kind, threads[kind]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_held_for_longer_than_its_time_to_live_is_renewed(threads):
    lease = lease_of("sqlite", threads["sqlite"], ttl=0.3)
    held = lease.take("one")
    for _ in range(4):
        time.sleep(0.2)  # time has to pass
        held.check()
        assert isinstance(lease_of("sqlite", threads["sqlite"]).take("one"), str)
    held.release()
    lease._renewing.join()  # it has nothing more to do


def test_what_cannot_be_a_lease_is_refused_in_a_sentence():
    with pytest.raises(TypeError, match="lease='yes' is no lease; give a PostgresLease or a SqliteLease"):
        graph_of().compile(checkpointer=InMemorySaver(), lease="yes")
    with pytest.raises(ValueError, match="wait=-1 is no time"):
        PostgresLease("", wait=-1)
    with pytest.raises(ValueError, match="ttl=0 is no time"):
        SqliteLease("", ttl=0)
    with pytest.raises(TypeError, match="entrypoint: lease='yes' is no lease"):
        entrypoint_of(lambda: None, lease="yes")
