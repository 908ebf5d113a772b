"""Building what a spec describes, with either engine."""

from __future__ import annotations

import asyncio
import operator
from collections import Counter
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

import langgraph.cache.memory
import langgraph.checkpoint.memory
import langgraph.config
import langgraph.func
import langgraph.graph
import langgraph.types
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.types import StreamWriter

import engine
from tests.differential.specs import Graph, Node, Route

LANGGRAPH = SimpleNamespace(
    name="langgraph",
    StateGraph=langgraph.graph.StateGraph,
    add_messages=langgraph.graph.add_messages,
    get_stream_writer=langgraph.config.get_stream_writer,
    InMemorySaver=langgraph.checkpoint.memory.InMemorySaver,
    InMemoryCache=langgraph.cache.memory.InMemoryCache,
    entrypoint=langgraph.func.entrypoint,
    task=langgraph.func.task,
    **{
        name: getattr(langgraph.types, name)
        for name in ("Command", "Send", "interrupt", "RetryPolicy", "CachePolicy")
    },
)
OURS = SimpleNamespace(
    name="engine", **{name: getattr(engine, name) for name in vars(LANGGRAPH) if name != "name"}
)

ERRORS = {error.__name__: error for error in (ValueError, KeyError, RuntimeError, ConnectionError)}


class Builder:
    """Builds one graph, once; its nodes count their attempts."""

    def __init__(self, api: Any, *, is_async: bool) -> None:
        self.api = api
        #: Whether async nodes can be run; else all of them are made sync.
        self.is_async = is_async

    def schema(self, own_keys: bool) -> Any:
        keys: dict[str, Any] = {
            "log": Annotated[list[str], operator.add],
            "total": Annotated[int, operator.add],
            "messages": Annotated[list[Any], self.api.add_messages],
        }
        keys |= {"note": Annotated[list[str], operator.add]} if own_keys else {"last": str}
        return TypedDict("State", keys, total=False)  # type: ignore[operator]

    def graph(self, spec: Graph, checkpointer: Any = None) -> Any:
        made = self.api.StateGraph(self.schema(spec.own_keys))
        for node in spec.nodes:
            made.add_node(node.name, self.action(node, spec.own_keys), **self.options(node))
        for source, target in spec.edges:
            made.add_edge(list(source) if isinstance(source, tuple) else source, target)
        for count, route in enumerate(spec.routes):
            made.add_conditional_edges(route.source, self.router(route, f"choose_{count}"))
        return made.compile(
            spec.memory if checkpointer is None else checkpointer,
            cache=self.api.InMemoryCache() if any(node.cached for node in spec.nodes) else None,
            interrupt_before=list(spec.before),
            interrupt_after=list(spec.after),
        )

    def options(self, node: Node) -> dict[str, Any]:
        options: dict[str, Any] = {"defer": node.defer}
        if hasattr(self.api, "on"):  # ours alone: where its nodes run
            options["on"] = self.api.on
        if node.attempts > 1:
            options["retry_policy"] = self.api.RetryPolicy(
                initial_interval=0.0001, jitter=False, max_attempts=node.attempts
            )
        if node.cached:
            options["cache_policy"] = self.api.CachePolicy(key_func=lambda state: node.name)
        return options

    def router(self, route: Route, name: str) -> Any:
        def choose(state: Any) -> Any:
            if state.get("total", 0) >= route.below:
                return "__end__"
            if route.items:
                return [self.api.Send(to, {"item": item}) for to in route.targets for item in route.items]
            return list(route.targets)

        choose.__name__ = name
        return choose

    def action(self, node: Node, own_keys: bool) -> Any:
        awaits = self.is_async and (node.is_async or not node.calls)
        inner = None
        if node.graph is not None:
            # What a sync node calls is sync all through.
            inner = (self if awaits else Builder(self.api, is_async=False)).graph(node.graph)
        if inner is not None and not node.calls:
            return inner

        # Of each node its own: nodes that run elsewhere share nothing with others of their name.
        attempts: Counter[str] = Counter()

        def work(state: Any, writer: Any) -> dict[str, Any]:
            tag = f"{node.name}{state.get('item', '')}"
            write = writer if node.injected else self.api.get_stream_writer()
            for count in range(node.says):
                write({"by": node.name, "says": f"{tag}.{count}"})
            attempts[tag] += 1
            if attempts[tag] <= node.fails:
                raise ConnectionError(f"{tag} failed at first")
            answers = [self.api.interrupt(f"{tag}?{count}") for count in range(node.asks)]
            if node.says and answers:
                write({"by": node.name, "heard": answers})
            if node.raises:
                raise ERRORS[node.raises](f"{tag} failed")
            update = {"log": [tag, *map(str, answers)], "total": 1}
            return update | ({"note": [tag]} if own_keys else {"last": tag} if node.sets_last else {})

        return (self._async if self.is_async and node.is_async else self._sync)(node, inner, work)

    def _sync(self, node: Node, inner: Any, work: Any) -> Any:
        def act(state: Any, writer: StreamWriter) -> Any:
            update = work(state, writer)
            if inner is not None:
                update["log"] = [*update["log"], *inner.invoke({"log": [], "total": 0})["log"]]
            if node.message == "streamed":
                update["messages"] = model(node).invoke("go on")
            return self.answer(node, update)

        return act

    def _async(self, node: Node, inner: Any, work: Any) -> Any:
        async def act(state: Any, writer: StreamWriter) -> Any:
            update = work(state, writer)
            await asyncio.sleep(0)
            if inner is not None:
                update["log"] = [*update["log"], *(await inner.ainvoke({"log": [], "total": 0}))["log"]]
            if node.message == "streamed":
                update["messages"] = await model(node).ainvoke("go on")
            return self.answer(node, update)

        return act

    def answer(self, node: Node, update: dict[str, Any]) -> Any:
        command = self.api.Command
        if node.message == "returned":
            update["messages"] = [AIMessage(f"from {node.name}", id=f"by {node.name}")]
        match node.returns:
            case "nothing":
                return None
            case "command":
                return command(update=update, goto=list(node.goto))
            case "commands":
                log = update.pop("log")
                return [
                    command(update=update | {"log": log}),
                    command(update={"log": ["more"]}, goto=list(node.goto)),
                ]
            case "parent":
                return command(graph=command.PARENT, update=update, goto=list(node.goto))
            case "rubbish":
                return [update]
            case _:
                return update


def model(node: Node) -> Any:
    return GenericFakeChatModel(messages=iter([AIMessage(f"hello from {node.name}")]))
