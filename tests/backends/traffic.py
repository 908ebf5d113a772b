"""A scripted hour of mixed traffic, its time compressed: ``python -m tests.backends.traffic ROLE SECONDS``.

Whatever an operator meets happens here, from the real engine: runs that are healthy, slow, failing, retried,
cancelled, too long, interrupted and answered late or never, receivers that lag, sample, filter and drop. The
roles are processes: ``app`` is all that, ``observed`` is the same of LangGraph's own graphs, ``lossy`` cannot
reach where its spans and log events go, ``tail`` decides about its traces itself.
"""

import asyncio
import contextlib
import itertools
import operator
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver
from langgraph.errors import GraphRecursionError as LangGraphsRecursionError

from engine import END, START
from engine.errors import GraphRecursionError
from otel_stream import StreamConfig, StreamPart, configure
from otel_stream.adapters.langgraph import open_stream
from otel_stream.sdk import TailSamplingProcessor
from tests.differential.build import LANGGRAPH, OURS

#: Seconds that a slow answer takes; the only thing here that waits on purpose.
SLOW = 1.2


class State(TypedDict):
    """What the graphs work on; ``kind`` says what happens."""

    kind: str
    found: Annotated[list[str], operator.add]
    answer: str


class UnreachableError(Exception):
    """What a node meets twice before it gets through."""


_CALLS = itertools.count()


async def lookup(state: State) -> dict[str, Any]:
    await asyncio.sleep(0.005)
    return {"found": [state["answer"]]}


async def call(state: State) -> dict[str, Any]:
    if next(_CALLS) % 3 < 2:
        raise UnreachableError("no such place")
    return {"answer": "at last"}


_USAGE: Any = {"input_tokens": 1200, "output_tokens": 500, "total_tokens": 1700}
_ASKED = itertools.count()
#: One that the price table knows, and one that it does not.
_MODELS = itertools.cycle(["gpt-4o-mini", "tiny-1", "gpt-4o-mini"])
_PLACES = itertools.cycle(["here", "nowhere"])


class Model(GenericFakeChatModel):
    """A model as a provider's client makes it: a name, tokens, chunks; one in four calls is one too many."""

    model: str = "gpt-4o-mini"

    def _get_ls_params(self, stop: Any = None, **_: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": self.model, "ls_model_type": "chat"}

    def _stream(self, *arguments: Any, **options: Any) -> Any:
        if next(_ASKED) % 4 == 0:
            raise UnreachableError("429: later, please")
        yield from super()._stream(*arguments, **options)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=_USAGE))


@tool
def weather(place: str) -> str:
    """Tell the weather, but not of everywhere."""
    if place == "nowhere":
        raise UnreachableError("no such place")
    return f"sunny in {place}"


async def advise(state: State) -> dict[str, Any]:
    named = Model(messages=iter(["Take a coat with you"]), model=next(_MODELS))
    answer = await named.ainvoke(state["kind"])
    with contextlib.suppress(UnreachableError):
        await weather.ainvoke({"place": next(_PLACES)})
    return {"answer": str(answer.content)}


class Graphs:
    """The graphs, by the names of one library: ours, or LangGraph's."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def _plan(self, state: State) -> dict[str, Any]:
        self._api.get_stream_writer()({"progress": "planned"})
        return {"found": [state["kind"]]}

    def _spread(self, state: State) -> list[Any]:
        return [self._api.Send("lookup", {**state, "answer": str(place)}) for place in range(4)]

    async def _answer(self, state: State) -> dict[str, Any]:
        if state["kind"] == "failing":
            raise ValueError("no answer")
        if state["kind"] == "slow":
            await asyncio.sleep(SLOW)
        for word in range(20):
            self._api.get_stream_writer()({"word": word})
        return {"answer": "done"}

    def _approve(self, state: State) -> dict[str, Any]:
        return {"answer": self._api.interrupt("Send it?")}

    def triage(self) -> Any:
        graph = self._api.StateGraph(State)
        graph.add_node("plan", self._plan)
        graph.add_node("lookup", lookup)
        graph.add_node("answer", self._answer)
        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", self._spread, ["lookup"])
        graph.add_edge("lookup", "answer")
        graph.add_edge("answer", END)
        return graph.compile(name="triage", checkpointer=self._api.InMemorySaver())

    def approval(self) -> Any:
        graph = self._api.StateGraph(State)
        graph.add_node("draft", self._plan)
        graph.add_node("approve", self._approve)
        graph.add_edge(START, "draft")
        graph.add_edge("draft", "approve")
        # A saver that tells the size of what it stores.
        return graph.compile(name="approval", checkpointer=LangGraphSaver())

    def adviser(self) -> Any:
        graph = self._api.StateGraph(State).add_node("advise", advise)
        return graph.add_edge(START, "advise").compile(name="adviser")

    def circle(self) -> Any:
        graph = self._api.StateGraph(State).add_node("again", self._plan)
        return graph.add_edge(START, "again").add_edge("again", "again").compile(name="circle")

    def flaky(self) -> Any:
        retry = self._api.RetryPolicy(initial_interval=0.01, jitter=False, retry_on=UnreachableError)
        graph = self._api.StateGraph(State)
        graph.add_node("call", call, retry_policy=retry)
        graph.add_edge(START, "call")
        return graph.compile(name="flaky")


class Traffic:
    """The runs of one process; each kind is a method that makes one run."""

    def __init__(self, api: Any) -> None:
        graphs = Graphs(api)
        self._command, self._is_ours = api.Command, api is OURS
        self._triage, self._approval = graphs.triage(), graphs.approval()
        self._flaky, self._circle, self._adviser = graphs.flaky(), graphs.circle(), graphs.adviser()
        self._threads = itertools.count()
        self._waiting: list[dict[str, Any]] = []

    def _thread(self) -> dict[str, Any]:
        return {"configurable": {"thread_id": f"thread-{next(self._threads)}"}}

    async def healthy(self) -> None:
        await self._triage.ainvoke({"kind": "healthy"}, self._thread())

    async def slow(self) -> None:
        await self._triage.ainvoke({"kind": "slow"}, self._thread())

    async def retried(self) -> None:
        await self._flaky.ainvoke({"kind": "retried"})

    async def failing(self) -> None:
        with contextlib.suppress(ValueError):
            await self._triage.ainvoke({"kind": "failing"}, self._thread())

    async def advised(self) -> None:
        """As it is shown word by word: LangGraph's models stream for who asks for that."""
        with contextlib.suppress(UnreachableError):
            async for _ in self._adviser.astream({"kind": "advised"}, stream_mode="messages"):
                pass

    async def endless(self) -> None:
        with contextlib.suppress(GraphRecursionError, LangGraphsRecursionError):
            await self._circle.ainvoke({"kind": "endless"}, {"recursion_limit": 12})

    async def cancelled(self) -> None:
        run = asyncio.create_task(self._triage.ainvoke({"kind": "slow"}, self._thread()))
        await asyncio.sleep(0.1)
        run.cancel()
        await asyncio.wait([run])

    async def interrupted(self) -> None:
        """Every second one is answered, when two more wait; the others wait for ever."""
        config = self._thread()
        await self._approval.ainvoke({"kind": "interrupted"}, config)
        self._waiting.append(config)
        if len(self._waiting) > 2:
            await self._approval.ainvoke(self._command(resume="yes"), self._waiting.pop())

    async def watched(self) -> None:
        """Receivers that take all, too little, a sample, and what they want."""
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

        streams = (
            StreamConfig(modes=("values", "updates", "custom", "tasks")),
            StreamConfig(modes="custom", buffer_size=4, overflow="drop_oldest"),
            StreamConfig(modes="custom", buffer_size=4, overflow="drop_newest"),
            StreamConfig(modes=("updates", "custom"), sampler=TraceIdRatioBased(0.3)),
            StreamConfig(modes=("updates", "custom"), filter=_is_update),
        )
        opening = self._triage.open_stream if self._is_ours else partial(open_stream, self._triage)
        async with opening({"kind": "slow"}, *streams, config=self._thread()) as stream:
            await asyncio.gather(*(_read(receiver) for receiver in stream.receivers))


def _is_update(part: StreamPart) -> bool:
    return part.type == "updates"


async def _read(receiver: Any) -> None:
    async for _ in receiver:
        await asyncio.sleep(0.01)


#: What is going on at any time, and how often (seconds between two of a kind).
_PACE = {
    "healthy": 0.2,
    "slow": 1.0,
    "retried": 0.5,
    "failing": 0.4,
    "advised": 0.3,
    "endless": 2.0,
    "cancelled": 2.0,
    "interrupted": 1.0,
    "watched": 1.0,
}


async def mixed(seconds: float, api: Any = OURS) -> None:
    """Keep all kinds going, side by side, until the time is over and the last run has ended."""
    traffic = Traffic(api)
    until = time.monotonic() + seconds

    async def keep(run: Callable[[], Awaitable[None]], pause: float) -> None:
        while time.monotonic() < until:
            await run()
            await asyncio.sleep(pause)

    await asyncio.gather(*(keep(getattr(traffic, kind), pause) for kind, pause in _PACE.items()))


MODES = "values,updates,custom,messages,graph.route"


def app(seconds: float) -> None:
    handle = configure(service_name="app", capture_content=True, modes=MODES)
    asyncio.run(mixed(seconds))
    handle.shutdown()


def observed(seconds: float) -> None:
    """LangGraph's own graphs; all that is ours is ``configure``."""
    handle = configure(service_name="observed", capture_content=True, modes=MODES, langgraph=True)
    asyncio.run(mixed(seconds, LANGGRAPH))
    handle.shutdown()


def lossy(seconds: float) -> None:
    """Metrics get through; spans and log events do not."""
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://127.0.0.1:1/v1/traces"
    os.environ["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"] = "http://127.0.0.1:1/v1/logs"
    # An exporter's deadline is how long it tries again.
    os.environ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
    handle = configure(service_name="lossy")
    asyncio.run(mixed(seconds))
    handle.shutdown()


def tail(seconds: float) -> None:
    """Providers set up by the program itself, with the decision about each trace in the process."""
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from otel_stream.sdk import KeepErrors, KeepInterrupted, KeepRatio, KeepSlow

    resource = Resource.create({"service.name": "tail"})
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
    metrics.set_meter_provider(meters)
    sampling = TailSamplingProcessor(
        BatchSpanProcessor(OTLPSpanExporter()),
        BatchLogRecordProcessor(OTLPLogExporter()),
        [KeepErrors(), KeepSlow(1.0), KeepInterrupted(), KeepRatio(0.1)],
    )
    tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource)
    tracers.add_span_processor(sampling)
    loggers.add_log_record_processor(sampling.logs)
    trace.set_tracer_provider(tracers)
    _logs.set_logger_provider(loggers)
    asyncio.run(mixed(seconds))
    for provider in (tracers, loggers, meters):
        provider.shutdown()


if __name__ == "__main__":
    {"app": app, "observed": observed, "lossy": lossy, "tail": tail}[sys.argv[1]](float(sys.argv[2]))
