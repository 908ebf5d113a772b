"""One agent with all that agents do, through each client: held against the conventions, level by level."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import engine
from tests.otel_stream.calls.agent import TALKERS, Agent, Services
from tests.otel_stream.calls.conftest import CAPTURE, LATEST
from tests.otel_stream.calls.test_clients import OF_ANTHROPIC, OF_OPENAI
from tests.otel_stream.calls.test_langchain import BEFORE, TOOLS
from tests.otel_stream.calls.vocabulary import SOME, Vocabulary

#: What is told by both sides: by whom a model is asked, and by what answers.
STREAMED = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": SOME}
OF_SERVICE = {"openai.response.service_tier": "default", "openai.response.system_fingerprint": "fp-7"}
ASKED_AND_ANSWERED: dict[str, dict[str, Any]] = {
    "langchain": {**BEFORE, "gen_ai.response.finish_reasons": ("tool_calls",)},
    "openai": {**OF_OPENAI, **OF_SERVICE},
    "anthropic": {
        **OF_ANTHROPIC,
        "gen_ai.usage.cache_creation.input_tokens": 10,
        "gen_ai.request.top_k": 3.0,
    },
}
ERRORS = {
    "langchain": "tests.otel_stream.calls.conftest.RateLimitError",
    "openai": "openai.RateLimitError",
    "anthropic": "anthropic.RateLimitError",
}
BRIEF = [{"type": "text", "content": "Be brief."}]
SAID = [
    {
        "role": "assistant",
        "parts": [
            {"type": "text", "content": "Let me look."},
            {"type": "tool_call", "id": "call-1", "name": "search", "arguments": {"q": "rain"}},
        ],
        "finish_reason": "tool_call",
    }
]
WEATHER = {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}
OFFERED = [{"type": "function", "name": "search", "parameters": {"type": "object"}}]


def content(client: str) -> dict[str, Any]:
    """Return what was said to a model, and by it."""
    system = [{"role": "system", "parts": BRIEF}]
    return {
        "gen_ai.input.messages": [WEATHER] if client == "anthropic" else [*system, WEATHER],
        "gen_ai.output.messages": SAID,
        "gen_ai.tool.definitions": TOOLS if client == "langchain" else OFFERED,
        **({"gen_ai.system_instructions": BRIEF} if client == "anthropic" else {}),
    }


def of_answer(name: str) -> bool:
    """Tell whether an attribute is one of the answer."""
    answers = ("gen_ai.response", "gen_ai.usage", "openai.response", "gen_ai.output.messages")
    return name.startswith(answers)


def calls_of(
    client: str, thread: str, port: int, *, latest: bool, shown: bool, streams: bool
) -> list[dict[str, Any]]:
    """Return what is known of each call of a run, in the order in which they begin.

    ``streams``: whether a model that is invoked streams, as LangChain's do where somebody wants messages.
    """
    model = {**ASKED_AND_ANSWERED[client], **(content(client) if shown else {})}
    model |= {"gen_ai.conversation.id": thread}
    if "server.address" in model:
        model["server.port"] = port
    model.pop("gen_ai.request.stream", None)
    refused = {name: value for name, value in model.items() if not of_answer(name)}
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Search the web.",
        "gen_ai.agent.name": "planner",
        "gen_ai.conversation.id": thread,
        **({"gen_ai.tool.call.arguments": {"query": thread}} if shown else {}),
    }
    retrieval = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "Retriever",
        **({"gen_ai.retrieval.query.text": "rain?"} if shown else {}),
        **({"gen_ai.retrieval.documents": DOCUMENTS} if shown else {}),
    }
    embeddings = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "embed-fake",
        "gen_ai.response.model": "embed-fake-2026",
        "gen_ai.request.encoding_formats": ("float",),
        "gen_ai.embeddings.dimension.count": 3,
        "gen_ai.usage.input_tokens": 4,
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    answered = {"gen_ai.tool.call.result": f"found {thread}"} if shown else {}
    found = [
        {**model, **STREAMED, "node": "plan"},
        {**tool, "error.type": "ConnectionError", "node": "tools"},
        {**tool, **answered, "node": "tools"},
        {**retrieval, "node": "tools"},
        *([{**embeddings, "node": "tools"}] if client == "openai" else []),
        {**refused, "error.type": ERRORS[client], "node": "draft"},
        {**model, **(STREAMED if streams else {}), "node": "draft"},
    ]
    return [Vocabulary(latest=latest).known(one) for one in found]


DOCUMENTS = [{"id": "d1", "score": 0.5}, {"id": "1", "score": 0.0}]
#: What of its own calls an agent adds up, from one that was answered: all but the model's own words.
SUMMED = ("gen_ai.usage.input", "gen_ai.usage.output", "gen_ai.usage.cache", "gen_ai.response.finish")


def agents_of(client: str, thread: str) -> list[dict[str, Any]]:
    """Return what is known of each agent's run: until it asked, after it was answered, and the other one."""
    told = ASKED_AND_ANSWERED[client]
    kept = ("gen_ai.provider.name", "gen_ai.request.model")
    alone = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": thread}
    called = {name: value for name, value in told.items() if name in kept or name.startswith(SUMMED)}
    return [
        {**alone, **called, "gen_ai.agent.name": "planner"},
        {**alone, "gen_ai.agent.name": "planner", "gen_ai.provider.name": "_OTHER"},
        {**alone, **called, "gen_ai.agent.name": "writer"},
    ]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("latest", "shown"),
    [(False, False), (False, True), (True, False), (True, True)],
    ids=["before", "before-content", "since", "since-content"],
)
@pytest.mark.parametrize("how", ["sync", "async", "threads"])
@pytest.mark.parametrize("client", TALKERS)
def test_an_agent_deviates_in_nothing_from_the_conventions(
    watch: Any, graphs: Any, client: str, how: str, *, latest: bool, shown: bool
) -> None:
    seen = watch(**(LATEST if latest else {}), **({CAPTURE: "SPAN_ONLY"} if shown else {}))
    threads = [f"thread-{number}" for number in range(3 if how == "threads" else 1)]
    services = Services()
    try:
        agent = Agent(graphs, TALKERS[client](services.url), later=how == "async")
        with ThreadPoolExecutor(len(threads)) as pool:
            list(pool.map(agent.run, threads) if how == "threads" else map(agent.run, threads))
    finally:
        services.close()
    told, vocabulary, every = seen(), Vocabulary(latest=latest), []
    streams = client == "langchain" and graphs is engine  # its messages become log events
    deviations: list[str] = []
    for thread in threads:
        of_run = [one for one in told.spans if one.attributes.get("gen_ai.conversation.id") == thread]
        calls = calls_of(client, thread, services.port, latest=latest, shown=shown, streams=streams)
        agents = [vocabulary.known(one) for one in agents_of(client, thread)]
        for known, span in zip([*calls, *agents], [*own_calls(of_run), *own_agents(of_run)], strict=True):
            deviations += vocabulary.span(span, known)
        every += calls
        assert [(told.above(one)) for one in own_calls(of_run)] == [
            "invoke_node plan",
            *["attempt"] * (len(calls) - 1),
        ]
        assert all("gen_ai.conversation.id" in one.attributes for one in of_run)
    assert len({one.context.trace_id for one in told.spans}) == 2 * len(threads)
    deviations += vocabulary.metrics(points_of(told), every)
    assert "\n".join(deviations) == ""
    assert told.violations() == []
    assert Counter(one.attributes.get("gen_ai.agent.name") for one in told.of("chat")) == {
        "planner": len(threads),
        "writer": 2 * len(threads),
    }


def own_calls(spans: list[Any]) -> list[Any]:
    """Return the spans of calls, as they began."""
    kinds = ("chat", "execute_tool", "retrieval", "embeddings")
    found = [one for one in spans if one.attributes.get("gen_ai.operation.name") in kinds]
    return sorted(found, key=lambda one: one.start_time)


def own_agents(spans: list[Any]) -> list[Any]:
    """Return the spans of agents, as they began."""
    found = [one for one in spans if one.attributes.get("gen_ai.operation.name") == "invoke_agent"]
    return sorted(found, key=lambda one: one.start_time)


def points_of(told: Any) -> Any:
    """Return what gives the points of a metric, each with the metric's unit."""

    def points(name: str) -> list[tuple[str, Any]]:
        return [
            (metric.unit, point)
            for resource in told.data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    return points
