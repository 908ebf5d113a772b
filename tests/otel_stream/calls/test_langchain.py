"""LangChain's models, tools and retrievers in nodes of either engine: spans, metrics, content, failures."""

import asyncio
import hashlib
import json
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from opentelemetry import trace

from otel_stream.telemetry import Redaction, get_options, resolve, set_options
from tests.otel_stream.calls.conftest import CAPTURE, LATEST, Model, RateLimitError, one_node

CONFIG: Any = {"configurable": {"thread_id": "thread-7"}}
ASKED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "mistral_ai",
    "gen_ai.request.model": "gpt-fake",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.top_p": 0.9,
    "gen_ai.request.seed": 7,
    "gen_ai.request.max_tokens": 64,
    "gen_ai.request.stop_sequences": ("END",),
    "gen_ai.conversation.id": "thread-7",
}
ANSWERED = {
    "gen_ai.response.id": "answer-1",
    "gen_ai.response.model": "gpt-fake-2026",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.usage.reasoning.output_tokens": 5,
}
BEFORE = {**ASKED, "gen_ai.request.top_k": 3.0, **ANSWERED, "gen_ai.usage.cache_creation.input_tokens": 10}
SINCE = {**ASKED, "gen_ai.request.top_k": 3, **ANSWERED, "gen_ai.usage.cache_write.input_tokens": 10}
BY = ("gen_ai.request.model", "gen_ai.node.name")
OF_NODE = ("gpt-fake", "node")


def ask_once(how: str) -> Any:
    """Return a node that asks the model in one of the ways there are."""
    model = Model().bind(stop=["END"])

    def invoke(state: Any) -> Any:
        return {"said": model.invoke("Weather?").content}

    def stream(state: Any) -> Any:
        return {"said": "".join(str(chunk.content) for chunk in model.stream("Weather?"))}

    def batch(state: Any) -> Any:
        return {"said": model.batch(["Weather?"])[0].content}

    async def ainvoke(state: Any) -> Any:
        return {"said": (await model.ainvoke("Weather?")).content}

    async def astream(state: Any) -> Any:
        return {"said": "".join([str(chunk.content) async for chunk in model.astream("Weather?")])}

    return {one.__name__: one for one in (invoke, stream, batch, ainvoke, astream)}[how]


def run(graph: Any, how: str) -> Any:
    if how.startswith("a"):
        return asyncio.run(graph.ainvoke({"said": ""}, CONFIG))
    return graph.invoke({"said": ""}, CONFIG)


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
@pytest.mark.parametrize("how", ["invoke", "stream", "batch", "ainvoke", "astream"])
def test_a_models_call_is_told_attribute_by_attribute(
    watch: Any, graphs: Any, how: str, *, latest: bool
) -> None:
    seen = watch(**(LATEST if latest else {}))
    assert run(one_node(graphs, ask_once(how)), how)["said"] == "It rains in Paris."
    told = seen()
    (call,) = told.of("chat")
    attributes = dict(call.attributes)
    first = attributes.pop("gen_ai.response.time_to_first_chunk", None)
    if attributes.pop("gen_ai.request.stream", False):
        assert 0 <= first < 60
    else:
        assert first is None
        assert "stream" not in how
    assert attributes == (SINCE if latest else BEFORE)
    assert (call.name, call.kind.name, call.status.status_code.name) == ("chat gpt-fake", "CLIENT", "UNSET")
    assert told.above(call) == "invoke_node node"
    assert told.violations() == []


def test_tokens_are_counted_by_type_before(watch: Any, graphs: Any) -> None:
    seen = watch()
    run(one_node(graphs, ask_once("invoke")), "invoke")
    told = seen()
    assert told.sums("gen_ai.client.token.usage", "gen_ai.token.type", *BY) == {
        ("input", *OF_NODE): 100,
        ("output", *OF_NODE): 20,
    }
    (duration,) = told.points("gen_ai.client.operation.duration")
    assert (duration.count, duration.attributes["graph.name"]) == (1, "triage")


def test_tokens_are_counted_in_sum_and_by_call_since(watch: Any, graphs: Any) -> None:
    seen = watch(**LATEST)
    run(one_node(graphs, ask_once("stream")), "stream")
    told, client = seen(), "gen_ai.client.inference"
    sums = (
        "input_tokens",
        "output_tokens",
        "cache_read.input_tokens",
        "cache_write.input_tokens",
        "reasoning.output_tokens",
    )
    found = [told.sums(f"{client}.usage.{name}", "gen_ai.token.modality") for name in sums]
    assert found == [{("unknown",): count} for count in (100, 20, 40, 10, 5)]
    by_call = [told.sums(f"{client}.operation.{kind}_tokens", *BY) for kind in ("input", "output")]
    assert by_call == [{OF_NODE: 100}, {OF_NODE: 20}]
    (first,), (between,) = (
        told.points(f"{client}.time_to_first_chunk"),
        told.points(f"{client}.time_per_output_chunk"),
    )
    assert (first.count, between.count) == (1, 3)  # three words, and the chunk that counts


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream"])
def test_a_call_that_fails_says_so_and_is_measured(watch: Any, graphs: Any, how: str) -> None:
    seen = watch()
    model = Model(error=RateLimitError("429"), after=1)

    def ask(state: Any) -> Any:
        if how == "invoke":
            return {"said": model.invoke("?")}
        return {"said": [*model.stream("?")]}

    async def aask(state: Any) -> Any:
        if how == "ainvoke":
            return {"said": await model.ainvoke("?")}
        return {"said": [chunk async for chunk in model.astream("?")]}

    with pytest.raises(RateLimitError):
        run(one_node(graphs, aask if how.startswith("a") else ask), how)
    told = seen()
    (call,) = told.of("chat")
    kind = f"{RateLimitError.__module__}.RateLimitError"
    assert (call.status.status_code.name, call.status.description) == ("ERROR", None)
    assert call.attributes["error.type"] == kind
    assert "gen_ai.usage.input_tokens" not in call.attributes
    assert [p.attributes["error.type"] for p in told.points("gen_ai.client.operation.duration")] == [kind]
    assert told.points("gen_ai.client.token.usage") == []
    assert told.violations() == []


def test_who_leaves_a_stream_leaves_a_call_that_has_not_failed(watch: Any, graphs: Any) -> None:
    seen = watch()

    def ask(state: Any) -> Any:
        for chunk in Model().stream("?"):
            return {"said": chunk.content}

    async def aask(state: Any) -> Any:
        async for chunk in Model().astream("?"):
            return {"said": chunk.content}

    run(one_node(graphs, ask), "invoke")
    run(one_node(graphs, aask), "ainvoke")
    told = seen()
    assert [call.status.status_code.name for call in told.of("chat")] == ["UNSET", "UNSET"]
    assert sum(point.count for point in told.points("gen_ai.client.operation.duration")) == 2
    assert told.violations() == []


# -- tools ------------------------------------------------------------------------------------------------


@tool
def search(query: str) -> str:
    """Search the web."""
    with trace.get_tracer("the program").start_as_current_span("fetch"):
        return f"found {query}"


@tool
async def asearch(query: str) -> str:
    """Search the web."""
    with trace.get_tracer("the program").start_as_current_span("fetch"):
        return str((await Model().ainvoke(query)).content)


@tool
def broken(query: str) -> str:
    """Fail."""
    raise ValueError(query)


CALL = {"type": "tool_call", "id": "call-1", "name": "search", "args": {"query": "rain"}}


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
def test_what_a_tool_does_is_below_its_span(watch: Any, graphs: Any, *, latest: bool) -> None:
    seen = watch(**(LATEST if latest else {}))

    async def node(state: Any) -> Any:
        await asyncio.to_thread(search.invoke, CALL)
        await asearch.ainvoke({**CALL, "id": "call-2"})
        with trace.get_tracer("the program").start_as_current_span("after"):
            return {"said": "done"}

    run(one_node(graphs, node), "ainvoke")
    told = seen()
    assert [dict(one.attributes) for one in told.of("execute_tool")] == [
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": id,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": "Search the web.",
            "gen_ai.conversation.id": "thread-7",
        }
        for name, id in (("search", "call-1"), ("asearch", "call-2"))
    ]
    above = sorted(
        (span.name, told.above(span))
        for span in told.spans
        if span.name in ("fetch", "after", "chat gpt-fake")
    )
    assert above == [
        ("after", "invoke_node node"),
        ("chat gpt-fake", "fetch"),
        ("fetch", "execute_tool asearch"),
        ("fetch", "execute_tool search"),
    ]
    assert [point.count for point in told.points("gen_ai.execute_tool.duration")] == [1, 1]
    assert told.violations() == []


def test_a_tool_fails_by_raising_or_by_its_answer_and_not_by_asking(watch: Any, graphs: Any) -> None:
    seen = watch()
    answering = broken.model_copy(update={"name": "answering", "handle_tool_error": True})

    @tool
    def says(query: str) -> Any:
        """Answer with an error."""
        return ToolMessage("no", tool_call_id="call-1", status="error")

    @tool
    def asks(query: str) -> Any:
        """Ask."""
        raise GraphInterrupt(())

    class GraphInterrupt(Exception):
        """Known by its name."""

    def node(state: Any) -> Any:
        for one in (broken, says, asks):
            with suppress(ValueError, GraphInterrupt):
                one.invoke(CALL)
        return {"said": answering.name}

    run(one_node(graphs, node), "invoke")
    told = seen()
    found = [
        (s.attributes["gen_ai.tool.name"], s.attributes.get("error.type")) for s in told.of("execute_tool")
    ]
    assert found == [("broken", "ValueError"), ("says", "tool_error"), ("asks", None)]
    assert told.violations() == []


class Retriever(BaseRetriever):
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [Document("rain", id="d1", metadata={"score": 0.5}), Document("sun")]


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
def test_a_retriever_is_told(watch: Any, graphs: Any, *, latest: bool) -> None:
    seen = watch(**(LATEST if latest else {}), **{CAPTURE: "SPAN_ONLY"})
    run(one_node(graphs, lambda state: {"said": len(Retriever().invoke("rain?"))}), "invoke")
    told = seen()
    (span,) = told.of("retrieval")
    assert (span.name, span.kind.name) == (
        ("retrieval", "INTERNAL")
        if latest
        else (f"retrieval {span.attributes['gen_ai.data_source.id']}", "CLIENT")
    )
    assert span.attributes["gen_ai.retrieval.query.text"] == "rain?"
    assert json.loads(span.attributes["gen_ai.retrieval.documents"]) == [
        {"id": "d1", "score": 0.5},
        {"id": "1", "score": 0.0},
    ]
    assert told.violations() == []


# -- content ----------------------------------------------------------------------------------------------

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,Y2FuYXJ5LWltYWdl"}}
SAID = [
    SystemMessage("canary-system"),
    HumanMessage([{"type": "text", "text": "canary-prompt"}, IMAGE]),
]
OFFERED = [
    {"type": "function", "function": {"name": "search", "description": "S", "parameters": {"type": "object"}}}
]


def talk(state: Any) -> Any:
    model = Model(
        words=["canary-answer"], calls=[{"name": "search", "args": {"q": "canary-argument"}, "id": "c"}]
    )
    model.bind(tools=OFFERED).invoke(SAID)
    search.invoke({**CALL, "args": {"query": "canary-query"}})
    return {"said": "x"}


INPUT = [
    {"role": "system", "parts": [{"type": "text", "content": "canary-system"}]},
    {
        "role": "user",
        "parts": [
            {"type": "text", "content": "canary-prompt"},
            {
                "type": "uri",
                "modality": "image",
                "mime_type": "image/png",
                "uri": f"urn:sha256:{hashlib.sha256(b'Y2FuYXJ5LWltYWdl').hexdigest()}",
            },
        ],
    },
]
OUTPUT = [
    {
        "role": "assistant",
        "parts": [
            {"type": "text", "content": "canary-answer"},
            {"type": "tool_call", "id": "c", "name": "search", "arguments": {"q": "canary-argument"}},
        ],
        "finish_reason": "tool_call",
    }
]
TOOLS = [{"type": "function", "name": "search", "description": "S", "parameters": {"type": "object"}}]


def plain(value: Any) -> Any:
    """Return what a log record keeps as a value of JSON."""
    return json.loads(json.dumps(value, default=dict))


@pytest.mark.parametrize("capture", ["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"])
def test_content_goes_where_it_is_asked_for(watch: Any, graphs: Any, capture: str) -> None:
    seen = watch(**{CAPTURE: capture, "OTEL_STREAM_EXPORT_MODES": "custom"})
    run(one_node(graphs, talk), "invoke")
    told = seen()
    (chat,), (searched,) = told.of("chat"), told.of("execute_tool")
    events = [one for one in told.logs if one.event_name == "gen_ai.client.inference.operation.details"]
    names = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions")
    wanted = dict(zip(names, (INPUT, OUTPUT, TOOLS), strict=True))
    on_span = {name: json.loads(chat.attributes[name]) for name in names if name in chat.attributes}
    assert on_span == (wanted if "SPAN" in capture else {})
    assert [{name: plain(one.attributes[name]) for name in names} for one in events] == (
        [wanted] if "EVENT" in capture else []
    )
    assert ("gen_ai.tool.call.arguments" in searched.attributes) == ("SPAN" in capture)
    if "SPAN" in capture:
        assert searched.attributes["gen_ai.tool.call.arguments"] == '{"query":"canary-query"}'
        assert searched.attributes["gen_ai.tool.call.result"] == '"found canary-query"'
    assert told.violations() == []
    if capture == "NO_CONTENT":
        assert "canary" not in told.text()
    assert "Y2FuYXJ5LWltYWdl" not in told.text()


def test_calls_are_told_as_events_without_content_where_that_is_asked_for(watch: Any, graphs: Any) -> None:
    seen = watch(OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true")
    run(one_node(graphs, talk), "invoke")
    told = seen()
    (event,) = [one for one in told.logs if one.event_name == "gen_ai.client.inference.operation.details"]
    assert event.attributes["gen_ai.usage.input_tokens"] == 100
    assert event.attributes["gen_ai.node.name"] == "node"
    assert event.span_id == told.of("chat")[0].context.span_id
    assert "canary" not in told.text()


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        (Redaction("messages.*.content"), ("canary-system", "canary-prompt", "canary-answer")),
        (Redaction(patterns="canary-[a-z]+"), ("canary-",)),
        (Redaction("args.q"), ("canary-argument",)),
        (Redaction(["input", "output"]), ("canary-query",)),
        (Redaction("query"), ('"query":"canary-query"',)),
    ],
    ids=["a message", "a pattern", "an argument", "what a tool is told", "a key"],
)
def test_what_redaction_names_leaves_nowhere(
    watch: Any, graphs: Any, rules: Any, gone: tuple[str, ...]
) -> None:
    seen = watch(OTEL_STREAM_EXPORT_MODES="custom")
    set_options(
        resolve(redaction=rules, environ={CAPTURE: "SPAN_AND_EVENT", "OTEL_STREAM_EXPORT_MODES": "custom"})
    )
    run(one_node(graphs, talk), "invoke")
    told = seen()
    assert [one for one in gone if one in told.text()] == []
    assert any("graph.redaction.count" in span.attributes for span in told.spans)
    assert (
        json.loads(told.of("chat")[0].attributes["gen_ai.output.messages"])[0]["finish_reason"] == "tool_call"
    )


def test_long_content_is_cut_and_still_whole_json(watch: Any, graphs: Any) -> None:
    seen = watch()
    set_options(
        resolve(
            max_body_bytes=2000, environ={CAPTURE: "SPAN_AND_EVENT", "OTEL_STREAM_EXPORT_MODES": "custom"}
        )
    )
    history = [HumanMessage(f"{n}:" + "x" * 500) for n in range(40)]

    def node(state: Any) -> Any:
        Model(words=["y" * 9000]).invoke(history)
        search.invoke({**CALL, "args": {"query": "z" * 9000}})
        return {"said": "x"}

    run(one_node(graphs, node), "invoke")
    (chat,), (searched,) = seen().of("chat"), seen().of("execute_tool")
    last = json.loads(chat.attributes["gen_ai.input.messages"])[-1]
    assert last["parts"][0]["content"].startswith("39:")
    for span in (chat, searched):
        texts = [
            value
            for name, value in span.attributes.items()
            if name.endswith(("messages", "arguments", "result"))
        ]
        assert all(json.loads(text) and len(text.encode()) <= 2000 for text in texts)
        assert span.attributes["graph.content.cut"] > 0
    assert get_options().max_body_bytes == 2000


# -- who is an agent --------------------------------------------------------------------------------------


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
def test_a_graph_that_is_an_agent_is_invoked_as_one(watch: Any, graphs: Any, *, latest: bool) -> None:
    seen = watch(**(LATEST if latest else {}))

    def talk_twice(state: Any) -> Any:
        Model().invoke("?")
        Model().invoke("?")
        search.invoke(CALL)
        return {"said": "x"}

    agent = one_node(graphs, talk_twice, "talk").with_config({"metadata": {"lc_agent_name": "weather"}})

    def call(state: Any) -> Any:
        return agent.invoke(state)

    run(one_node(graphs, call), "invoke")
    told = seen()
    (agent_span,) = told.of("invoke_agent")
    assert (agent_span.name, told.above(agent_span)) == ("invoke_agent weather", "invoke_node node")
    usage = {name: value for name, value in agent_span.attributes.items() if "usage" in name}
    wanted = {"gen_ai.usage.input_tokens": 200, "gen_ai.usage.output_tokens": 40}
    parts = {
        "gen_ai.usage.cache_read.input_tokens": 80,
        "gen_ai.usage.cache_creation.input_tokens": 20,
    }
    assert usage == (wanted if latest else {**wanted, **parts})
    assert agent_span.attributes.get("gen_ai.provider.name") == (None if latest else "mistral_ai")
    assert {one.attributes["gen_ai.agent.name"] for one in (*told.of("chat"), *told.of("execute_tool"))} == {
        "weather"
    }
    assert [one.name for one in told.of("invoke_workflow")] == ["invoke_workflow triage"]
    assert told.violations() == []


# -- sampling ---------------------------------------------------------------------------------------------


def test_a_run_that_is_not_sampled_is_measured(watch: Any, graphs: Any) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    seen = watch(**{CAPTURE: "SPAN_AND_EVENT"})
    trace.get_tracer_provider().sampler = ALWAYS_OFF  # type: ignore[attr-defined]
    run(one_node(graphs, talk), "invoke")
    told = seen()
    assert (told.spans, told.logs) == ((), [])
    assert told.sums("gen_ai.client.token.usage", "gen_ai.token.type") == {("input",): 100, ("output",): 20}
