"""Other instrumentations of models, where they are active: one call is to have one span, and they make it.

Known by the classes of their instrumentors in modules that the program has loaded; nothing is imported.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from opentelemetry.trace import get_tracer_provider

from otel_stream.telemetry.run import is_configured

#: Modules of instrumentors of LangChain, each with its class.
_OF_LANGCHAIN: Final = (
    ("openinference.instrumentation.langchain", "LangChainInstrumentor"),
    ("opentelemetry.instrumentation.langchain", "LangchainInstrumentor"),
    ("opentelemetry.instrumentation.genai.langchain", "LangChainInstrumentor"),
)
#: The same of clients that LangChain's models use.
_OF_CLIENTS: Final = {
    "openai": (
        ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
        ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
        ("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
        ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    ),
    "anthropic": (
        ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
        ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
        ("opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor"),
    ),
}
#: Classes of clients, which Logfire changes themselves, or one client of them, and marks.
_CLASSES: Final = {"openai": ("OpenAI", "AsyncOpenAI"), "anthropic": ("Anthropic", "AsyncAnthropic")}
_MARK: Final = "_is_instrumented_by_logfire"
#: Where anthropic's client has its own.
_TRACES_ITSELF: Final = "anthropic._tracing"


def told_by_langchain() -> bool:
    """Tell whether another one of LangChain is active: all tell of models, tools and retrievers."""
    return any(_is_active(module, name) for module, name in _OF_LANGCHAIN)


def told_by_client(client: str | None) -> bool:
    """Tell whether a provider's own client makes spans of its calls, by an instrumentation or by itself.

    anthropic's does unless it is told not to: by the environment, as far as is known here.
    """
    if client == "anthropic" and _TRACES_ITSELF in sys.modules:
        off = os.environ.get("ANTHROPIC_OPEN_TELEMETRY", "").lower() == "false"
        if not off and is_configured(get_tracer_provider()):
            return True
    return is_instrumented(client)


def is_instrumented(client: str | None) -> bool:
    """Tell whether an instrumentation of a provider's own client is active."""
    known = client or ""
    if any(_is_active(name, kind) for name, kind in _OF_CLIENTS.get(known, ())):
        return True
    module = sys.modules.get(known)
    return any(is_marked(getattr(module, name, None)) for name in _CLASSES.get(known, ()))


def is_marked(client: Any) -> bool:
    """Tell whether Logfire tells of the calls of a client, or of all clients of a class."""
    return getattr(client, _MARK, False) is True


def is_wrapped(stream: Any) -> bool:
    """Tell whether a client's stream is one that Logfire reads, too."""
    return type(stream).__module__.partition(".")[0] == "logfire"


def _is_active(module: str, name: str) -> bool:
    kind: Any = getattr(sys.modules.get(module), name, None)
    if kind is None:
        return False
    try:
        # One object per class, which knows whether it is active.
        return bool(kind().is_instrumented_by_opentelemetry)
    except Exception:  # noqa: BLE001 - another one's code; then it is not known to be
        return False
