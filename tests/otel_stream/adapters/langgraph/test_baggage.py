"""What is set in OpenTelemetry's context where a call is made is set inside it; only the span is another."""

import asyncio
import importlib
from typing import Any

import pytest
from opentelemetry import baggage, context, trace

from otel_stream.adapters.langgraph import LangGraphInstrumentor
from otel_stream.testing import telemetry

TENANT = context.create_key("tenant")


class Set:
    """A block in which a session and a tenant are set."""

    def __enter__(self) -> None:
        self.token = context.attach(context.set_value(TENANT, "t7", baggage.set_baggage("session", "s7")))

    def __exit__(self, *_: object) -> None:
        context.detach(self.token)


@pytest.mark.parametrize("library", ["engine", "langgraph.func"])
def test_a_functional_task_sees_what_its_caller_has_set_below_a_span_of_its_own(library: str) -> None:
    api: Any = importlib.import_module(library)
    seen = []

    def note() -> int:
        here = trace.get_current_span()
        seen.append((baggage.get_baggage("session"), context.get_value(TENANT), getattr(here, "name", "")))
        return 1

    @api.task
    def plain() -> int:
        return note()

    @api.task
    async def awaited() -> int:
        return note()

    @api.entrypoint()
    def sync_flow(_: int) -> int:
        with Set():
            return int(plain().result())

    @api.entrypoint()
    async def flow(_: int) -> int:
        with Set():
            return int(await awaited())

    LangGraphInstrumentor().instrument()
    try:
        with telemetry():
            sync_flow.invoke(1)
            asyncio.run(flow.ainvoke(1))
    finally:
        LangGraphInstrumentor().uninstrument()
    assert seen == [("s7", "t7", "invoke_node plain"), ("s7", "t7", "invoke_node awaited")]
