"""A checker that holds what was emitted against the GenAI conventions, by the levels of their attributes.

It is told what is known of each call: what was asked for and answered, by whoever asked and answered it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

#: What ours say besides: whose a span is, of every one, and which graph an agent is; and names of our own.
_OURS: Final = frozenset({"gen_ai.conversation.id", "gen_ai.agent.name", "gen_ai.workflow.name"})
_TYPES: Final = {"string": str, "int": int, "double": float, "boolean": bool, "string[]": tuple, "any": str}


class _Some:
    """A value that is known to be there, and not what it is: a time that has passed."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float) and 0 <= other < 600

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "some time"


SOME: Final = _Some()
#: Since 0.1.0 some attributes have another name, and some are only in one of both.
_RENAMED: Final = {"gen_ai.usage.cache_creation.input_tokens": "gen_ai.usage.cache_write.input_tokens"}


class Vocabulary:
    """One version of the conventions. Each method gives the deviations it finds, in a sentence each."""

    def __init__(self, *, latest: bool) -> None:
        told = yaml.safe_load((Path(__file__).parent / "vocabulary.yaml").read_text())
        self._side = "since" if latest else "before"
        self._spans: Mapping[str, Any] = told["spans"]
        self._metrics: Mapping[str, Any] = told["metrics"][self._side]

    def known(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known, told in the names of v1.41.0, in the names of this version."""
        if self._side == "before":
            return dict(said)
        return {_RENAMED.get(name, name): value for name, value in said.items()}

    def _levels(self, operation: str) -> dict[str, tuple[str, str]]:
        found = {}
        for name, told in self._spans[operation]["attributes"].items():
            about = told.get(self._side) if isinstance(told, Mapping) else told
            if about is not None:
                kind, level = about.split()
                found[name] = (kind, level)
        return found

    def span(self, span: Any, known: Mapping[str, Any]) -> Iterator[str]:
        """Check a span against what is known of its call."""
        operation = span.attributes["gen_ai.operation.name"]
        about, levels = self._spans[operation], self._levels(operation)
        key = about["name"].get(self._side) if isinstance(about["name"], Mapping) else about["name"]
        name = f"{operation} {known[key]}" if key in known else operation
        if span.name != name:
            yield f"span {span.name!r} is not called {name!r}"
        if span.kind.name.lower() != about["kind"][self._side]:
            yield f"span {span.name!r} is of kind {span.kind.name}"
        if (span.status.status_code.name == "ERROR") != ("error.type" in known):
            yield f"span {span.name!r} has the status {span.status.status_code.name}"
        for one, (kind, level) in levels.items():
            yield from self._attribute(span, known, one, kind, level)
        for one in span.attributes:
            if one not in levels and one not in _OURS and not one.startswith("graph."):
                yield f"{span.name}: {one} is none of its attributes"

    def _attribute(
        self, span: Any, known: Mapping[str, Any], name: str, kind: str, level: str
    ) -> Iterator[str]:
        if name not in span.attributes:
            if name in known or level == "required":
                yield f"{span.name} lacks {name}, which is {level}"
            return
        value = span.attributes[name]
        if type(value) is not _TYPES[kind]:
            yield f"{span.name}: {name}={value!r} is not of type {kind}"
        if name not in known:
            yield f"{span.name}: {name}={value!r}, which is {level}, and nobody has told it"
        elif (json.loads(value) if kind == "any" else value) != known[name]:
            yield f"{span.name}: {name}={value!r} and not {known[name]!r}"

    def metrics(self, points: Any, calls: list[dict[str, Any]]) -> Iterator[str]:
        """Check all metrics of calls; ``points`` returns those of a metric, each with its unit."""
        for name, metric in self._metrics.items():
            wanted = Counter[tuple[Any, ...]]()
            times = Counter[tuple[Any, ...]]()
            for call in calls:
                for about, count in self._measured(metric, call):
                    wanted[about] += count
                    times[about] += 1
            found, found_times = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
            for unit, point in points(name):
                if unit != metric["unit"]:
                    yield f"{name} is in {unit}"
                about = _sorted(
                    {key: value for key, value in point.attributes.items() if key != "graph.name"}
                )
                found[about] += getattr(point, "sum", getattr(point, "value", 0))
                found_times[about] += getattr(point, "count", 1)
            if "counts" in metric and +found != +wanted:
                yield f"{name} is {dict(found)} and not {dict(wanted)}"
            if set(found) != set(times) or ("usage" not in name.split(".")[3:4] and found_times != times):
                yield f"{name} was recorded {dict(found_times)} and not {dict(times)}"

    def _measured(self, metric: Mapping[str, Any], call: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
        operation = call["gen_ai.operation.name"]
        kinds = {operation, "streamed" if "gen_ai.response.time_to_first_chunk" in call else operation}
        if kinds.isdisjoint(metric["of"]):
            return
        about = {name: call[name] for name in metric["attributes"] if name in call}
        about["gen_ai.node.name"] = call["node"]
        if "counts" not in metric:
            yield _sorted(about), 1
            return
        for kind, field in metric["counts"].items():
            count = call.get(field, metric.get("failed") if "error.type" in call else None)
            if count is not None:
                name = "gen_ai.token.modality" if self._side == "since" else "gen_ai.token.type"
                yield _sorted({**about, **({name: kind} if kind else {})}), count


def _sorted(about: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(about.items()))
