"""Processes that fork, end, are ended, and are started again: what was exported by then is whole."""

import os
import signal
import socket

import pytest

TREE = ["invoke_node act", "invoke_node plan", "invoke_workflow triage", "superstep", "superstep"]

HEAD = """
    import os, signal, sys, threading
    from otel_stream import configure
    from tests.programs import small

    handle = configure(path="t.jsonl", modes="custom,updates")
"""

# -- forks ----------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORK = """
    who = "parent"

    def forks(state):
        global who
        child = os.fork()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            return {"x": 1}
        who = "child"
        IN_CHILD

    def before(state):
        return {"x": 0}

    small.graph(before=before, forks=forks, act=small.act).invoke({"x": 0})
    print(who)
"""
RUN_OF_THREE = sorted(
    ["superstep"] * 3
    + ["invoke_node before", "invoke_node forks", "invoke_node act", "invoke_workflow triage"]
)


@needs_fork
@pytest.mark.parametrize("leave", ["os._exit(0)", 'os.execv(sys.executable, [sys.executable, "-c", ""])'])
def test_a_node_may_fork_a_child_that_leaves_at_once(programs, leave):
    out, err = programs.run(HEAD + FORK.replace("IN_CHILD", leave), warnings="ignore")
    assert (out, err) == ("parent\n", "")
    exported = programs.exported()
    assert exported.names == RUN_OF_THREE
    assert exported.parts() == ["graph.updates"] * 3


@needs_fork
def test_a_run_that_is_forked_goes_on_in_both_and_nothing_that_had_ended_is_told_twice(programs):
    out, err = programs.run(HEAD + FORK.replace("IN_CHILD", 'return {"x": 1}'), warnings="ignore")
    assert (out, err) == ("child\nparent\n", "")
    exported = programs.exported()
    ended = ["invoke_node before", "superstep"]
    assert exported.names == sorted(
        RUN_OF_THREE + [name for name in RUN_OF_THREE if name not in ended] + ["superstep"] * 2
    )
    assert [name for name in exported.names if name == "invoke_node before"] == ["invoke_node before"]
    assert exported.parts() == ["graph.updates"] * 5


@needs_fork
def test_a_forked_child_runs_graphs_of_its_own(programs):
    program = """
    small.graph().invoke({"x": 0})
    child = os.fork()
    small.graph("child" if child == 0 else "parent").invoke({"x": 0})
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    assert programs.run(HEAD + program, warnings="ignore") == ("", "")
    graphs = [name.split()[1] for name in programs.exported().names if name.startswith("invoke_workflow")]
    assert graphs == ["child", "parent", "triage"]
    assert len(programs.exported().traces) == 3


# -- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code"), [("pass", 0), ("sys.exit(3)", 3), ("raise KeyError('x')", 1), ("os.kill(0, 0)", 0)]
)
def test_a_program_that_just_ends_has_exported_its_runs(programs, end, code):
    _, err = programs.run(HEAD + f'    small.graph().invoke({{"x": 0}})\n    {end}\n', code=code)
    assert programs.exported().names == TREE
    assert programs.exported().parts() == ["graph.custom", "graph.updates", "graph.updates"]
    assert ("KeyError" in err) is (code == 1)
    assert "elemetry" not in err


@pytest.mark.parametrize("handler", ["", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"])
def test_a_program_that_is_told_to_end_exports_its_runs_first(programs, handler):
    program = f"""
    {handler}
    small.graph().invoke({{"x": 0}})
    os.kill(os.getpid(), signal.SIGTERM)
    """
    assert programs.run(HEAD + program, code=0 if handler else -signal.SIGTERM) == ("", "")
    assert programs.exported().names == TREE


def test_sigterm_does_what_the_program_has_said_even_before_configure(programs):
    program = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from otel_stream import configure
    configure(path="t.jsonl")
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)
    """
    assert programs.run(program) == ("True\n", "")


def test_a_program_that_is_gone_at_once_has_exported_what_it_flushed(programs):
    program = """
    def leaves(state):
        assert handle.flush()
        os._exit(7)

    small.graph().invoke({"x": 0})
    small.graph("second", plan=small.plan, leaves=leaves).invoke({"x": 0})
    """
    assert programs.run(HEAD + program, code=7) == ("", "")
    exported = programs.exported()
    assert exported.names == sorted([*TREE, "invoke_node plan", "superstep"])
    assert exported.parts() == [
        "graph.custom",
        "graph.updates",
        "graph.updates",
        "graph.custom",
        "graph.updates",
    ]


def test_a_run_on_a_daemon_thread_does_not_keep_a_program_from_ending(programs):
    program = """
    started = threading.Event()

    def endless(state):
        started.set()
        threading.Event().wait()

    small.graph().invoke({"x": 0})
    threading.Thread(target=small.graph(endless=endless).invoke, args=({"x": 0},), daemon=True).start()
    started.wait()
    """
    assert programs.run(HEAD + program) == ("", "")
    exported = programs.exported()
    assert exported.names == sorted([*TREE, "invoke_node endless", "invoke_workflow triage", "superstep"])
    assert sorted(exported.ends("graph.run.end")) == ["cancelled", "ok"]


def test_a_program_may_shut_down_itself_and_run_on(programs):
    program = """
    small.graph().invoke({"x": 0})
    assert handle.shutdown()
    assert small.graph("unseen").invoke({"x": 0}) == {"x": 2}
    """
    out, _ = programs.run(HEAD + program)
    assert (out, programs.exported().names) == ("", TREE)


# -- signals --------------------------------------------------------------------------------------

INTERRUPTED = {
    "sync": 'small.graph(stops=stops).invoke({"x": 0})',
    "async": 'import asyncio; asyncio.run(small.graph(stops=waits).ainvoke({"x": 0}))',
    "stream": 'list(small.graph(stops=stops).stream({"x": 0}))',
}


@pytest.mark.parametrize("way", INTERRUPTED)
def test_ctrl_c_ends_the_run_as_cancelled_and_the_program_as_ever(programs, way):
    program = f"""
    def stops(state):
        signal.raise_signal(signal.SIGINT)

    async def waits(state):
        import asyncio
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    try:
        {INTERRUPTED[way]}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise
    """
    out, err = programs.run(HEAD + program, code=-signal.SIGINT)
    assert (out, err.splitlines()[-1]) == ("interrupted\n", "KeyboardInterrupt")
    exported = programs.exported()
    assert exported.names == ["invoke_node stops", "invoke_workflow triage", "superstep"]
    assert exported.ends("graph.run.end") == ["cancelled"]
    assert "elemetry" not in err


SERVER = """
import anyio
from otel_stream import configure
from tests.programs import small

handle = configure(path="t.jsonl", modes="custom,updates")
graph = small.graph()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        if not LIFESPAN:
            raise NotImplementedError
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            if step == "shutdown":
                await anyio.to_thread.run_sync(handle.shutdown)
            await send({"type": f"lifespan.{step}.complete"})
        return
    result = await graph.ainvoke({"x": 0})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"%d" % result["x"]})
"""


def _ask(address):
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b""
        while block := client.recv(4096):
            answer += block
    return answer.rpartition(b"\r\n")[2]


@pytest.mark.skipif(os.name == "nt", reason="uvicorn takes no inherited socket there")
@pytest.mark.parametrize(
    "lifespan",
    [True, False],
)
def test_a_server_that_is_restarted_by_a_signal_loses_no_run_and_tells_none_twice(programs, lifespan):
    (programs.folder / "program.py").write_text(SERVER.replace("LIFESPAN", str(lifespan)))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.fileno())
        command = ("-m", "uvicorn", "program:app", "--fd", port, "--log-level", "warning")
        for _ in range(2):  # what --reload does: SIGTERM, and a new process on the same socket
            with programs.start(*command, pass_fds=[listening.fileno()]) as server:
                try:
                    assert [_ask(listening.getsockname()) for _ in range(3)] == [b"2"] * 3
                    server.send_signal(signal.SIGTERM)
                    out, err = server.communicate(timeout=50)
                finally:
                    server.kill()
            assert (server.returncode, out, err) == (-signal.SIGTERM, "", "")
    exported = programs.exported()
    assert list(exported.traces.values()) == [TREE] * 6
    assert exported.parts() == ["graph.custom", "graph.updates", "graph.updates"] * 6
