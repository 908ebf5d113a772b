"""What backends make of our names: the one place where they are translated.

Prometheus turns ``graph.node.duration``, a histogram in ``s``, into ``graph_node_duration_seconds_bucket``
and its neighbours; it and Loki turn the attribute ``graph.name`` into the label ``graph_name``. Tempo keeps
names as they are. The instrument, which decides about suffixes, is in ``semconv/registry``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from otel_stream import semconv
from otel_stream.events import End
from otel_stream.semconv import Metric
from semconv.resolve import Registry

REGISTRY: Final = Registry()

#: Units of OpenTelemetry (UCUM) as Prometheus spells them; what stands in braces is a remark, no unit.
_UNITS: Final = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "1": "ratio"}

#: Attributes of the resource that ``collector-config/backends/prometheus.yaml`` promotes to labels.
SERVICE: Final = "service.name"
ENVIRONMENT: Final = "deployment.environment.name"


def label(attribute: str) -> str:
    """Return the label that Prometheus and Loki make of an attribute's name."""
    return re.sub(r"[^a-zA-Z0-9]+", "_", attribute)


def is_list(attribute: str) -> bool:
    """Tell whether an attribute holds several texts, which stores of log events keep as JSON."""
    known = REGISTRY.attributes.get(attribute)
    return known is not None and known.type_name == "string[]"


def prometheus(name: str, unit: str, instrument: str) -> str:
    """Return what Prometheus' OTLP endpoint calls a metric (``UnderscoreEscapingWithSuffixes``).

    ``instrument`` is counter, updowncounter, histogram or gauge; a histogram's series have ``_bucket``,
    ``_count`` and ``_sum`` behind that.
    """
    words = [word for word in re.split(r"[^a-zA-Z0-9]+", name) if word]
    spelt = _UNITS.get(unit, "")
    if spelt and spelt not in words and not (unit == "1" and instrument != "gauge"):
        words.append(spelt)
    if instrument == "counter":
        words = [word for word in words if word != "total"] + ["total"]
    return "_".join(words)


def series(metric: Metric) -> str:
    """Return what Prometheus calls a metric of ours."""
    return prometheus(metric.name, metric.unit, REGISTRY.metrics[metric.name].group.instrument)


#: Both vocabularies of the GenAI conventions; a program speaks one of them (``docs/reference/telemetry.md``).
GENAI_NAMES: Final = tuple(semconv.genai_names(word) for word in ("", "gen_ai_latest_experimental"))
#: The duration of a run has one of two names, never both.
RUN_DURATIONS: Final[tuple[Metric, ...]] = tuple(names.run_duration for names in GENAI_NAMES)
#: And so has the attribute of spans that holds the graph's name.
GRAPH_ATTRIBUTES: Final[tuple[str, ...]] = tuple(names.graph_attribute for names in GENAI_NAMES)

#: Ends of runs that count as failures, as a regular expression.
FAILED: Final = "|".join(end.value for end in End if end.failed)


def metrics_by_series() -> Mapping[str, str]:
    """Return our metrics' names by what Prometheus calls their series."""
    found: dict[str, str] = {}
    for name, signal in REGISTRY.metrics.items():
        base = prometheus(name, signal.group.unit, signal.group.instrument)
        suffixes = ("_bucket", "_count", "_sum") if signal.group.instrument == "histogram" else ("",)
        found |= {base + suffix: name for suffix in suffixes}
    return found
