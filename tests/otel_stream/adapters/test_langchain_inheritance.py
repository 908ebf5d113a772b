"""What LangChain calls inherit from the task they are made in: callbacks, tags, metadata, and the handler."""

from contextvars import Context, copy_context
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import ensure_config, var_child_runnable_config

from otel_stream.adapters import langchain
from otel_stream.adapters.langchain import MessagesHandler, manager


def model() -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("hello world")]))


def install(context: Context, handler: MessagesHandler | None, config: dict[str, Any]) -> None:
    """Let LangChain calls in ``context`` inherit what those in a task do."""
    inherited: Any = {**config, "callbacks": manager([handler] if handler else [], config)}
    context.run(var_child_runnable_config.set, inherited)


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.starts: list[tuple[Any, ...]] = []

    def on_chat_model_start(
        self, *_: Any, tags: Any, metadata: Any, parent_run_id: Any = None, **__: Any
    ) -> None:
        self.starts.append((sorted(tags), metadata.get("user"), metadata.get("outer"), parent_run_id))


@pytest.mark.parametrize(
    "wrap", [lambda handlers: handlers, lambda handlers: CallbackManager(handlers, handlers)]
)
def test_a_users_own_callbacks_tags_and_metadata_are_inherited(wrap: Any) -> None:
    recorder = Recorder()
    context = copy_context()
    config = {"callbacks": wrap([recorder]), "tags": ["run"], "metadata": {"user": 7}, "recursion_limit": 9}
    install(context, None, config)
    context.run(model().invoke, "why?")
    assert recorder.starts == [(["run"], 7, None, None)]
    assert context.run(ensure_config)["recursion_limit"] == 9


def test_calls_are_children_of_the_chain_the_graph_is_called_in() -> None:
    recorder = Recorder()
    parents: list[Any] = []

    def graph(_: Any, config: RunnableConfig) -> None:
        parents.append(config["callbacks"].parent_run_id)  # type: ignore[union-attr]
        context = copy_context()
        install(context, MessagesHandler(lambda *_: None), {**config, "metadata": {"user": 7}})
        context.run(model().invoke, "why?")

    RunnableLambda(graph).invoke("why?", {"callbacks": [recorder], "run_name": "chain"})
    assert recorder.starts == [([], 7, None, parents[0])]


def test_nothing_that_is_installed_leaves_its_context() -> None:
    before = ensure_config()
    parts: list[Any] = []
    context = copy_context()
    install(context, MessagesHandler(lambda *part: parts.append(part)), {"metadata": {"user": 7}})
    model().invoke("why?")
    assert parts == []
    assert ensure_config() == before


@pytest.mark.parametrize("tags", [[], ["nostream"]])
def test_a_call_that_ended_leaves_nothing_behind(tags: list[str]) -> None:
    handler = MessagesHandler(lambda *_: None)
    context = copy_context()
    install(context, handler, {"tags": tags, "metadata": {"langgraph_node": "node"}})
    context.run((model() | StrOutputParser()).with_config(run_name="node").invoke, "why?")
    with pytest.raises(RuntimeError, match="StopIteration"):
        context.run(GenericFakeChatModel(messages=iter([])).invoke, "why?")
    assert handler._calls == {}


# -- the module itself -------------------------------------------------------------------------------


def test_it_knows_that_langchain_is_here() -> None:
    assert (langchain.available(), langchain.loaded()) == (True, True)
