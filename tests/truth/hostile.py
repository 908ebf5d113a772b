"""Programs with hostile text and values wherever a user's can be, and healthy ones beside them."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypedDict

from opentelemetry import trace

from engine import START, InMemorySaver, StateGraph, emit_message, interrupt

TEXTS: dict[str, str] = {
    "a lone surrogate": "caf\ud83d\udce9 \udfff",
    "what the system calls a file": os.fsdecode(b"caf\xe9\xff.pdf"),
    "NUL": "a\0b\0",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85\u2028\x1b[2J\x1b]0;t\x07",
    "from right to left": "\u202egnp.exe\u2069\ufeff",
    "nothing": "",
    "blanks": " \t\n ",
    "JSON": '{"resourceSpans":[]}\n{"',
    "1 MB": "漢" * 350_000,
}


class Unshowable:
    """Raises whatever it is asked for."""

    def __repr__(self) -> str:
        raise RuntimeError("\udce9")

    def model_dump(self) -> Any:
        raise RuntimeError("\udce9")


def _cycle() -> Any:
    inner: dict[Any, Any] = {"list": []}
    inner["self"] = inner
    inner["list"].append(inner)
    return inner


def _deep() -> Any:
    value: Any = "bottom"
    for _ in range(500):
        value = {"down": [value]}
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "NaN": lambda: [float("nan"), float("inf"), -float("inf")],
    "huge integers": lambda: [1 << 70, -(10**400), {1 << 90: 1}],
    "mixed keys": lambda: {1: "a", "1": "b", None: "c", (1, 2): "d", 1.5: "e", b"\xff": "f", "\udce9": "g"},
    "a cycle": _cycle,
    "depth": _deep,
    "bytes": lambda: [b"\xff\x00", bytearray(b"\x80"), memoryview(b"\xfe")],
    "what can't be shown": lambda: [Unshowable(), {Unshowable(): Unshowable()}],
    "sets": lambda: {frozenset({1, "\ud800"}), "a", 2},
    "a class, a function, a module": lambda: [int, len, os, lambda: None],
    "long lists": lambda: list(range(100_000)),
}


@dataclass
class Program:
    """One run, and what is where in it."""

    graph: str = "g"
    node: str = "n"
    config: dict[str, Any] = field(default_factory=dict)
    update: Any = field(default_factory=lambda: {"x": 1})
    custom: Any = None
    message: Any = None
    error: BaseException | None = None
    asks: Any = None
    span: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    said: str = ""


def _error(text: str) -> BaseException:
    error = type("Odd", (ValueError,), {"__qualname__": text or "Odd", "__module__": text})(text)
    error.add_note(text)
    error.__cause__ = ExceptionGroup(text or "group", [KeyError(text)])
    return error


#: Where a text of the user's can be.
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "graph": lambda text: {"graph": text},
    "node": lambda text: {"node": text},
    "thread": lambda text: {"config": {"configurable": {"thread_id": text}}},
    "tags": lambda text: {"config": {"tags": [text, text]}},
    "metadata": lambda text: {"config": {"metadata": {text: text}}},
    "run name": lambda text: {"config": {"run_name": text}},
    "key": lambda text: {"update": {text: 1}},
    "text": lambda text: {"update": {"x": {text: [text]}}},
    "custom": lambda text: {"custom": {text: text}},
    "message": lambda text: {"message": {"id": text, "content": text, "type": text}},
    "error": lambda text: {"error": _error(text)},
    "question": lambda text: {"asks": {text: text}},
    "span": lambda text: {"span": text or "odd", "attributes": {text or "key": text, "list": [text]}},
    "log": lambda text: {"said": text},
}
#: Where any value can be.
VALUE_PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "state": lambda value: {"update": {"x": value}},
    "custom": lambda value: {"custom": value},
    "message": lambda value: {"message": {"id": "m", "content": value}},
    "question": lambda value: {"asks": value},
    "error": lambda value: {"error": ValueError(value)},
    "metadata": lambda value: {"config": {"metadata": {"value": value}}},
    "span": lambda value: {"span": "odd", "attributes": {"value": value}},
}


def hostile(chance: random.Random) -> tuple[str, Program]:
    """Return a program with one text or value, and what it is in words."""
    if chance.random() < 0.7:
        # What is long costs most: it comes as often as it must.
        names = [name for name in TEXTS if name != "1 MB" or chance.random() < 0.3]
        what, where = chance.choice(names), chance.choice(list(PLACES))
        return f"{what} as {where}", Program(**PLACES[where](TEXTS[what]))
    what, where = chance.choice(list(VALUES)), chance.choice(list(VALUE_PLACES))
    return f"{what} as {where}", Program(**VALUE_PLACES[where](VALUES[what]()))


def run(program: Program) -> bool:
    """Run it; return whether it came to be a run: a name may be refused."""

    def work(state: Any, writer: Any) -> Any:
        if program.custom is not None:
            writer(program.custom)
        if program.message is not None:
            emit_message(program.message)
        if program.said:
            logging.getLogger("app").error(program.said, exc_info=ValueError(program.said))
        if program.span:
            span = trace.get_tracer("app").start_span(program.span, attributes=program.attributes)
            span.add_event(program.span, program.attributes)
            span.end()
        if program.asks is not None:
            interrupt(program.asks)
        if program.error is not None:
            raise program.error
        return program.update

    try:
        built: Any = StateGraph(dict).add_node(program.node, work).add_edge(START, program.node)
        made = built.compile(name=program.graph, checkpointer=InMemorySaver())
    except ValueError:
        return False
    config = {**program.config, "configurable": {"thread_id": "t", **program.config.get("configurable", {})}}
    with suppress(Exception):
        made.invoke({"x": 0}, config)
    return True


class _State(TypedDict, total=False):
    n: int
    text: str


HEALTHY_SPANS = sorted(
    ["invoke_workflow healthy", "superstep", "superstep", "invoke_node one", "invoke_node two"]
)
HEALTHY_STATES = [{"n": 0}, {"n": 1}, {"n": 1, "text": "fine"}]


def run_healthy() -> None:
    """Run what nothing is wrong with."""
    built = StateGraph(_State).add_node("one", lambda s: {"n": 1}).add_node("two", lambda s: {"text": "fine"})
    built.add_edge(START, "one").add_edge("one", "two").compile(name="healthy").invoke({"n": 0})
