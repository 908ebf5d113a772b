"""The ways in which a stream ends (docs/specs/stream.md): each ends everything, once, and leaves nothing.

Every way is gone through ``open_stream`` and ``astream``, on asyncio and trio; the ones that need no event
loop through ``stream``, too.
"""

import contextlib
import gc
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from engine import GraphDrained, TimeoutPolicy, interrupt
from otel_stream import semconv
from otel_stream.config import StreamConfig
from otel_stream.events import End
from tests.lifecycle.scene import PATIENCE, Scene, living, working


class Way(NamedTuple):
    """How a stream is brought to its end, and what is reported of the runs."""

    #: The ends of the subgraph and of the run. Without an event loop nodes are only told: then it is "ok".
    runs: tuple[str, str]
    #: What the fourth node does: it gets the scene, and runs when the other three are inside.
    last: Callable[[Scene], Any] | None = None
    #: What the consumer sees.
    raises: type[BaseException] | None = None
    config: dict[str, Any] | None = None
    again: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Mine(Exception):
    """The consumer's own."""


def _released(scene: Scene) -> dict[str, Any]:
    scene.release()
    return {"log": ["last"]}


def _fail(scene: Scene) -> None:
    raise ValueError("kaboom")


def _ask(scene: Scene) -> None:
    scene.release()
    interrupt("?")


def _drain(scene: Scene) -> dict[str, Any]:
    scene.control.request_drain("maintenance")
    return _released(scene)


INSIDE = {
    "its end": Way(("ok", "ok"), _released),
    "a node's error": Way(("cancelled", "error"), _fail, raises=ValueError),
    "an interrupt": Way(("ok", "interrupted"), _ask),
    "the recursion limit": Way(
        ("ok", "recursion_limit"),
        _released,
        raises=RecursionError,
        config={"recursion_limit": 3},
        again=True,
    ),
    "a drain": Way(("ok", "drained"), _drain, raises=GraphDrained, again=True),
}
ON_A_LOOP = {
    "a node's timeout": Way(
        ("cancelled", "timeout"),
        None,
        raises=Exception,
        options={"timeout": TimeoutPolicy(run_timeout=0.05)},
    ),
}
OUTSIDE = {
    "break": Way(("cancelled", "abandoned")),
    "aclose": Way(("cancelled", "abandoned")),
    "the consumer's own error": Way(("cancelled", "abandoned"), raises=Mine),
    "cancellation of the consumer": Way(("cancelled", "cancelled")),
    "a deadline around it": Way(("cancelled", "cancelled")),
    "a lost reference": Way(("cancelled", "abandoned")),
}
WAYS = {**INSIDE, **ON_A_LOOP, **OUTSIDE}
APIS = ("open_stream", "astream")


def made(scene: Scene, way: Way) -> Any:
    """Return the way's graph: its fourth node waits for the other three, then does what the way wants."""

    async def last(state: Any) -> Any:
        if way.last is None:
            await anyio.sleep_forever()
        assert way.last is not None
        await scene.all_inside()
        return way.last(scene)

    def last_in_thread(state: Any) -> Any:
        assert scene.full.wait(PATIENCE)
        assert way.last is not None
        return way.last(scene)

    return scene.graph(last if scene.on_loop else last_in_thread, again=way.again, **way.options)


async def opened(scene: Scene, graph: Any, config: Any) -> AsyncIterator[Any]:
    """Iterate the way a program does: in a generator of its own around ``open_stream``."""
    modes = StreamConfig(modes=["tasks", scene.mode], subgraphs=True)
    async with graph.open_stream({}, modes, config=config, control=scene.control) as stream:
        async for part in stream:
            yield part


def pulled(scene: Scene, graph: Any, config: Any) -> Any:
    modes = ["tasks", scene.mode]
    return graph.astream({}, config, stream_mode=modes, subgraphs=True, control=scene.control)


async def consume(scene: Scene, parts: Any, way: str) -> None:
    """Read to the end, or until all are inside and it is time to go."""
    leaves = way in OUTSIDE
    async for _ in parts:
        if leaves:
            await scene.all_inside()
            break
    if way == "cancellation of the consumer":
        await anyio.sleep_forever()


async def go(scene: Scene, parts: Any, way: str) -> None:
    """Bring the stream to its end the way it is called."""
    match way:
        case "break":
            async with contextlib.aclosing(parts):
                await consume(scene, parts, way)
        case "aclose":
            await consume(scene, parts, way)
            await parts.aclose()
        case "the consumer's own error":
            async with contextlib.aclosing(parts):
                await consume(scene, parts, way)
                raise Mine
        case "cancellation of the consumer":
            await cancelled(scene, parts)
        case "a deadline around it":
            with anyio.CancelScope() as scope:
                async with contextlib.aclosing(parts):
                    await anext(parts)
                    await scene.all_inside()
                    scope.deadline = anyio.current_time()
                    async for _ in parts:
                        pass
            assert scope.cancelled_caught
        case "a lost reference":
            await anext(parts)
            await scene.all_inside()
        case _:
            await consume(scene, parts, way)


async def cancelled(scene: Scene, parts: Any) -> None:
    async def read() -> None:
        async with contextlib.aclosing(parts):
            async for _ in parts:
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await scene.all_inside()
        group.cancel_scope.cancel()


@contextlib.contextmanager
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that nobody has anything to complain about: no log record, no warning of a finalizer."""
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def seen(way: Way, api: str) -> Any:
    """Return what the consumer sees raised: a drain only where LangGraph's consumer does."""
    return None if way.raises is GraphDrained and api == "open_stream" else way.raises


# trio says so itself when a generator is lost: that is what `aclosing` is for.
@pytest.mark.clause("S-END-1", "S-END-2", "S-END-3", "S-END-5")
@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("way", WAYS)
async def test_every_way_ends_everything_once_and_leaves_nothing(
    way: str, api: str, anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene, what = Scene(), WAYS[way]
    graph = made(scene, what)
    tasks, threads = living(anyio_backend_name), working()
    raises = contextlib.nullcontext() if seen(what, api) is None else pytest.raises(seen(what, api))
    with quiet(caplog), anyio.fail_after(PATIENCE):
        parts = (opened if api == "open_stream" else pulled)(scene, graph, what.config)
        with raises:
            await go(scene, parts, way)
        # When the consumer goes on it is all over; but a lost stream is seen to by the event loop.
        assert way == "a lost reference" or (scene.over and sorted(scene.left) == sorted(scene.came))
        del parts
        gc.collect()
        while not scene.over or living(anyio_backend_name) != tasks:
            await anyio.lowlevel.checkpoint()
    scene.check([("inner", what.runs[0]), ("outer", what.runs[1])])
    assert working() <= threads


@pytest.mark.clause("S-END-1", "S-END-2", "S-END-5")
@pytest.mark.parametrize("way", [*INSIDE, "break", "the consumer's own error", "a lost reference"])
def test_every_way_without_an_event_loop(way: str, caplog: pytest.LogCaptureFixture) -> None:
    scene, what = Scene(on_loop=False), WAYS[way]
    threads = working()
    raises = pytest.raises(what.raises) if what.raises else contextlib.nullcontext()
    with quiet(caplog):
        graph = made(scene, what)
        parts = graph.stream(
            {}, what.config, stream_mode=["tasks", scene.mode], subgraphs=True, control=scene.control
        )
        with raises:
            for _ in parts:
                if way not in INSIDE and scene.full.wait(PATIENCE):
                    if what.raises:
                        parts.close()
                        raise Mine
                    break
        if way == "break":
            parts.close()
        del parts
        gc.collect()
    scene.check([("inner", "ok"), ("outer", what.runs[1])])
    assert working() <= threads


@pytest.mark.clause("S-END-1")
def test_the_spec_lists_these_twelve() -> None:
    spec = Path(__file__).parents[2] / "docs" / "specs" / "stream.md"
    listed = re.findall(r"^\| ([0-9]+) \| .+ \| `([a-z_]+)` \| .+ \|$", spec.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in listed] == list(range(1, 13))
    assert sorted(end for _, end in listed) == sorted(way.runs[1] for way in WAYS.values())


class Kept(SpanProcessor):
    """Counts the spans that start and end."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started.append(span.context.span_id)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


@pytest.fixture
def spans(otel_globals: None) -> Kept:
    kept, provider = Kept(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept)
    trace.set_tracer_provider(provider)
    return kept


@pytest.mark.clause("S-END-5", "S-END-6")
@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("way", WAYS)
async def test_every_way_ends_every_span_once_and_only_failures_are_errors(
    way: str, api: str, spans: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    scene, what = Scene(), WAYS[way]
    with quiet(caplog), anyio.fail_after(PATIENCE):
        parts = (opened if api == "open_stream" else pulled)(scene, made(scene, what), what.config)
        with contextlib.suppress(Exception):
            await go(scene, parts, way)
        del parts
        gc.collect()
        while not scene.over or len(spans.ended) < len(spans.started):
            await anyio.lowlevel.checkpoint()
    assert sorted(span.context.span_id for span in spans.ended) == sorted(spans.started) != []
    assert len(set(spans.started)) == len(spans.started)
    (root,) = [span for span in spans.ended if span.parent is None]
    end = End(what.runs[1])
    assert (root.name, root.status.is_ok) == ("invoke_workflow outer", not end.failed)
    assert root.attributes is not None
    assert root.attributes[semconv.GRAPH_RUN_END] == end.value
