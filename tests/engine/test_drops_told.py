"""A run tells at its end how many parts were lost on the way to the receivers that are its alone."""

from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engine import ExecutionEngine, StateGraph
from otel_stream import OverflowPolicy, StreamConfig
from otel_stream.sdk.versions import InMemoryLogRecordExporter

STEPS = 20


def counting() -> Any:
    async def count(state: dict[str, int]) -> dict[str, int]:
        return {"number": state["number"] + 1}

    graph = StateGraph(dict).add_node("count", count).add_edge("__start__", "count")
    graph.add_conditional_edges("count", lambda state: "count" if state["number"] < STEPS else "__end__")
    return graph.compile(name="counting")


class Exported:
    def __init__(self) -> None:
        self._spans, self._logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        tracers, loggers = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        trace.set_tracer_provider(tracers)
        _logs.set_logger_provider(loggers)

    def told(self) -> tuple[Any, Any]:
        """What the span and the log event of the run's end say."""
        (span,) = [one for one in self._spans.get_finished_spans() if one.name == "invoke_workflow counting"]
        (end,) = [
            one.log_record
            for one in self._logs.get_finished_logs()
            if one.log_record.event_name == "graph.run_end"
        ]
        return (span.attributes or {}).get("graph.run.dropped"), (end.attributes or {}).get(
            "graph.run.dropped"
        )


SMALL = StreamConfig(modes=("updates",), buffer_size=4, overflow=OverflowPolicy.DROP_OLDEST)
LARGE = StreamConfig(modes=("updates",), buffer_size=100)


async def test_what_its_receivers_have_lost_is_told_with_a_runs_end(otel_globals: None) -> None:
    exported = Exported()
    async with counting().open_stream({"number": 0}, SMALL, SMALL, LARGE) as stream:
        await stream.wait()
        lost = [receiver.statistics().dropped for receiver in stream.receivers]
    assert lost == [STEPS - 4, STEPS - 4, 0]
    assert exported.told() == (sum(lost), sum(lost))


async def test_where_nothing_is_lost_nothing_is_told(otel_globals: None) -> None:
    exported = Exported()
    async with counting().open_stream({"number": 0}, LARGE) as stream:
        await stream.wait()
    assert exported.told() == (None, None)


async def test_what_a_receiver_of_many_runs_has_lost_is_told_of_none(otel_globals: None) -> None:
    exported = Exported()
    engine = ExecutionEngine()
    receiver = await engine.stream(SMALL)
    await engine.execute(counting(), {"number": 0})
    assert receiver.statistics().dropped == STEPS - 4
    assert exported.told() == (None, None)
