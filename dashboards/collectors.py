"""Configurations of the Collector for each pair of stores, from the templates beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dashboards.stores import Stores
from dashboards.stores.collector import Component

_TEMPLATES: Final = Path(__file__).parent / "templates"
COLLECTORS: Final = ("local", "gateway")


def configuration(name: str, stores: Stores) -> str:
    """Return the text of a configuration; in a template, what depends on the stores stands between ``@``."""
    text = (_TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")
    way = stores.way
    values = {
        "@processors@": _entry(way.processor),
        "@exporters@": f"{_entry(way.traces)}\n{_entry(way.logs)}",
        "@start@": stores.start,
        "@stores@": f"{', '.join(stores.titles)} and Prometheus",
        "@traces@": way.traces.name,
        "@logs@": way.logs.name,
        "@processor@": way.processor.name,
    }
    for place, value in values.items():
        text = text.replace(place, value)
    return text


def _entry(component: Component) -> str:
    return "\n".join((f"  {component.name}:", *(f"    {line}" for line in component.settings)))
