"""Chunks of LangChain's models, told to handlers of ours directly: who is told, what others notice of it."""

import logging
import uuid
from typing import Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManagerForLLMRun,
)

from otel_stream.adapters.langchain_tokens import Take, tell_at_once


class Hears(BaseCallbackHandler):
    """Takes chunks, or raises instead."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.heard: list[Any] = []

    def takes(self, run_id: uuid.UUID) -> Take | None:
        return self._take

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: uuid.UUID, **_: Any) -> None:
        self._take(token, chunk)

    def _take(self, token: Any, _: Any) -> None:
        if self.error is not None:
            raise self.error
        self.heard.append(token)


class Foreign(BaseCallbackHandler):
    """Another's handler, which is told in LangChain's way."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.heard.append(token)


def manager_of(kind: Any, *handlers: BaseCallbackHandler) -> Any:
    return kind(run_id=uuid.uuid4(), handlers=[*handlers], inheritable_handlers=[])


@pytest.fixture(params=[CallbackManagerForLLMRun, AsyncCallbackManagerForLLMRun])
def kind(request: pytest.FixtureRequest) -> Any:
    tell_at_once(Hears)
    return request.param


async def told(manager: Any, token: str) -> None:
    telling = manager.on_llm_new_token(token)
    if telling is not None:
        await telling


async def test_one_that_raises_keeps_nothing_from_the_others(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, broken, last = Hears(), Hears(ValueError("broken")), Hears()
    manager = manager_of(kind, first, broken, last)
    with caplog.at_level(logging.WARNING):
        await told(manager, "one")
        await told(manager, "two")
    assert [first.heard, broken.heard, last.heard] == [["one", "two"], [], ["one", "two"]]
    assert "ValueError" in caplog.text


async def test_who_comes_while_a_call_goes_on_is_told_of_the_rest(kind: Any) -> None:
    first, later, foreign = Hears(), Hears(), Foreign()
    manager = manager_of(kind, first)
    await told(manager, "one")
    manager.handlers.append(later)
    await told(manager, "two")
    manager.handlers.append(foreign)
    await told(manager, "three")
    assert [first.heard, later.heard, foreign.heard] == [["one", "two", "three"], ["two", "three"], ["three"]]


async def test_nobody_need_be_there(kind: Any) -> None:
    await told(manager_of(kind), "one")
