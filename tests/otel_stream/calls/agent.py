"""An agent that does all that agents do, and speaks through any of three clients.

``planner`` streams a model that asks for a tool, looks something up (which is tried again),
asks a person, and hands over to ``writer``, whose model is refused at first and then answers as a whole.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, TypedDict

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool

from tests.otel_stream.adapters.conftest import encoded
from tests.otel_stream.calls import test_clients, test_requests
from tests.otel_stream.calls.conftest import Model, RateLimitError
from tests.otel_stream.calls.test_langchain import OFFERED, Retriever

#: A header by which a client asks for a refusal.
FATE = "x-fate"
EMBEDDINGS = {
    "object": "list",
    "model": "embed-fake-2026",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25, 0.0]}],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
TOLD = {"service_tier": "default", "system_fingerprint": "fp-7"}


class State(TypedDict, total=False):
    thread: str
    said: Any


class Services:
    """Both services in one, on loopback: streams, whole answers, embeddings, and refusals."""

    def __init__(self) -> None:
        #: How many requests were answered, and how many of them by a refusal.
        self.answered = self.refused = 0
        services, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused = self.headers.get(FATE) == "refused"
                with lock:
                    services.answered += 1
                    services.refused += refused
                kind, body = services.answer(self.path, asked, refused=refused)
                self.send_response(429 if refused else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, asked: Any, *, refused: bool) -> tuple[str, bytes]:
        anthropic = path.endswith("messages")
        if refused:
            return "application/json", json.dumps(test_requests.FULL[2]).encode()
        if path.endswith("embeddings"):
            return "application/json", json.dumps(EMBEDDINGS).encode()
        if not asked.get("stream"):
            whole = test_requests.MESSAGE if anthropic else {**test_requests.COMPLETION, **TOLD}
            return "application/json", json.dumps(whole).encode()
        events: list[Any] = test_clients.ANTHROPIC if anthropic else test_clients.OPENAI
        told = [one if anthropic or isinstance(one, str) else {**one, **TOLD} for one in events]
        return "text/event-stream", b"".join(map(encoded, told))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class LangChain:
    """LangChain's models."""

    def __init__(self, url: str) -> None:
        self.words = ["Let me ", "look."]
        self.calls = [{"name": "search", "args": {"q": "rain"}, "id": "call-1"}]
        self.asked = [SystemMessage("Be brief."), HumanMessage("Weather?")]

    def _model(self, **more: Any) -> Any:
        model = Model(words=self.words, calls=self.calls, **more)
        return model.bind(tools=OFFERED, stop=["END"])

    def stream(self) -> None:
        assert list(self._model().stream(self.asked))

    async def astream(self) -> None:
        assert [chunk async for chunk in self._model().astream(self.asked)]

    def whole(self, *, refused: bool) -> None:
        self._model(error=RateLimitError("429") if refused else None).invoke(self.asked)

    async def awhole(self, *, refused: bool) -> None:
        await self._model(error=RateLimitError("429") if refused else None).ainvoke(self.asked)

    def embed(self) -> None:
        """LangChain tells nobody of embeddings."""

    async def aembed(self) -> None:
        """Neither here."""


class Client:
    """The openai or the anthropic client."""

    def __init__(self, api: Any, name: str, url: str) -> None:
        self._api = api
        self._of = test_requests.Api(name)
        self._url = url

    def stream(self) -> None:
        with self._api.make(self._url) as client:
            assert list(self._api.open(client))

    async def astream(self) -> None:
        async with self._api.amake(self._url) as client, self._api.aopen(client) as stream:
            assert [event async for event in stream]

    def whole(self, *, refused: bool) -> None:
        with self._of.client(self._url, later=False) as client:
            self._of.ask(client, extra_headers={FATE: "refused"} if refused else None)

    async def awhole(self, *, refused: bool) -> None:
        async with self._of.client(self._url, later=True) as client:
            await self._of.ask(client, extra_headers={FATE: "refused"} if refused else None)

    def embed(self) -> None:
        if self._of.name == "openai":
            with self._of.client(self._url, later=False) as client:
                client.embeddings.create(model="embed-fake", input="rain", encoding_format="float")

    async def aembed(self) -> None:
        if self._of.name == "openai":
            async with self._of.client(self._url, later=True) as client:
                await client.embeddings.create(model="embed-fake", input="rain", encoding_format="float")


TALKERS: dict[str, Callable[[str], Any]] = {
    "langchain": LangChain,
    "openai": lambda url: Client(test_clients.OpenAI(), "openai", url),
    "anthropic": lambda url: Client(test_clients.Anthropic(), "anthropic", url),
}


class Once:
    """Tells whether it is asked for the first time for a name."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def __call__(self, name: str) -> bool:
        first = name not in self._asked
        self._asked.add(name)
        return first


def words_of(graphs: Any) -> Any:
    """Return an engine's words: retries, interrupts, commands, a checkpointer."""
    import engine

    if graphs is engine:
        return engine
    from langgraph import types
    from langgraph.checkpoint.memory import InMemorySaver

    return SimpleNamespace(
        RetryPolicy=types.RetryPolicy,
        Command=types.Command,
        interrupt=types.interrupt,
        InMemorySaver=InMemorySaver,
    )


class Agent:
    """The agent, in an engine's words, with a way to speak; its nodes are ``later`` ones or not."""

    def __init__(self, graphs: Any, talker: Any, *, later: bool) -> None:
        self._words = words = words_of(graphs)
        self._later = later
        policy = words.RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=2, retry_on=Exception)
        nodes = self._nodes_later(talker) if later else self._nodes(talker)
        made = graphs.StateGraph(State).add_node("draft", nodes["draft"], retry_policy=policy)
        writer = made.add_edge(graphs.START, "draft").compile(name="writer")
        whole = graphs.StateGraph(State).add_node("plan", nodes["plan"])
        whole.add_node("tools", nodes["tools"], retry_policy=policy)
        whole.add_node("approve", nodes["approve"], destinations=("writer",))
        whole.add_node("writer", writer.with_config({"metadata": {"gen_ai.agent.name": "writer"}}))
        whole.add_edge(graphs.START, "plan").add_edge("plan", "tools").add_edge("tools", "approve")
        self._graph = whole.compile(name="planner", checkpointer=words.InMemorySaver())

    def _nodes(self, talker: Any) -> dict[str, Any]:
        first, look, words = Once(), _search(), self._words

        def plan(state: State) -> State:
            talker.stream()
            return {"said": "plan"}

        def tools(state: State) -> State:
            look.invoke({**CALL, "args": {"query": state["thread"]}})
            Retriever().invoke("rain?")
            talker.embed()
            return {"said": "found"}

        def approve(state: State) -> Any:
            return words.Command(goto="writer", update={"said": words.interrupt("send?")})

        def draft(state: State) -> State:
            talker.whole(refused=first(state["thread"]))
            return {"said": "draft"}

        return {"plan": plan, "tools": tools, "approve": approve, "draft": draft}

    def _nodes_later(self, talker: Any) -> dict[str, Any]:
        first, look, words = Once(), _search(), self._words

        async def plan(state: State) -> State:
            await talker.astream()
            return {"said": "plan"}

        async def tools(state: State) -> State:
            await look.ainvoke({**CALL, "args": {"query": state["thread"]}})
            await Retriever().ainvoke("rain?")
            await talker.aembed()
            return {"said": "found"}

        async def approve(state: State) -> Any:
            return words.Command(goto="writer", update={"said": words.interrupt("send?")})

        async def draft(state: State) -> State:
            await talker.awhole(refused=first(state["thread"]))
            return {"said": "draft"}

        return {"plan": plan, "tools": tools, "approve": approve, "draft": draft}

    def run(self, thread: str) -> None:
        """Let it work until it asks, and on once it is answered."""
        config = {"configurable": {"thread_id": thread}, "metadata": {"gen_ai.agent.name": "planner"}}
        answer = self._words.Command(resume="yes")
        if self._later:

            async def both() -> Any:
                await self._graph.ainvoke({"thread": thread}, config)
                return await self._graph.ainvoke(answer, config)

            result = asyncio.run(both())
        else:
            self._graph.invoke({"thread": thread}, config)
            result = self._graph.invoke(answer, config)
        assert result["said"] == "draft"


CALL = {"type": "tool_call", "id": "call-1", "name": "search", "args": {}}


def _search() -> Any:
    first = Once()

    @tool
    def search(query: str) -> str:
        """Search the web."""
        if first(query):
            raise ConnectionError("out of reach")
        return f"found {query}"

    return search
