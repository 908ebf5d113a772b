"""Threads for the sync code of an asyncio loop: as few as can be, within anyio's limit, and gone in time."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

import anyio
import pytest
from anyio import from_thread, to_thread

from engine import END, START, StateGraph
from engine.executors import workers


@pytest.fixture
def anyio_backend() -> str:
    """Trio has threads of its own."""
    return "asyncio"


class State(TypedDict, total=False):
    n: int


def graph(*nodes: Callable[..., Any], steps: int = 1) -> Any:
    """Return a graph of nodes side by side; one alone is repeated."""
    built = StateGraph(State)
    for place, node in enumerate(nodes):
        built.add_node(f"n{place}", node).add_edge(START, f"n{place}")
    if steps > 1:
        built.add_conditional_edges("n0", lambda state: "n0" if state["n"] < steps else END, ["n0", END])
    return built.compile(name="g")


async def test_one_thread_does_for_all_that_comes_one_after_the_other() -> None:
    seen = set[int]()

    def node(state: State) -> State:
        seen.add(threading.get_ident())
        return {"n": state["n"] + 1}

    assert await graph(node, steps=50).ainvoke({"n": 0}, {"recursion_limit": 200}) == {"n": 50}
    assert len(seen) == 1


async def test_anyios_limit_of_threads_holds() -> None:
    limiter = to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 2
    inside, most, lock = 0, 0, threading.Lock()
    two = threading.Barrier(2)

    def node(state: State) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        two.wait(30)  # until another one is here
        with lock:
            inside -= 1

    try:
        await graph(*[node] * 6).ainvoke({"n": 0})
        assert (most, limiter.borrowed_tokens) == (2, 0)
    finally:
        limiter.total_tokens = before


async def test_who_is_cancelled_while_it_waits_for_a_thread_gives_none_back_that_it_never_had() -> None:
    limiter = to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    begun, go = threading.Event(), threading.Event()

    def first(state: State) -> None:
        begun.set()
        go.wait(30)

    try:
        one = asyncio.create_task(graph(first).ainvoke({"n": 0}))
        await to_thread.run_sync(begun.wait, 30, limiter=anyio.CapacityLimiter(1))
        other = asyncio.create_task(graph(lambda state: {"n": 5}).ainvoke({"n": 0}))
        async with asyncio.timeout(30):
            while not limiter.statistics().tasks_waiting:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        assert limiter.borrowed_tokens == 1
        go.set()
        await one
        assert limiter.borrowed_tokens == 0
    finally:
        limiter.total_tokens = before


async def by_a_scope(run: Callable[[], Any], begun: anyio.Event) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await begun.wait()
            scope.cancel()


async def by_its_task(run: Callable[[], Any], begun: anyio.Event) -> None:
    task = asyncio.create_task(run())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


WAYS = [pytest.param(by_a_scope, id="scope"), pytest.param(by_its_task, id="task")]


@pytest.mark.parametrize("cancelled", WAYS)
async def test_code_that_asks_anyio_is_told_that_it_is_cancelled(cancelled: Any) -> None:
    begun, told = anyio.Event(), list[type[BaseException]]()

    def node(state: State) -> None:
        from_thread.run_sync(begun.set)
        while True:
            try:
                from_thread.check_cancelled()
            except BaseException as error:
                told.append(type(error))
                raise

    await cancelled(lambda: graph(node).ainvoke({"n": 0}), begun)
    assert told == [asyncio.CancelledError]


@pytest.mark.parametrize("cancelled", WAYS)
async def test_what_a_thread_has_the_loop_do_is_cancelled_with_its_run(
    cancelled: Any, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended = anyio.Event(), list[str]()

    async def on_the_loop() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("on the loop")

    await cancelled(lambda: graph(lambda state: from_thread.run(on_the_loop)).ainvoke({"n": 0}), begun)
    assert ended == ["on the loop"]
    assert not caplog.records  # nobody was left behind


async def test_a_thread_that_was_cancelled_is_as_new_for_who_has_it_next() -> None:
    begun = anyio.Event()

    def node(state: State) -> None:
        from_thread.run_sync(begun.set)
        while True:
            from_thread.check_cancelled()

    await by_its_task(lambda: graph(node).ainvoke({"n": 0}), begun)
    assert await graph(lambda state: from_thread.check_cancelled()).ainvoke({"n": 1}) == {"n": 1}


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(3), SystemExit(3), KeyboardInterrupt()])
async def test_what_sync_code_raises_is_raised_and_its_thread_lives_on(error: BaseException) -> None:
    ids = list[int]()

    def node(state: State) -> None:
        ids.append(threading.get_ident())
        if state["n"]:
            raise error

    raised = RuntimeError if isinstance(error, StopIteration) else type(error)

    async def run() -> BaseException | None:
        try:
            await graph(node).ainvoke({"n": 1})
        except BaseException as caught:  # an exit, too, which would end the event loop
            return caught
        return None

    assert type(await run()) is raised
    await graph(node).ainvoke({"n": 0})
    assert ids[0] == ids[1]


async def test_an_anyio_without_those_names_runs_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_HAS_NAMES", False)
    names = list[str]()
    assert await graph(lambda state: names.append(threading.current_thread().name)).ainvoke({"n": 0}) == {
        "n": 0
    }
    assert names == ["AnyIO worker thread"]


def test_threads_go_with_their_loops() -> None:
    mine = list[threading.Thread]()
    for _ in range(3):
        asyncio.run(graph(lambda state: mine.append(threading.current_thread())).ainvoke({"n": 0}))
    gc.collect()
    for thread in mine:
        thread.join(workers.IDLE / 2)
    assert [thread.is_alive() for thread in mine] == [False] * 3


def test_an_idle_thread_goes_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE", 0.01)

    mine = list[threading.Thread]()

    async def twice() -> list[bool]:
        one = graph(lambda state: mine.append(threading.current_thread()))
        await one.ainvoke({"n": 0})
        await to_thread.run_sync(mine[0].join, 30)
        await one.ainvoke({"n": 1})
        return [mine[0].is_alive(), mine[0] is mine[1]]

    assert asyncio.run(twice()) == [False, False]


def program(text: str) -> str:
    """Run a program, and return what it prints."""
    begins = """
        import asyncio, threading, time
        from typing import TypedDict
        from engine import START, StateGraph

        class State(TypedDict):
            n: int

        def run(node):
            return StateGraph(State).add_node("a", node).add_edge(START, "a").compile().ainvoke({"n": 0})
    """
    made = textwrap.dedent(begins) + textwrap.dedent(text)
    done = subprocess.run(
        [sys.executable, "-c", made], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_idle_threads_keep_no_program_from_its_end() -> None:
    told = program("""
        async def main():
            await run(lambda state: None)
            global start
            start = time.monotonic()

        asyncio.run(main())
        loop = asyncio.new_event_loop()  # which is never closed
        loop.run_until_complete(main())
        (worker,) = [one for one in threading.enumerate() if one.name == "graph worker"][-1:]
        threading._register_atexit(lambda: print("ending", worker.is_alive()))  # called before ours
        import atexit
        atexit.register(lambda: print("ended", worker.is_alive(), time.monotonic() - start < 5))
        loop._selector.close(); loop._ssock.close(); loop._csock.close()  # which python -W error would tell
    """)
    assert told.splitlines() == ["ending True", "ended False True"]


def test_a_program_waits_for_what_its_threads_run() -> None:
    told = program("""
        begun = threading.Event()

        def node(state):
            begun.set()
            time.sleep(1.5)
            print("done")

        async def main():
            task = asyncio.create_task(run(node))
            await asyncio.to_thread(begun.wait)
            task.cancel()
            import logging
            logging.disable()

        asyncio.run(main())
        print("main ends")
    """)
    assert told.splitlines() == ["main ends", "done"]


def test_a_loop_goes_on_when_the_main_thread_has_ended_and_its_threads_with_it() -> None:
    told = program("""
        main = threading.main_thread()

        def node(state):
            return {"n": threading.get_ident()}

        async def later():
            before = (await run(node))["n"]
            main.join()
            await asyncio.sleep(0.5)  # longer than they wait from then on
            print((await run(node))["n"] == before)

        start = time.monotonic()
        threading.Thread(target=lambda: asyncio.run(later())).start()
        import atexit
        atexit.register(lambda: print("ended", time.monotonic() - start < 8))
    """)
    assert told.splitlines() == ["True", "ended True"]


def test_loops_of_many_threads_begin_at_once() -> None:
    async def run() -> dict[str, Any]:
        return await graph(lambda state: {"n": 1}).ainvoke({"n": 0})

    def loops(_: int) -> int:
        return sum(asyncio.run(run())["n"] for _ in range(40))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(loops, range(8))) == [40] * 8


def test_a_program_that_does_not_wait_for_its_loop_does_not_wait_for_its_threads() -> None:
    told = program("""
        begun = threading.Event()

        def node(state):
            begun.set()
            threading.Event().wait()

        threading.Thread(target=lambda: asyncio.run(run(node)), daemon=True).start()
        begun.wait()
        print("main ends")
    """)
    assert told == "main ends\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    told = program("""
        import os

        loop = asyncio.new_event_loop()
        loop.run_until_complete(run(lambda state: None))
        child = os.fork()
        if child == 0:
            print((loop.run_until_complete(run(lambda state: {"n": 2})))["n"], flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        loop.close()
    """)
    assert told.split() == ["2", "0"]


def test_threads_of_a_closed_loop_end_with_the_next_loop() -> None:
    kept, mine = list[asyncio.AbstractEventLoop](), list[threading.Thread]()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        kept.append(loop)
        node = lambda state: mine.append(threading.current_thread())  # noqa: E731
        loop.run_until_complete(graph(node).ainvoke({"n": 0}))
        loop.close()
    for thread in mine[:2]:
        thread.join(workers.IDLE / 2)
    assert [thread.is_alive() for thread in mine[:2]] == [False] * 2


async def test_who_is_cancelled_twice_still_waits_for_its_thread() -> None:
    begun, told = anyio.Event(), threading.Event()

    def node(state: State, runtime: Any) -> None:
        from_thread.run_sync(begun.set)
        told.wait(30)
        raise ValueError("while it cleaned up")

    def cancel_again(task: asyncio.Task[Any], turns: int) -> None:
        if turns:
            loop.call_soon(cancel_again, task, turns - 1)
        else:
            task.cancel()
            loop.call_later(0.05, told.set)

    loop = asyncio.get_running_loop()
    for turns in range(4):
        begun, told = anyio.Event(), threading.Event()
        task = asyncio.create_task(graph(node).ainvoke({"n": 0}))
        await begun.wait()
        task.cancel()
        cancel_again(task, turns)
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert repr(caught.value.__cause__) == "ValueError('while it cleaned up')"


async def test_what_began_after_it_was_told_to_stop_is_cancelled_on_the_loop_too() -> None:
    limiter = to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    held, ended = threading.Event(), list[str]()

    async def on_the_loop() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("on the loop")

    async def failing(state: State) -> None:
        while not limiter.statistics().tasks_waiting:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.05, held.set)
        raise ValueError("b")

    try:
        holding = asyncio.create_task(to_thread.run_sync(held.wait, 30))
        while not limiter.borrowed_tokens:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="b"):
            await graph(lambda state: from_thread.run(on_the_loop), failing).ainvoke({"n": 0})
        await holding
        assert ended == ["on the loop"]
    finally:
        limiter.total_tokens = before
