"""What the GenAI conventions call who provides a model, and where a client finds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

#: By the name that LangChain gives it, where that is another one.
_NAMES: Final = {
    "amazon_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "azure": "azure.ai.openai",  # what AzureChatOpenAI says; Azure's own inference says azure_ai
    "azure_openai": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "vertexai": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai",
    "google_genai": "gcp.gen_ai",
    "google_generativeai": "gcp.gemini",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
    "ibm": "ibm.watsonx.ai",
    "watsonx": "ibm.watsonx.ai",
}
#: Where LangChain's models keep the address of their service.
_ADDRESSES: Final = (
    "base_url",
    "openai_api_base",
    "anthropic_api_url",
    "azure_endpoint",
    "endpoint_url",
    "endpoint",
)
_PORTS: Final = {"https": 443, "http": 80}


def provider_name(name: Any) -> str | None:
    """Return the convention's name for a provider; its own if the convention has none."""
    return _NAMES.get(name.lower(), name) if isinstance(name, str) and name else None


def server_of(url: Any) -> tuple[str | None, int | None]:
    """Return the host and the port of an address, None for what it does not say."""
    text = str(url) if url is not None else ""
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None


def server_in(settings: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Return the same of the address that the settings of one of LangChain's models name."""
    found = next((settings[name] for name in _ADDRESSES if settings.get(name)), None)
    return (None, None) if not isinstance(found, str) else server_of(found)
