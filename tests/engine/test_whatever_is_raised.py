"""A failure is a failure, whatever is raised, and every way to read raises what the node raised."""

import asyncio
import operator
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import anyio
import anyio.lowlevel
import pytest
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver

from engine import START, InMemorySaver, RetryPolicy, StateGraph, entrypoint, task
from engine.errors import NodeCancelledError, NodeError
from engine.run.failures import siblings_of
from otel_stream import semconv
from otel_stream.events import End, RunEnded
from otel_stream.testing import telemetry
from tests.engine.recorder import WORLDS, record, unbalanced
from tests.reading import (
    UPDATES,
    by_ainvoke,
    by_astream,
    by_invoke,
    by_live_stream,
    by_open_stream,
    by_open_stream_in_a_thread,
    by_stream,
    by_the_engine,
    by_the_engines_receiver,
    by_wait,
)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class PanicException(BaseException):
    """Like pyo3's: a Rust extension panics."""


class Empty(Exception):
    """An exception that is false."""

    def __len__(self) -> int:
        return 0


RAISED: dict[str, Callable[[], BaseException]] = {
    "a panic": lambda: PanicException("index out of bounds"),
    "a test's fail()": lambda: pytest.fail.Exception("assertion in a node"),
    "a group": lambda: BaseExceptionGroup("several", [PanicException("one"), ValueError("two")]),
    "the end of an iterator": lambda: StopIteration("no more"),
    "the end of an async one": lambda: StopAsyncIteration("no more"),
    "a generator's exit": lambda: GeneratorExit("gone"),
}
#: What Python takes for an end of its own where a coroutine or an iterator raises it.
MISTAKEN = (StopIteration, StopAsyncIteration, GeneratorExit)


# -- where it is raised ----------------------------------------------------------------------------


def _raising(error: BaseException, *, is_async: bool) -> Callable[..., Any]:
    def fails(value: Any) -> Any:
        raise error

    async def afails(value: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        raise error

    return afails if is_async else fails


def _ok(state: State) -> State:
    return {"log": ["ok"]}


def in_a_node(error: BaseException, is_async: bool) -> Any:
    fails = _raising(error, is_async=is_async)
    return StateGraph(State).add_node("bad", fails).add_edge(START, "bad").compile()


def side_by_side(error: BaseException, is_async: bool) -> Any:
    graph = StateGraph(State).add_node("bad", _raising(error, is_async=is_async)).add_node("ok", _ok)
    return graph.add_edge(START, "bad").add_edge(START, "ok").compile()


def in_a_router(error: BaseException, is_async: bool) -> Any:
    graph = StateGraph(State).add_node("ok", _ok).add_edge(START, "ok")
    return graph.add_conditional_edges("ok", _raising(error, is_async=is_async), ["ok"]).compile()


def in_the_first_router(error: BaseException, is_async: bool) -> Any:
    graph = StateGraph(State).add_node("ok", _ok)
    return graph.add_conditional_edges(START, _raising(error, is_async=is_async), ["ok"]).compile()


def in_a_subgraph(error: BaseException, is_async: bool) -> Any:
    inner = in_a_node(error, is_async)
    return StateGraph(State).add_node("sub", inner).add_edge(START, "sub").compile()


def in_a_task(error: BaseException, is_async: bool) -> Any:
    fails = task(_raising(error, is_async=is_async))
    if is_async:

        @entrypoint()
        async def flow(value: Any) -> Any:
            return await fails(value)

    else:

        @entrypoint()
        def flow(value: Any) -> Any:
            return fails(value).result()

    return flow


def in_an_error_handler(error: BaseException, is_async: bool) -> Any:
    def first(state: State) -> State:
        raise ValueError("handled")

    handler = _raising(error, is_async=is_async)
    return StateGraph(State).add_node("bad", first, error_handler=handler).add_edge(START, "bad").compile()


PLACES = (
    in_a_node,
    side_by_side,
    in_a_router,
    in_the_first_router,
    in_a_subgraph,
    in_a_task,
    in_an_error_handler,
)

#: Everything in a node, and a panic everywhere.
everything = pytest.mark.parametrize(
    ("place", "what"), [(in_a_node, what) for what in RAISED] + [(place, "a panic") for place in PLACES[1:]]
)

# -- how it is read --------------------------------------------------------------------------------


async def by_result(graph: Any) -> None:
    async with graph.open_stream({}, UPDATES) as stream:
        receiver = stream.receivers[0]
        with pytest.raises(BaseException):  # noqa: B017 - whatever it is
            async for _ in receiver:
                pass
        assert stream.end is End.ERROR
        stream.result  # noqa: B018


async def by_abatch(graph: Any) -> None:
    await graph.abatch([{}, {}])


def by_batch(graph: Any) -> None:
    graph.batch([{}, {}])


ON_A_LOOP = (
    by_ainvoke,
    by_astream,
    by_open_stream,
    by_result,
    by_wait,
    by_the_engine,
    by_the_engines_receiver,
    by_abatch,
)
WITHOUT = (by_invoke, by_stream, by_live_stream, by_open_stream_in_a_thread, by_batch)


def is_raised(raised: BaseException, error: BaseException) -> bool:
    """Whether ``raised`` is ``error``, or says so where Python would take that for something else."""
    said: BaseException | None = raised
    while said is not error and isinstance(said, RuntimeError):
        said = said.__cause__
    return said is error and (raised is error or isinstance(error, MISTAKEN))


@everything
@pytest.mark.parametrize("way", ON_A_LOOP)
@pytest.mark.clause("S-ERR-8")
async def test_every_way_to_read_raises_what_the_node_raised(way: Any, place: Any, what: str) -> None:
    error = RAISED[what]()
    with pytest.raises(BaseException) as caught:
        await way(place(error, is_async=True))
    assert is_raised(caught.value, error)


@everything
@pytest.mark.parametrize("way", [*WITHOUT, *ON_A_LOOP])
@pytest.mark.clause("S-ERR-8")
def test_every_way_to_read_raises_what_a_sync_node_raised(way: Any, place: Any, what: str) -> None:
    error = RAISED[what]()
    graph = place(error, is_async=False)
    with pytest.raises(BaseException) as caught:
        anyio.run(way, graph) if way in ON_A_LOOP else way(graph)
    assert is_raised(caught.value, error)


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("place", [in_a_node, side_by_side, in_a_router, in_the_first_router])
@pytest.mark.clause("S-ERR-8")
def test_it_is_the_error_of_its_run_and_its_task(place: Any, world: str, what: str) -> None:
    error = RAISED[what]()
    recorder, loop = record(place(error, is_async=False), {}, world=world)
    assert unbalanced(recorder.events) == []
    assert [(event.end, event.error is loop.error) for event in recorder.of(RunEnded)] == [(End.ERROR, True)]
    assert loop.error is not None
    assert is_raised(loop.error, error)
    if place is not in_the_first_router:
        failed = {node for node, end in recorder.task_ends() if end == "error"}
        assert failed == {"ok" if place is in_a_router else "bad"}


async def test_it_is_an_error_in_traces_and_metrics() -> None:
    with telemetry() as told:
        with pytest.raises(PanicException):
            await by_astream(in_a_node(PanicException("index out of bounds"), is_async=True))
        kind = f"{__name__}.PanicException"
        spans = {span.name: span for span in told.spans}
        assert {span.status.status_code.name for span in spans.values()} == {"ERROR"}
        assert {span.attributes.get(semconv.ERROR_TYPE) for span in spans.values()} >= {kind}


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("way", ON_A_LOOP)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_that_nobody_asked_for_is_a_failure_in_a_group_too(
    way: Any, is_async: bool
) -> None:
    for error in (asyncio.CancelledError(), BaseExceptionGroup("g", [asyncio.CancelledError()])):
        with pytest.raises(NodeCancelledError):
            await way(in_a_node(error, is_async))


@pytest.mark.parametrize("way", WITHOUT)
def test_a_cancellation_in_a_thread_that_nobody_told_to_stop_is_a_failure(way: Any) -> None:
    with pytest.raises(NodeCancelledError):
        way(in_a_node(asyncio.CancelledError(), is_async=False))


@pytest.mark.parametrize("exits", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("place", [in_a_node, side_by_side, in_a_subgraph, in_a_task])
@pytest.mark.parametrize("way", [by_ainvoke, by_astream, by_open_stream, by_wait, by_abatch])
def test_an_exit_reaches_who_reads_on_trio_and_leaves_trio_whole(exits: Any, place: Any, way: Any) -> None:
    with pytest.raises(type(exits)):
        anyio.run(way, place(exits, is_async=True), backend="trio")


@pytest.mark.parametrize("exits", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("way", WITHOUT)
def test_an_exit_reaches_who_reads_in_a_thread(exits: BaseException, way: Any) -> None:
    with pytest.raises(type(exits)):
        way(in_a_node(exits, is_async=False))


# -- nothing takes its place -----------------------------------------------------------------------


@dataclass(frozen=True)
class Frozen(Exception):
    """Takes no note."""

    code: int = 1


class Guarded(Exception):
    """Takes no attribute."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("guarded")


class OddNotes(Exception):
    """Has something else for notes."""

    __notes__ = 5


class NoNotes(Exception):
    """Refuses notes."""

    def add_note(self, note: str, /) -> None:
        raise PanicException("no notes")


class AsksBack(Exception):
    """Answers no question about its attributes."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("ask somebody else")


class BrokenRepr(Exception):
    """Can't be shown."""

    def __repr__(self) -> str:
        raise PanicException("broken repr")

    __str__ = __repr__


class Uncomparable(Exception):
    """Is like nothing, not even itself."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("compared")

    def __bool__(self) -> bool:
        raise TypeError("neither true nor false")


ODD = (Frozen, Guarded, OddNotes, NoNotes, AsksBack, BrokenRepr, Uncomparable, Empty)


def beside(first: type[Exception], second: type[Exception], **compiled: Any) -> Any:
    """Return a graph of two nodes that fail at the same time, in this order."""
    both = threading.Barrier(2)

    def node(kind: type[Exception]) -> Callable[[Any], Any]:
        def fails(state: Any) -> Any:
            both.wait(5)
            raise kind

        return fails

    graph = StateGraph(State).add_node("a", node(first)).add_node("b", node(second))
    return graph.add_edge(START, "a").add_edge(START, "b").compile(**compiled)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("way", [*WITHOUT, by_ainvoke, by_astream, by_open_stream])
@pytest.mark.clause("S-ERR-2")
def test_an_exception_that_takes_no_note_is_raised_all_the_same(way: Any, odd: type[Exception]) -> None:
    with telemetry():
        raised = of(way, in_a_node(odd(), is_async=False))
    assert type(raised) is odd


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("way", [by_invoke, by_stream, by_ainvoke, by_astream, by_open_stream])
@pytest.mark.clause("S-ERR-3")
def test_an_odd_exception_of_a_sibling_takes_nobodys_place(way: Any, odd: type[Exception]) -> None:
    raised = of(way, beside(ValueError, odd))
    assert type(raised) is ValueError
    assert [type(one) for one in siblings_of(raised)] == [odd]
    assert type(of(way, beside(odd, ValueError))) is odd


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("way", [by_invoke, by_ainvoke])
def test_an_odd_exception_is_kept_in_checkpoints(way: Any, odd: type[Exception]) -> None:
    for saver in (InMemorySaver(), LangGraphSaver()):
        config = {"configurable": {"thread_id": "1"}}
        graph = in_a_node(odd(), is_async=False).copy({"checkpointer": saver}).with_config(config)
        assert type(of(way, graph)) is odd


@pytest.mark.parametrize("durability", ["async", "exit"])
@pytest.mark.parametrize("way", [by_invoke, by_ainvoke])
def test_a_saver_that_fails_to_keep_an_error_does_not_take_its_place(way: Any, durability: str) -> None:
    class Broken(InMemorySaver):
        def put_writes(self, config: Any, writes: Any, *rest: Any) -> None:
            if any(channel == "__error__" for channel, _ in writes):
                raise OSError("disk full")
            super().put_writes(config, writes, *rest)

        async def aput_writes(self, config: Any, writes: Any, *rest: Any) -> None:
            self.put_writes(config, writes, *rest)

    config = {"configurable": {"thread_id": "1"}}
    inner = in_a_node(ValueError("mine"), is_async=False)
    graph = inner.copy({"checkpointer": Broken()}).with_config(config)
    if durability == "exit":
        raised = _raised_by(lambda: graph.invoke({}, durability="exit"))
    else:
        raised = of(way, graph)
    assert repr(raised) == "ValueError('mine')"
    assert any("OSError('disk full')" in note for note in raised.__notes__)


def of(way: Any, graph: Any) -> BaseException:
    """Return what ``way`` raises."""

    if way not in ON_A_LOOP:
        return _raised_by(lambda: way(graph))
    raised: list[BaseException] = []

    async def inside() -> None:  # asyncio.run shows what passes through it
        try:
            await way(graph)
        except BaseException as error:
            raised.append(error)

    anyio.run(inside)
    return raised[0]


def _raised_by(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except BaseException as raised:
        return raised
    pytest.fail("no error")


@pytest.mark.parametrize("world", WORLDS)
def test_a_panic_is_not_tried_again_and_an_error_handler_may_take_over(world: str) -> None:
    tries: list[int] = []

    def fails(state: State) -> State:
        tries.append(1)
        raise PanicException("once")

    def handled(state: State, error: NodeError) -> State:
        return {"log": [type(error.error).__name__]}

    graph = StateGraph(State).add_node(
        "bad", fails, retry_policy=RetryPolicy(max_attempts=3, retry_on=lambda _: True), error_handler=handled
    )
    _, loop = record(graph.add_edge(START, "bad").compile(), {}, world=world)
    assert (loop.result, tries) == ({"log": ["PanicException"]}, [1])


def test_a_retry_policy_that_panics_does_not_take_the_errors_place() -> None:
    def judge(error: Exception) -> bool:
        raise BrokenRepr

    graph = StateGraph(State).add_node(
        "bad", _raising(ValueError("mine"), is_async=False), retry_policy=RetryPolicy(retry_on=judge)
    )
    raised = of(by_invoke, graph.add_edge(START, "bad").compile())
    assert repr(raised) == "ValueError('mine')"
