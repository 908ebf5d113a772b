"""An author that is a model, behind any OpenAI-compatible endpoint.

It is used when the usual variables are set: ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``, ``OPENAI_MODEL``.
The report is written in any case: where no model can be asked, the deterministic writer says why
and writes it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from .state import Audit
from .writer import SHOWN, Author, DeterministicAuthor, most_serious

DEFAULT_MODEL = "gpt-4o-mini"
#: Seconds until a model that says nothing is given up.
PATIENCE = 60.0
INSTRUCTIONS = (
    "You write the report of a code audit for the engineers who own the code. Plain text, no Markdown, "
    "at most 300 words. Start with the totals, go on with what is most serious and why, end with what to "
    "change first. Name places as file:line. Say nothing that the data does not show."
)


def author(environment: Mapping[str, str]) -> Author:
    """Return whoever can write the report here: a model if the variables say where one is."""
    key, url = environment.get("OPENAI_API_KEY", ""), environment.get("OPENAI_BASE_URL", "")
    if not key and not url:
        return DeterministicAuthor()
    if importlib.util.find_spec("openai") is None:
        return DeterministicAuthor(
            "Written by a deterministic writer: OPENAI_API_KEY or OPENAI_BASE_URL is set, but the package "
            "'openai' that asks a model is not installed (pip install 'otel-stream[openai]')."
        )
    return ModelAuthor(key, url, environment.get("OPENAI_MODEL") or DEFAULT_MODEL)


class ModelAuthor:
    """Asks ``model`` at ``url`` (empty: the client's own default) and passes its tokens on.

    ``name`` is that of the model, until somebody else had to write in its place.
    """

    def __init__(self, key: str, url: str, model: str) -> None:
        self.name = model
        self._key = key
        self._url = url

    async def write(self, audit: Audit) -> AsyncIterator[str]:
        """Yield the model's report, or the deterministic one if the model fails."""
        written = False
        try:
            async for text in self._ask(audit):
                written = True
                yield text
        except Exception as error:  # noqa: BLE001 - whatever a client raises, there has to be a report
            reason = f"{type(error).__name__}: {error}"
        else:
            reason = "" if written else "it answered nothing"
        if reason:
            preface = (
                f"Written by a deterministic writer: the model {self.name!r} could not be asked ({reason}). "
                "Check OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL."
            )
            self.name = DeterministicAuthor.name
            if written:
                yield "\n\n"
            async for text in DeterministicAuthor(preface).write(audit):
                yield text

    async def _ask(self, audit: Audit) -> AsyncIterator[str]:
        openai: Any = importlib.import_module("openai")
        # A server of one's own needs no key, but the client insists on one.
        options: dict[str, Any] = {"api_key": self._key or "none", "max_retries": 1, "timeout": PATIENCE}
        if self._url:
            options["base_url"] = self._url
        async with openai.AsyncOpenAI(**options) as client:
            chunks = await client.chat.completions.create(
                model=self.name, messages=prompt(audit), stream=True
            )
            async for chunk in chunks:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    yield text


def prompt(audit: Audit) -> list[dict[str, str]]:
    """Return what a model is told: totals, counts, the most serious findings; no source code."""
    findings = audit.get("findings", [])
    facts = {
        "root": audit["root"],
        "totals": audit.get("totals", {}),
        "findings_by_rule": dict(Counter(finding["rule"] for finding in findings).most_common()),
        "most_serious": most_serious(findings)[:SHOWN],
        "inspected": audit.get("inspected", []),
    }
    return [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": json.dumps(facts, indent=1)},
    ]
