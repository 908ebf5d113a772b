"""A canary in everything that is said to a model and by it: it leaves only where content is wanted."""

import asyncio
import base64
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool

from otel_stream.telemetry import resolve, set_options
from otel_stream.telemetry.redaction import Redaction
from tests.otel_stream.calls.conftest import CAPTURE, LATEST, Model, one_node
from tests.otel_stream.calls.services import Answers
from tests.otel_stream.calls.test_clients import (
    ANTHROPIC,
    OPENAI,
    Anthropic,
    OpenAI,
    ask_all,
    ask_all_later,
    completion,
    run,
)
from tests.otel_stream.calls.test_requests import APIS, COMPLETION, FULL, MESSAGE, RESPONSE, Api

CANARY = "canary-4711"
IMAGE = base64.b64encode(CANARY.encode() * 9).decode()
CALL = {"id": "c", "type": "function", "function": {"name": "search", "arguments": f'{{"q":"{CANARY}"}}'}}
PARAMETERS = {"type": "object", "description": CANARY}
URL = f"data:image/png;base64,{IMAGE}"

ASKED: dict[str, dict[str, Any]] = {
    "openai": {
        "messages": [
            {"role": "system", "content": CANARY},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": CANARY},
                    {"type": "image_url", "image_url": {"url": URL}},
                ],
            },
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": CANARY},
        ],
        "tools": [{"type": "function", "function": {"name": "search", "parameters": PARAMETERS}}],
    },
    "responses": {
        "instructions": CANARY,
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": CANARY},
                    {"type": "input_image", "image_url": URL},
                ],
            },
            {"type": "function_call", "call_id": "c", "name": "search", "arguments": f'{{"q":"{CANARY}"}}'},
            {"type": "function_call_output", "call_id": "c", "output": CANARY},
        ],
    },
    "anthropic": {
        "system": CANARY,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": CANARY},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": IMAGE},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c", "name": "search", "input": {"q": CANARY}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": CANARY}]},
        ],
        "tools": [{"name": "search", "input_schema": PARAMETERS}],
    },
}


def _said(answer: Any) -> Any:
    """Return an answer with the canary wherever it says something."""
    text = answer
    if isinstance(answer, dict):
        return {key: _said(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [_said(value) for value in answer]
    return {"Let me look.": CANARY, '{"q":"rain"}': f'{{"q":"{CANARY}"}}', "rain": CANARY}.get(text, text)


ANSWERS = {"openai": COMPLETION, "responses": RESPONSE, "anthropic": MESSAGE}


def ask(name: str, answer: Any, *, later: bool) -> None:
    """Make the call in a node; the node returns nothing of it."""
    import engine

    api = Api(name)
    with Answers(answer) as service:

        def node(state: Any) -> Any:
            with api.client(service.url, later=False) as client:
                api.ask(client, **ASKED[name])

        async def node_later(state: Any) -> Any:
            async with api.client(service.url, later=True) as client:
                await api.ask(client, **ASKED[name])

        graph = one_node(engine, node_later if later else node)
        asyncio.run(graph.ainvoke({})) if later else graph.invoke({})


def talk() -> None:
    """Make calls of LangChain's model and of a tool with the canary in them."""
    import engine

    @tool
    def search(query: str) -> str:
        """Search."""
        if query.endswith("!"):
            raise ValueError(query)
        return query

    image = {"type": "image", "base64": IMAGE, "mime_type": "image/png"}
    call = {"name": "search", "args": {"query": CANARY}, "id": "c", "type": "tool_call"}

    def node(state: Any) -> Any:
        model = Model(words=[CANARY], calls=[call])
        asked = [SystemMessage(CANARY), HumanMessage([{"type": "text", "text": CANARY}, image])]
        model.invoke(asked)
        list(model.stream(asked))
        search.invoke({"query": CANARY})
        with pytest.raises(ValueError, match=CANARY):
            search.invoke({"query": f"{CANARY}!"})
        with pytest.raises(ValueError, match=CANARY):
            Model(error=ValueError(CANARY)).invoke(asked)

    one_node(engine, node).invoke({})


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
@pytest.mark.parametrize("name", [*APIS, "langchain"])
@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_nothing_leaves_where_content_is_off(watch: Any, name: str, *, later: bool, latest: bool) -> None:
    seen = watch(**(LATEST if latest else {}), OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true")
    if name == "langchain":
        talk()
    else:
        ask(name, _said(ANSWERS[name]), later=later)
    told = seen()
    assert told.of("chat")
    assert CANARY not in told.text()
    assert IMAGE not in told.text()


@pytest.mark.parametrize("name", [*APIS, "langchain"])
def test_it_leaves_where_content_is_on_and_images_only_by_their_digest(watch: Any, name: str) -> None:
    seen = watch(**{CAPTURE: "SPAN_AND_EVENT"})
    if name == "langchain":
        talk()
    else:
        ask(name, _said(ANSWERS[name]), later=False)
    told = seen()
    # Bytes of an image are never content of a call; where state has them is another matter.
    calls = "\n".join(str(dict(span.attributes)) for span in told.of("chat"))
    assert CANARY in calls
    assert IMAGE not in calls
    assert "urn:sha256:" in calls


@pytest.mark.parametrize("name", [*APIS, "langchain"])
def test_redaction_leaves_nothing_of_what_it_names(watch: Any, name: str) -> None:
    watch_all = watch(**{CAPTURE: "SPAN_AND_EVENT"})
    rules = Redaction(patterns=[CANARY])
    set_options(resolve(environ={CAPTURE: "SPAN_AND_EVENT"}, redaction=rules))
    if name == "langchain":
        talk()
    else:
        ask(name, _said(ANSWERS[name]), later=False)
    told = watch_all()
    assert told.of("chat")
    assert CANARY not in told.text()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", APIS)
def test_what_a_service_says_as_it_refuses_is_content(watch: Any, name: str, *, streamed: bool) -> None:
    import engine

    seen, api = watch(OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true"), Api(name)

    def node(state: Any) -> Any:
        with api.client(service.url, later=False) as client:
            api.ask(client, **ASKED[name], stream=streamed)

    refused = (FULL[0], FULL[1], {"error": {"message": CANARY, "type": "rate_limit_error"}})
    with Answers(refused) as service, pytest.raises(Exception, match=CANARY):
        one_node(engine, node).invoke({})
    told = seen()
    assert [log.event_name for log in told.logs if log.event_name.endswith("exception")] != []
    assert CANARY not in told.text()


def told_by(client: str) -> list[Any]:
    """Return the events of a stream that says the canary wherever it can, once whole and once in pieces."""
    half = len(CANARY) // 2
    pieces = CANARY, CANARY[:half], CANARY[half:]
    if client == "openai":
        words = [{name: one} for one in pieces for name in ("content", "refusal", "reasoning_content")]
        call = {"index": 0, "id": "c", "type": "function"}
        asked = [
            {"tool_calls": [{**call, "function": {"name": "search", "arguments": one}}]}
            for one in (f'{{"q":"{pieces[1]}', f'{pieces[2]}"}}')
        ]
        return [OPENAI[0], *map(completion, words), *map(completion, asked), *OPENAI[-3:]]
    deltas = [
        *({"type": "text_delta", "text": one} for one in pieces),
        *({"type": "thinking_delta", "thinking": one} for one in pieces),
    ]
    said = [{"type": "content_block_delta", "index": 0, "delta": one} for one in deltas]
    asked = [
        {**ANTHROPIC[6], "delta": {"type": "input_json_delta", "partial_json": one}}
        for one in (f'{{"q":"{pieces[1]}', f'{pieces[2]}"}}')
    ]
    return [*ANTHROPIC[:2], *said, *ANTHROPIC[4:6], *asked, *ANTHROPIC[8:]]


@pytest.mark.parametrize("shown", ["off", "on", "redacted"])
@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_what_is_streamed_leaves_only_where_content_is_on(
    watch: Any, graphs: Any, service: Any, client: str, shown: str, *, later: bool
) -> None:
    environ = (
        {CAPTURE: "SPAN_AND_EVENT"} if shown != "off" else {"OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "1"}
    )
    seen = watch(**environ)
    if shown == "redacted":
        set_options(resolve(environ=environ, redaction=Redaction(patterns=[CANARY])))
    service.events = told_by(client)
    api = OpenAI() if client == "openai" else Anthropic()
    run(one_node(graphs, (ask_all_later if later else ask_all)(api, service.url)), later=later)
    told = seen()
    assert len(told.of("chat")) == 1
    assert (CANARY in told.text()) is (shown == "on")
    assert told.violations() == []


@pytest.mark.parametrize("shown", ["off", "on", "redacted"])
def test_what_is_looked_up_leaves_only_where_content_is_on(watch: Any, graphs: Any, shown: str) -> None:
    environ = {CAPTURE: "SPAN_AND_EVENT"} if shown != "off" else {}
    seen = watch(**environ)
    if shown == "redacted":
        set_options(resolve(environ=environ, redaction=Redaction(patterns=[CANARY])))

    class Found(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [Document(CANARY, id="d1", metadata={"from": CANARY})]

    one_node(graphs, lambda state: {"said": str(Found().invoke(CANARY))[:0]}).invoke({})
    told = seen()
    assert len(told.of("retrieval")) == 1
    assert (CANARY in told.text()) is (shown == "on")
