"""What calls cost, by the price table, and that nothing is guessed."""

import importlib.util
import socket
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage, calc_price

from tests.otel_stream.calls.conftest import LATEST, USAGE, Model, RateLimitError, one_node
from tests.otel_stream.calls.services import Answers
from tests.otel_stream.calls.test_clients import CONFIG
from tests.otel_stream.calls.test_requests import COMPLETION, Api, asking

PRICED = "gpt-4o-2024-08-06"


class Priced(Model):
    """Answers as a model does that the table knows."""

    provider: str = "openai"
    name_: str = PRICED

    def _get_ls_params(self, stop: Any = None, **_: Any) -> Any:
        return {"ls_provider": self.provider, "ls_model_name": self.name_, "ls_model_type": "chat"}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.name_}

    def _message(self, kind: Any, content: str, **more: Any) -> Any:
        told = {"finish_reason": "stop", "model_name": self.name_}
        return kind(content=content, id="1", usage_metadata=USAGE, response_metadata=told, **more)


def expected(model: str = PRICED, provider: str = "openai") -> float:
    counted = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=40, cache_write_tokens=10)
    return float(calc_price(counted, model, provider_id=provider).total_price)


def asks(model: Model) -> Any:
    return lambda state: {"said": model.invoke("?").content}


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
def test_a_call_costs_what_the_table_says(watch: Any, graphs: Any, *, latest: bool) -> None:
    seen = watch(**(LATEST if latest else {}))
    one_node(graphs, asks(Priced())).invoke({})
    told = seen()
    (call,) = told.of("chat")
    assert call.attributes["graph.call.cost"] == expected() > 0
    by = ("graph.name", "gen_ai.node.name", "gen_ai.response.model")
    assert told.sums("graph.call.cost", *by) == {("triage", "node", PRICED): expected()}
    assert told.sums("graph.call.unpriced") == {}
    assert told.violations() == []


def test_what_is_read_from_a_cache_costs_less(watch: Any) -> None:
    plain = float(
        calc_price(Usage(input_tokens=100, output_tokens=20), PRICED, provider_id="openai").total_price
    )
    assert expected() < plain


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-fake"),
        ("nobody", PRICED),
        ("azure.ai.inference", PRICED),
        ("gcp.gen_ai", "gemini-2.5-pro"),
    ],
)
def test_what_the_table_does_not_know_has_no_cost_and_is_counted(
    watch: Any, provider: str, model: str
) -> None:
    import engine

    seen = watch()
    graph = one_node(engine, asks(Priced(provider=provider, name_=model)))
    graph.invoke({})
    graph.invoke({})
    told = seen()
    assert ["graph.call.cost" in call.attributes for call in told.of("chat")] == [False, False]
    assert (told.sums("graph.call.cost"), told.sums("graph.call.unpriced")) == ({}, {(): 2})
    assert told.violations() == []


def test_a_call_that_was_not_counted_has_no_cost(watch: Any) -> None:
    import engine

    seen = watch()
    with pytest.raises(RateLimitError):
        one_node(engine, asks(Priced(error=RateLimitError("no")))).invoke({})
    told = seen()
    (call,) = told.of("chat")
    assert "graph.call.cost" not in call.attributes
    assert (told.sums("graph.call.cost"), told.sums("graph.call.unpriced")) == ({}, {})


@pytest.mark.parametrize(("how", "priced"), [("auto", False), ("provider", True), ("off", False)])
def test_a_server_that_only_speaks_the_providers_protocol_has_prices_of_its_own(
    watch: Any, how: str, *, priced: bool
) -> None:
    import engine

    seen, api = watch(OTEL_STREAM_PRICES=how), Api("openai")
    with Answers({**COMPLETION, "model": PRICED}) as service:
        one_node(engine, asking(api, service.url, later=False)).invoke({})
    told = seen()
    (call,) = told.of("chat")
    counted = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=40)
    cost = float(calc_price(counted, PRICED, provider_id="openai").total_price) if priced else None
    assert call.attributes.get("graph.call.cost") == cost
    assert told.sums("graph.call.unpriced") == ({(): 1} if how == "auto" else {})


def test_without_a_table_nothing_costs_anything(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine
    from otel_stream.telemetry.calls import prices

    found = importlib.util.find_spec
    monkeypatch.setattr(prices, "find_spec", lambda name: None if name == "genai_prices" else found(name))
    prices.prices.cache_clear()
    seen = watch()
    one_node(engine, asks(Priced())).invoke({})
    told = seen()
    prices.prices.cache_clear()
    assert "graph.call.cost" not in told.of("chat")[0].attributes
    assert (told.sums("graph.call.cost"), told.sums("graph.call.unpriced")) == ({}, {})


def test_prices_ask_nothing_of_the_network(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    seen = watch()
    one_node(engine, asks(Priced())).invoke({})
    assert Decimal(seen().of("chat")[0].attributes["graph.call.cost"]) > 0


def test_runs_of_agents_count_their_own_calls(watch: Any) -> None:
    import engine

    seen = watch(**LATEST)
    graph = one_node(engine, asks(Priced()))
    graph.invoke({}, {"metadata": {"gen_ai.agent.name": "helper"}})
    told = seen()
    by = ("gen_ai.agent.name", "graph.name")
    assert told.sums("gen_ai.invoke_agent.inference_calls", *by) == {("helper", "triage"): 1}
    assert told.sums("gen_ai.invoke_agent.tool_calls", *by) == {("helper", "triage"): 0}
    assert told.violations() == []


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
@pytest.mark.parametrize("content", ["NO_CONTENT", "EVENT_ONLY"])
def test_a_failed_call_is_an_event_where_calls_are(watch: Any, content: str, *, latest: bool) -> None:
    import engine

    seen = watch(
        **(LATEST if latest else {}),
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=content,
        OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true",
    )
    with pytest.raises(RateLimitError):
        one_node(engine, asks(Priced(error=RateLimitError("canary")))).invoke({}, CONFIG)
    told = seen()
    name = f"gen_ai.client.{'inference' if latest else 'operation'}.exception"
    (failure,) = [log for log in told.logs if log.event_name == name]
    assert failure.severity_number.name == "WARN"
    assert failure.attributes["exception.type"].endswith("RateLimitError")
    assert failure.attributes["gen_ai.conversation.id"] == "thread-7"
    assert failure.attributes.get("exception.message") == ("canary" if content == "EVENT_ONLY" else None)
    assert told.violations() == []
