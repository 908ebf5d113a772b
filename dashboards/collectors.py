"""Configurations of the Collector for each pair of stores, from the templates beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dashboards.stores import Exporter, Stores

_TEMPLATES: Final = Path(__file__).parent / "templates"
COLLECTORS: Final = ("local", "gateway")


def configuration(name: str, stores: Stores) -> str:
    """Return the text of a configuration; in a template, what depends on the stores stands between ``@``."""
    text = (_TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")
    processor = stores.processor
    values = {
        "\n@processors@": "" if processor is None else f"\n{_entry(processor)}",
        "@exporters@": f"{_entry(stores.traces)}\n{_entry(stores.logs)}",
        "@start@": stores.start,
        "@stores@": f"{', '.join(stores.titles)} and Prometheus",
        "@traces@": stores.traces.name,
        "@logs@": stores.logs.name,
        "@then@": "" if processor is None else f", {processor.name}",
    }
    for place, value in values.items():
        text = text.replace(place, value)
    return text


def _entry(component: Exporter) -> str:
    return "\n".join((f"  {component.name}:", *(f"    {line}" for line in component.settings)))
