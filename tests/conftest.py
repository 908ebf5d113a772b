"""What every test starts from: both event loops, and an environment that says nothing."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings
from opentelemetry import _logs, metrics, trace
from opentelemetry.util._once import Once

from otel_stream.telemetry.variables import warn_once

# How long an example takes says more about the machine than about the code; CI tries the same ones each time.
settings.register_profile("here", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("here")

#: Variables by which a developer's shell would change what the code under test does.
_AMBIENT = ("OTEL_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_", "LANGGRAPH_")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _silent_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(_AMBIENT)]:
        monkeypatch.delenv(name)
    warn_once.cache_clear()


@pytest.fixture
def otel_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test set the global providers, which OpenTelemetry allows once per process."""
    for module, kind in ((trace, "TRACER"), (metrics._internal, "METER"), (_logs._internal, "LOGGER")):
        monkeypatch.setattr(module, f"_{kind}_PROVIDER", None)
        monkeypatch.setattr(module, f"_{kind}_PROVIDER_SET_ONCE", Once())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape in reports what no UTF-8 can hold, and so no worker can send: what is logged of hostile text."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report
