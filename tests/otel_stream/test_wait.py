"""A waiter is woken from anywhere, and waking one that is gone does no harm."""

import asyncio
import threading
from contextvars import copy_context

import anyio
import anyio.to_thread
import trio

from otel_stream.stream.wakeup import (
    CANCEL_TOKEN,
    AsyncioWaiter,
    CancelToken,
    ThreadWaiter,
    TrioWaiter,
    in_event_loop,
    stop_asked,
    waiter,
    yield_turn,
)


async def test_a_waiter_fits_its_event_loop(anyio_backend):
    kind = {"asyncio": AsyncioWaiter, "trio": TrioWaiter}[anyio_backend]
    assert type(waiter()) is kind
    assert in_event_loop()
    assert type(await anyio.to_thread.run_sync(waiter)) is ThreadWaiter
    assert not await anyio.to_thread.run_sync(in_event_loop)


async def test_woken_before_it_waits_it_does_not_wait():
    one = waiter()
    one.wake()
    one.wake()
    await one.wait()


async def test_woken_by_a_sibling_or_by_another_thread():
    async with anyio.create_task_group() as group:
        near, far = waiter(), waiter()
        group.start_soon(near.wait)
        group.start_soon(far.wait)
        await yield_turn()
        near.wake()
        await anyio.to_thread.run_sync(far.wake)


async def test_it_waits_no_longer_than_it_was_told():
    await waiter().wait(0)


def test_a_thread_blocks_until_woken_or_told_to_go_on():
    one = ThreadWaiter()
    threading.Thread(target=one.wake).start()
    one.block()
    one.block(0)
    ThreadWaiter().block(0)


def test_without_an_event_loop_there_is_nothing_to_breathe_for():
    try:
        yield_turn().send(None)
    except StopIteration:
        return
    raise AssertionError("it suspended")


def test_waking_a_waiter_whose_loop_is_gone_does_no_harm():
    async def make():
        return waiter()

    for run in (asyncio.run, trio.run):
        gone = run(make()) if run is asyncio.run else run(make)
        thread = threading.Thread(target=gone.wake)
        thread.start()
        thread.join()


def test_a_thread_that_waits_is_woken_when_it_or_the_code_around_it_is_asked_to_stop():
    def inside(outer, one):
        CANCEL_TOKEN.set(outer)
        inner = CancelToken()
        CANCEL_TOKEN.set(inner)
        waiting.append(one)
        one.block()
        one.block()  # asked before it waits, it does not wait
        seen.append((inner.asked, stop_asked()))

    waiting, seen = [], []
    outer = CancelToken()
    threads = [threading.Thread(target=inside, args=(outer, ThreadWaiter())) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(waiting) < 2:
        threads[0].join(0.001)
    outer.ask()
    for thread in threads:
        thread.join()
    assert seen == [(True, True)] * 2
    assert not stop_asked()


def test_who_is_asked_to_stop_inside_says_nothing_about_the_code_around_it():
    outer = CancelToken()

    def inside():
        CANCEL_TOKEN.set(outer)
        inner = CancelToken()
        inner.ask()
        return inner.asked

    assert copy_context().run(inside)
    assert not outer.asked
