"""The agent through each client beside each instrumentation of others: every call once, whoever is chosen."""

import importlib
import importlib.util
from typing import Any

import pytest
from opentelemetry import trace

from tests.otel_stream.calls.agent import TALKERS, Agent, Services
from tests.otel_stream.calls.conftest import graphs, watch

__all__ = ["graphs", "watch"]

#: Instrumentors of LangChain, openai and anthropic, by whose they are.
INSTRUMENTORS = {
    "openinference": [
        ("openinference.instrumentation.langchain", "LangChainInstrumentor"),
        ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
        ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
    ],
    "openllmetry": [
        ("opentelemetry.instrumentation.langchain", "LangchainInstrumentor"),
        ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
        ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
    ],
    "genai": [
        ("opentelemetry.instrumentation.genai.langchain", "LangChainInstrumentor"),
        ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
        ("opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor"),
    ],
}


def _is_here(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


HERE = [name for name, found in INSTRUMENTORS.items() if all(_is_here(module) for module, _ in found)]
HERE += ["logfire"] if _is_here("logfire") else []

pytestmark = [
    pytest.mark.timeout(300),  # to import some of them takes long
    pytest.mark.filterwarnings("default"),  # theirs are theirs
    pytest.mark.skipif(not HERE, reason="make test-versions installs them"),
]


class Logfire:
    """Logfire's instrumentations, which are of clients, not of LangChain, and change their classes."""

    def instrument(self) -> None:
        import logfire

        # It has a provider of its own; what that ends goes where everything of the test does.
        shared: Any = trace.get_tracer_provider()
        processors = [shared._active_span_processor]
        logfire.configure(
            send_to_logfire=False, console=False, metrics=False, additional_span_processors=processors
        )
        self._undo = [logfire.instrument_openai(), logfire.instrument_anthropic()]

    def uninstrument(self) -> None:
        for one in self._undo:
            with one:
                """It is undone where this ends."""


@pytest.fixture(params=HERE)
def others(request: Any) -> Any:
    """Who else tells of calls, by name, and what begins and ends that."""
    if request.param == "logfire":
        return request.param, [Logfire()]
    found = INSTRUMENTORS[request.param]
    return request.param, [getattr(importlib.import_module(module), name)() for module, name in found]


def is_model(span: Any) -> bool:
    """Tell whether a span is one of a model's call, in anybody's words."""
    about = span.attributes
    if about.get("logfire.span_type") == "log":
        return False  # of a stream that has ended, which was told before
    kinds = ("gen_ai.operation.name", "openinference.span.kind", "traceloop.span.kind", "llm.request.type")
    if any(str(about.get(name, "")).lower() in ("chat", "llm") for name in kinds):
        return True
    return span.name.startswith(("Chat Completion with", "Message with"))


@pytest.mark.parametrize("spans", ["auto", "on", "off"])
@pytest.mark.parametrize("client", TALKERS)
@pytest.mark.parametrize("how", ["sync", "async"])
def test_every_call_is_told_once_by_whom_is_chosen(
    watch: Any, graphs: Any, others: Any, client: str, how: str, spans: str
) -> None:
    name, instrumentors = others
    if (name, client) == ("openllmetry", "langchain"):
        pytest.skip("once undone it does not come back in a process: test_models_once has one for each")
    seen = watch(OTEL_STREAM_MODEL_SPANS=spans)
    for one in instrumentors:
        one.instrument()
    services = Services()
    try:
        Agent(graphs, TALKERS[client](services.url), later=how == "async").run("thread-0")
    finally:
        services.close()
        for one in reversed(instrumentors):
            one.uninstrument()
    told = seen()
    models = [one.instrumentation_scope.name for one in told.spans if is_model(one)]
    ours, theirs = models.count("otel_stream"), len(models) - models.count("otel_stream")
    tells = name != "logfire" or client != "langchain"  # Logfire does not tell of LangChain's fakes
    wanted = {"auto": 0 if tells else 3, "on": 3, "off": 0}[spans]
    assert (ours, theirs) == (wanted, 3 if tells else 0), sorted((s.name, told.above(s)) for s in told.spans)
    durations = told.points("gen_ai.client.operation.duration")
    measured = [p for p in durations if "gen_ai.node.name" in p.attributes]
    of_chat = [p for p in measured if p.attributes["gen_ai.operation.name"] == "chat"]
    assert sum(point.count for point in of_chat) == 3
