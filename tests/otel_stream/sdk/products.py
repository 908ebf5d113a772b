"""A run that products are shown."""

from typing import Any

from langchain_core.tools import tool

import engine
from engine import RetryPolicy
from tests.otel_stream.calls.conftest import State
from tests.otel_stream.calls.test_prices import Priced


def run_an_agent(thread: str) -> None:
    """Call a model and a tool in a node that is tried twice."""

    @tool
    def search(query: str) -> str:
        """Search."""
        return query

    tries = iter([ConnectionError("again"), None])

    def work(state: Any) -> Any:
        if (error := next(tries)) is not None:
            raise error
        search.invoke({"query": "rain"})
        return {"said": Priced().invoke("?").content}

    policy = RetryPolicy(initial_interval=0, jitter=False)
    made = engine.StateGraph(State).add_node("work", work, retry_policy=policy).add_edge(engine.START, "work")
    config: Any = {"configurable": {"thread_id": thread}, "metadata": {"user.id": "ada"}}
    made.compile(name="triage").invoke({}, config)
