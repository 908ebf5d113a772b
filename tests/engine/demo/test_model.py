"""A model writes if the environment names one; whatever it does, there is a report."""

import importlib.util
import sys
from collections.abc import AsyncIterator, Iterable
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import pytest

from engine.demo.model import DEFAULT_MODEL, ModelAuthor, author, prompt
from engine.demo.state import Audit
from engine.demo.writer import DISCLOSURE, DeterministicAuthor, compose

AUDIT = Audit(root="/code", paths=["."], limit=1, budget=0, totals={"files": 1}, findings=[])


class FakeOpenAI:
    """Takes the place of the module: answers with ``script``, an exception in it is raised."""

    def __init__(self, script: Iterable[str | Exception | None]) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.chat = SimpleNamespace(completions=self)

    def client(self, **options: Any) -> "FakeOpenAI":
        self.asked.append(options)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def create(self, **request: Any) -> AsyncIterator[Any]:
        self.asked.append(request)
        return self.answer()

    async def answer(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(choices=[])
        for item in self.script:
            if isinstance(item, Exception):
                raise item
            yield SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content=item))])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOpenAI:
    fake = FakeOpenAI([])
    module = ModuleType("openai")
    module.AsyncOpenAI = fake.client  # type: ignore[attr-defined]
    module.__spec__ = importlib.util.spec_from_loader("openai", None)
    monkeypatch.setitem(sys.modules, "openai", module)
    return fake


async def text(writer: ModelAuthor) -> list[str]:
    return [token async for token in writer.write(AUDIT)]


def replacement(reason: str) -> str:
    return compose(
        AUDIT,
        f"Written by a deterministic writer: the model 'm' could not be asked ({reason}). "
        "Check OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL.",
    )


async def test_a_models_tokens_are_passed_on_one_by_one(fake: FakeOpenAI, anyio_backend_name: str) -> None:
    fake.script = ["All", None, " is", "", " well."]
    writer = ModelAuthor("k", "http://localhost:1/v1", "m")
    assert await text(writer) == ["All", " is", " well."]
    assert writer.name == "m"
    assert fake.asked == [
        {"api_key": "k", "max_retries": 1, "timeout": 60.0, "base_url": "http://localhost:1/v1"},
        {"model": "m", "messages": prompt(AUDIT), "stream": True},
    ]


@pytest.mark.parametrize(
    ("script", "written", "reason"),
    [
        ([ConnectionError("refused")], "", "ConnectionError: refused"),
        (["Half a", ConnectionError("reset")], "Half a\n\n", "ConnectionError: reset"),
        ([], "", "it answered nothing"),
    ],
)
async def test_a_model_that_fails_is_replaced_and_the_report_says_so(
    fake: FakeOpenAI, anyio_backend_name: str, script: list[Any], written: str, reason: str
) -> None:
    fake.script = script
    writer = ModelAuthor("", "", "m")
    assert "".join(await text(writer)) == written + replacement(reason)
    assert writer.name == DeterministicAuthor.name


def test_without_variables_the_author_says_it_is_no_model() -> None:
    chosen = author({})
    assert isinstance(chosen, DeterministicAuthor)
    assert chosen.preface == DISCLOSURE


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"OPENAI_API_KEY": "k"}, DEFAULT_MODEL),
        ({"OPENAI_BASE_URL": "http://localhost:1", "OPENAI_MODEL": "mine"}, "mine"),
    ],
)
def test_the_usual_variables_name_the_model(fake: FakeOpenAI, environment: dict[str, str], name: str) -> None:
    chosen = author(environment)
    assert (type(chosen), chosen.name) == (ModelAuthor, name)


def test_without_the_client_the_report_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    chosen = author({"OPENAI_API_KEY": "k"})
    assert isinstance(chosen, DeterministicAuthor)
    assert "pip install 'otel-stream[openai]'" in chosen.preface


def test_a_model_is_told_facts_and_no_source() -> None:
    system, user = prompt(AUDIT)
    assert (system["role"], user["role"]) == ("system", "user")
    assert '"root": "/code"' in user["content"]
