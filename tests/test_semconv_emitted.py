"""What runs really emit, held against the registry: names, types, requirements, units, instruments."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver
from opentelemetry import _logs, metrics, trace

from engine import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    InMemorySaver,
    RetryPolicy,
    RunControl,
    Send,
    StateGraph,
    TimeoutPolicy,
)
from otel_stream import events as e
from otel_stream import semconv as names
from otel_stream.config import MODES, Custom, StreamConfig
from otel_stream.telemetry import resolve, set_options
from semconv.live_check import LiveCheck
from semconv.resolve import Registry
from tests.emitted import Emitted
from tests.engine.samples import State, ask, boom, compiled, graph, nested, say, thread, two_steps

REGISTRY = Registry()
SPANS = {(span.group.ours.span_name or "").partition(" ")[0] for span in REGISTRY.spans.values()}
LINKS = {f"link:{kind}" for kind in REGISTRY.links}


@pytest.fixture
def emitted(otel_globals: None) -> Iterator[Emitted]:
    emitted = Emitted()
    trace.set_tracer_provider(emitted.tracers)
    _logs.set_logger_provider(emitted.loggers)
    metrics.set_meter_provider(emitted.meters)
    yield emitted
    set_options(None)


# -- sample runs -----------------------------------------------------------------------------------


async def _forever(state: Any) -> None:
    await anyio.sleep_forever()


def _flaky() -> Callable[[Any], dict[str, Any]]:
    tries = iter([ConnectionError("canary"), ConnectionError("canary"), None])

    def node(state: Any) -> dict[str, Any]:
        if (error := next(tries)) is not None:
            raise error
        return {"x": 1}

    return node


async def _run(made: Any, *, input: Any = None, config: Any = None, **asked: Any) -> None:
    """Run with a receiver of every mode and one of a mode of our own; how it ends is not the matter."""
    ends = Custom(lambda event: event.end.value, "ends", events=(e.RunEnded,))
    receivers = (StreamConfig(modes=MODES, subgraphs=True), StreamConfig(modes=ends, overflow="drop_oldest"))
    with suppress(Exception):
        async with made.open_stream(
            {"log": []} if input is None else input, *receivers, config=config, **asked
        ) as stream:
            async for _ in stream:
                pass


async def ok() -> None:
    await _run(two_steps(), config={"tags": ["nightly"], "run_name": "sample"})


async def error() -> None:
    await _run(compiled(a=say("a"), b=boom))


async def retry() -> None:
    policy = RetryPolicy(initial_interval=0, jitter=False)
    made = StateGraph(State).add_node("a", _flaky(), retry_policy=policy).add_edge(START, "a")
    await _run(made.compile(name="g"))


async def retries_in_vain() -> None:
    policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2, retry_on=ValueError)
    made = StateGraph(State).add_node("a", boom, retry_policy=policy).add_edge(START, "a")
    await _run(made.compile(name="g"))


async def interrupt_and_resume() -> None:
    made = compiled(a=say("a"), b=ask, checkpointer=InMemorySaver())
    await _run(made, config=thread())
    await _run(made, input=Command(resume="Ada"), config=thread())


async def breakpoint_and_resume() -> None:
    made = two_steps(InMemorySaver())
    await _run(made, config=thread(), interrupt_before=["b"])
    with suppress(Exception):
        await made.ainvoke(None, thread())


async def subgraph() -> None:
    await _run(nested())


async def fan_out() -> None:
    made = graph(a=say("a")).add_node("b", lambda item: {"log": [str(item)]})
    made.add_conditional_edges("a", lambda state: [Send("b", n) for n in range(3)], ["b"])
    await _run(made.compile(name="g"))


async def routes() -> None:
    made = graph(a=lambda state: Command(goto="c", update={"x": 1})).add_node("b", say("b"))
    made.add_node("c", say("c")).add_conditional_edges("c", lambda state: "b", ["b"])
    await _run(made.compile(name="g"))


async def timeout() -> None:
    policy = TimeoutPolicy(run_timeout=0.01)
    made = StateGraph(State).add_node("a", _forever, timeout=policy).add_edge(START, "a")
    await _run(made.compile(name="g"))


async def recursion_limit() -> None:
    made = graph(a=say("a")).add_edge("a", "a").compile(name="g")
    await _run(made, config={"recursion_limit": 2})


async def drained() -> None:
    control = RunControl()
    control.request_drain("maintenance")
    await _run(two_steps(), control=control)


async def abandoned() -> None:
    stream = two_steps().astream({"log": []})
    await anext(stream)
    await stream.aclose()


async def checkpoints() -> None:
    # A thread's id need not be a string where it comes from.
    for saver in (InMemorySaver(), LangGraphSaver()):  # the second one knows how much it stores
        await _run(two_steps(saver), config={"configurable": {"thread_id": 7}})


async def cached() -> None:
    made = StateGraph(State).add_node("a", say("a"), cache_policy=CachePolicy()).add_edge(START, "a")
    graph = made.compile(name="g", cache=InMemoryCache())
    await _run(graph)
    await _run(graph)


async def threads() -> None:
    made = two_steps()
    await anyio.to_thread.run_sync(lambda: [*made.stream({"log": []}, stream_mode=["values", "updates"])])


RUNS = (
    ok,
    error,
    retry,
    retries_in_vain,
    interrupt_and_resume,
    breakpoint_and_resume,
    subgraph,
    fan_out,
    routes,
    timeout,
    recursion_limit,
    drained,
    abandoned,
    checkpoints,
    cached,
    threads,
)
EVERY_MODE = ",".join((*MODES, "ends"))
#: Not only of what lasts.
EVERY_START = {"OTEL_STREAM_EXPORT_STARTS": "spans"}
LATEST = {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}


@pytest.mark.parametrize("content", ["no_content", "span_and_event"])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
async def test_whatever_a_run_emits_is_in_the_registry(
    emitted: Emitted, run: Callable[[], Any], content: str
) -> None:
    environ = {
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": content,
        "OTEL_STREAM_EXPORT_MODES": EVERY_MODE,
        **EVERY_START,
    }
    set_options(resolve(environ=environ))
    await run()
    assert emitted.violations(LiveCheck(REGISTRY)) == []


@pytest.mark.parametrize("latest", [False, True])
async def test_only_the_genai_names_in_force_are_emitted(emitted: Emitted, latest: bool) -> None:
    set_options(resolve(environ=LATEST if latest else {}))
    await ok()
    await error()
    assert emitted.violations(LiveCheck(REGISTRY, latest=latest)) == []
    assert emitted.violations(LiveCheck(REGISTRY, latest=not latest)) != []


async def test_the_thread_of_a_run_is_its_conversation(emitted: Emitted) -> None:
    await checkpoints()
    found = [span.attributes or {} for span in emitted.spans.get_finished_spans()]
    found += [log.log_record.attributes or {} for log in emitted.logs.get_finished_logs()]
    assert {one.get(names.GEN_AI_CONVERSATION_ID) for one in found} == {"7"}


#: What needs an option, an exporter, a processor, or models and tools; checked where that is tested.
ELSEWHERE = {
    "invoke_agent",
    *(
        name
        for group in REGISTRY.files["calls"]
        for name in (
            (getattr(group.ours, "span_name", None) or "").partition(" ")[0],
            getattr(group, "metric_name", ""),
            getattr(group, "name", ""),
        )
    ),
    "graph.node",
    "graph.tools",
    "otel_stream.span_start",
    *(name for name in REGISTRY.metrics if name.startswith("otel_stream.")),
}


async def test_the_sample_runs_bring_about_every_name(emitted: Emitted) -> None:
    exceptions = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup"}
    modes = {"OTEL_STREAM_EXPORT_MODES": f"{EVERY_MODE},graph.route"}
    set_options(resolve(environ={**modes, **exceptions, **EVERY_START}))
    for run in RUNS:
        await run()
    check = LiveCheck(REGISTRY)
    assert emitted.violations(check) == []
    latest = {name for name, metric in REGISTRY.metrics.items() if metric.group.ours.genai == "since"}
    every = {*SPANS, *LINKS, *REGISTRY.events, *REGISTRY.metrics}
    assert every - latest - check.seen - ELSEWHERE == set()
