"""Both services in one, which keeps what it has reported, and runs whose calls come to all kinds of ends."""

import asyncio
import json
import random
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypedDict

import anthropic
import openai
from genai_prices import Usage, calc_price

import engine
from engine import RetryPolicy, Send
from otel_stream.adapters import anthropic as of_anthropic
from otel_stream.adapters import openai as of_openai
from tests.otel_stream.calls.conftest import State

MODELS = {"openai": "gpt-4o-2024-08-06", "anthropic": "claude-sonnet-4-5-20250929"}
#: What may become of a call: whole, streamed, left by who reads it, cut by the network, refused.
FATES = ("whole", "streamed", "left", "cut", "refused")
#: How runs are made: one after the other, several in a loop, several in threads.
WAYS = ("sync", "async", "threads")


class _Server(ThreadingHTTPServer):
    #: A connection that waits for longer than five others is none that a service has refused.
    request_queue_size = 128


class Ledger:
    """Both services in one. Keeps what it has reported: the counts that it sent before the call was over."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.cost = 0.0
        self.calls: Counter[tuple[str, str]] = Counter()
        ledger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider = "anthropic" if self.path.endswith("messages") else "openai"
                fate = asked["messages"][0]["content"]
                ledger.answer(self, provider, fate)

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def report(self, provider: str, read: int, written: int, cached: int = 0) -> None:
        """Write down what a call used, once that is sure to be said."""
        usage = Usage(input_tokens=read, output_tokens=written, cache_read_tokens=cached)
        price = calc_price(usage, MODELS[provider], provider_id=provider).total_price
        with self._lock:
            self.tokens[MODELS[provider], "input"] += read
            self.tokens[MODELS[provider], "output"] += written
            self.cost += float(price)

    def answer(self, handler: Any, provider: str, fate: str) -> None:
        with self._lock:
            self.calls[provider, fate] += 1
            read, written = self._random.randint(1, 5000), self._random.randint(2, 900)
            cached = self._random.randint(0, read)
        if fate == "refused":
            error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
            self._send(handler, 429, "application/json", json.dumps(error).encode())
        elif fate == "whole":
            self.report(provider, read, written, cached)
            body = json.dumps(WHOLE[provider](read, written, cached)).encode()
            self._send(handler, 200, "application/json", body)
        else:
            self._stream(handler, provider, fate, (read, written, cached))

    def _send(self, handler: Any, status: int, kind: str, body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _stream(self, handler: Any, provider: str, fate: str, counts: tuple[int, int, int]) -> None:
        read, written, cached = counts
        events = STREAMED[provider](read, written, cached)
        if fate != "streamed":
            events = events[:3]  # the rest is never sent
        if fate == "streamed":
            self.report(provider, read, written, cached)
        elif provider == "anthropic":
            self.report(provider, read, 1, cached)  # what it says at first
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with suppress(OSError):
            for event in events:
                name = f"event: {event['type']}\n" if "type" in event else ""
                data = f"{name}data: {json.dumps(event)}\n\n".encode()
                handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            if fate == "streamed":
                end = b"" if provider == "anthropic" else b"data: [DONE]\n\n"
                handler.wfile.write(
                    (f"{len(end):x}\r\n".encode() + end + b"\r\n" if end else b"") + b"0\r\n\r\n"
                )
            elif fate == "left":
                handler.rfile.read(1)  # until whoever reads has hung up
        handler.close_connection = True
        if fate == "cut":
            with suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)


def _openai_whole(read: int, written: int, cached: int) -> Any:
    choice = {"index": 0, "message": {"role": "assistant", "content": "so"}, "finish_reason": "stop"}
    return {
        "id": "c", "object": "chat.completion", "created": 1, "model": MODELS["openai"], "choices": [choice],
        "usage": _openai_usage(read, written, cached),
    }  # fmt: skip


def _openai_usage(read: int, written: int, cached: int) -> Any:
    details = {"prompt_tokens_details": {"cached_tokens": cached}}
    counts = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return {**counts, **details}


def _openai_streamed(read: int, written: int, cached: int) -> list[Any]:
    def chunk(*choices: Any, **more: Any) -> Any:
        about = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODELS["openai"]}
        return {**about, "choices": list(choices), **more}

    words = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in ("so ", "it ", "is")]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return [*map(chunk, words), chunk(last), chunk(usage=_openai_usage(read, written, cached))]


def _anthropic_counts(read: int, written: int, cached: int) -> Any:
    return {"input_tokens": read - cached, "output_tokens": written, "cache_read_input_tokens": cached}


def _anthropic_message(usage: Any, **more: Any) -> Any:
    about = {"id": "m", "type": "message", "role": "assistant", "model": MODELS["anthropic"]}
    return {**about, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage, **more}


def _anthropic_whole(read: int, written: int, cached: int) -> Any:
    said = {"content": [{"type": "text", "text": "so"}], "stop_reason": "end_turn"}
    return _anthropic_message(_anthropic_counts(read, written, cached), **said)


def _anthropic_streamed(read: int, written: int, cached: int) -> list[Any]:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "so"}}
    return [
        {"type": "message_start", "message": _anthropic_message(_anthropic_counts(read, 1, cached))},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        delta,
        delta,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": written},
        },
        {"type": "message_stop"},
    ]


WHOLE = {"openai": _openai_whole, "anthropic": _anthropic_whole}
STREAMED = {"openai": _openai_streamed, "anthropic": _anthropic_streamed}


class Call(TypedDict):
    provider: str
    fate: str


def _options(provider: str, fate: str) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "model": MODELS[provider],
        "messages": [{"role": "user", "content": fate}],
        "max_tokens": 9,
    }
    if fate in ("streamed", "left", "cut"):
        asked["stream"] = True
        if provider == "openai":
            asked["stream_options"] = {"include_usage": True}
    return asked


class Clients:
    """The clients of both services, for nodes that run in threads or in a loop."""

    def __init__(self, url: str) -> None:
        made: dict[str, Any] = {"api_key": "k", "base_url": url, "max_retries": 0}
        self._made = made

    def now(self, provider: str) -> Any:
        if provider == "openai":
            return of_openai.tell_calls(openai.OpenAI(**self._made))
        return of_anthropic.tell_calls(anthropic.Anthropic(**self._made, open_telemetry=False))

    def later(self, provider: str) -> Any:
        if provider == "openai":
            return of_openai.tell_calls(openai.AsyncOpenAI(**self._made))
        return of_anthropic.tell_calls(anthropic.AsyncAnthropic(**self._made, open_telemetry=False))


def _create(client: Any, call: Call) -> Any:
    where = client.chat.completions if call["provider"] == "openai" else client.messages
    return where.create(**_options(call["provider"], call["fate"]))


def _shown(call: Call, stream: Any) -> Any:
    return (of_openai if call["provider"] == "openai" else of_anthropic).stream_messages(stream)


def graph(clients: Clients, *, later: bool) -> Any:
    """A graph that makes the calls it is told to side by side; each is tried twice where it fails."""

    def work(call: Call) -> Any:
        with clients.now(call["provider"]) as client:
            answer = _create(client, call)
            if "stream" in _options(call["provider"], call["fate"]):
                for _ in _shown(call, answer):
                    if call["fate"] == "left":
                        break
        return {}

    async def work_later(call: Call) -> Any:
        async with clients.later(call["provider"]) as client:
            answer = await _create(client, call)
            if "stream" in _options(call["provider"], call["fate"]):
                async with _shown(call, answer) as stream:
                    async for _ in stream:
                        if call["fate"] == "left":
                            break
        return {}

    policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2, retry_on=Exception)
    made = engine.StateGraph(State).add_node("plan", lambda state: {})
    made.add_node("work", work_later if later else work, retry_policy=policy)
    made.add_edge(engine.START, "plan")
    made.add_conditional_edges("plan", lambda state: [Send("work", call) for call in state["said"]], ["work"])
    return made.compile(name="triage")


def drawn(seed: str, count: int, how: str) -> list[list[Call]]:
    """Draw what each of so many runs is to call."""
    chance = random.Random(seed)
    return [
        [
            {"provider": chance.choice(list(MODELS)), "fate": chance.choice(FATES)}
            # In a loop a task that fails cancels those beside it, whose requests may or may not have arrived.
            for _ in range(1 if how == "async" else chance.randint(1, 3))
        ]
        for _ in range(count)
    ]


def make(runs: list[list[Call]], how: str, url: str) -> None:
    """Make the runs, one of `WAYS`, with the services at ``url``."""
    made = graph(Clients(url), later=how == "async")

    def one(calls: list[Call]) -> None:
        with suppress(Exception):  # those that are refused, or cut, again
            made.invoke({"said": calls})

    async def one_later(calls: list[Call]) -> None:
        with suppress(Exception):
            await made.ainvoke({"said": calls})

    async def all_of_them() -> None:
        for place in range(0, len(runs), 8):
            await asyncio.gather(*map(one_later, runs[place : place + 8]))

    if how == "async":
        asyncio.run(all_of_them())
    elif how == "threads":
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, runs))
    else:
        list(map(one, runs))
