"""Ask live backends what a dashboard would: each query of each panel, with its variables filled in."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dashboards.plugins import JAEGER, VICTORIALOGS


class Asked(NamedTuple):
    """One query of one panel, as it stands in the JSON."""

    dashboard: str
    panel: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Which backend is asked: Grafana's type of data source."""
        return str(self.target["datasource"]["type"])

    @property
    def text(self) -> str:
        """The query itself; of a search in Jaeger, its fields."""
        if self.target.get("queryType") == "search":
            return " ".join(str(self.target.get(field, "")) for field in ("service", "tags", "minDuration"))
        return str(self.target["query" if self.kind in {"tempo", JAEGER} else "expr"])

    def __str__(self) -> str:
        """Name the place, as a test or a person would look for it."""
        return f"{self.dashboard}: {self.panel['title']} ({self.target['refId']}): {self.text}"


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the panels of a dashboard, those inside rows included, rows themselves not."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def asked(file: Path) -> list[Asked]:
    """Return all queries of a dashboard's file."""
    dashboard = json.loads(file.read_text(encoding="utf-8"))
    found = panels(dashboard)
    return [Asked(file.stem, panel, target) for panel in found for target in panel.get("targets", ())]


def defaults(file: Path) -> dict[str, str]:
    """Return what the variables of a dashboard's file stand for if nobody chooses anything."""
    variables = json.loads(file.read_text(encoding="utf-8"))["templating"]["list"]
    return {
        variable["name"]: variable.get("allValue") or str(variable.get("query", ""))
        for variable in variables
        if variable["type"] != "datasource"
    }


def filled(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of variables; a variable without a value is a KeyError."""
    return re.sub(r"\$(?:(\w+)|\{(\w+)(?::regex)?\})", lambda found: values[found[1] or found[2]], text)


class Backends:
    """Base URLs by name, such as prometheus or tempo, and the time range that they are asked about."""

    def __init__(self, urls: Mapping[str, str], *, seconds: float = 300, step: int = 5) -> None:
        self._urls = urls
        self._seconds = seconds
        self._step = step

    def rows(self, query: Asked, values: Mapping[str, str]) -> list[Any]:
        """Return what there is: series with numbers, spans of traces, log events.

        Raises:
            ValueError: the backend refused the query; says why.
        """
        known = {**values, "__rate_interval": "1m", "__interval": "30s"}
        text = filled(query.text, known)
        if query.kind == "prometheus":
            return self.prometheus(text, instant=bool(query.target.get("instant")))
        if query.kind == VICTORIALOGS:
            return self.victorialogs(text, counted=query.target["queryType"] == "statsRange")
        if query.kind == JAEGER and query.target.get("queryType") == "search":
            fields = ("service", "tags", "minDuration")
            return self.jaeger_search(*(filled(query.target.get(field, ""), known) for field in fields))
        if query.kind == JAEGER:
            return [row for row in self.jaeger(text) if _is_shown(row, query.panel)]
        return self.loki(text) if query.kind == "loki" else self.tempo(text)

    def prometheus(self, text: str, *, instant: bool = False, at: float | None = None) -> list[Any]:
        """Return series with a number in them; if ``instant``, those of now, or of another time."""
        path = "/api/v1/query" if instant else "/api/v1/query_range"
        when = {"time": at or time.time()} if instant else self._range()
        result = self._get("prometheus", path, query=text, **when)["data"]["result"]
        return [row for row in result if any(n != "NaN" for _, n in row.get("values") or [row["value"]])]

    def rules(self) -> list[Any]:
        """Return Prometheus' groups of rules, and how it fares with them."""
        return list(self._get("prometheus", "/api/v1/rules")["data"]["groups"])

    def loki(self, text: str) -> list[Any]:
        """Return log events, or series that LogQL counted."""
        answer = self._get("loki", "/loki/api/v1/query_range", query=text, limit=1000, **self._range())
        # A log event may be alone in its stream, and streams come in any order.
        return sorted(answer["data"]["result"], key=lambda row: str(row["values"][0][0]))

    def victorialogs(self, text: str, *, counted: bool = False) -> list[Any]:
        """Return log events, or series that a ``stats`` pipe counted."""
        if counted:
            path = "/select/logsql/stats_query_range"
            return list(self._get("victorialogs", path, query=text, **self._range())["data"]["result"])
        when = self._range(stepped=False)
        return self._lines("victorialogs", "/select/logsql/query", query=text, limit=1000, **when)

    def jaeger(self, trace_id: str) -> list[Any]:
        """Return the spans of one trace."""
        return [
            span
            for trace in self._get("jaeger", f"/api/traces/{trace_id}")["data"]
            for span in trace["spans"]
        ]

    def jaeger_search(self, service: str, tags: str, shortest: str = "") -> list[Any]:
        """Return traces of a service; ``tags`` are words such as ``error=true`` that one span must bear."""
        when = {name: time * 1_000_000 for name, time in self._range(stepped=False).items()}
        least = {"minDuration": shortest} if shortest else {}
        wanted = json.dumps(dict(word.split("=", 1) for word in tags.split()))
        answer = self._get("jaeger", "/api/traces", service=service, tags=wanted, limit=50, **least, **when)
        return list(answer["data"])

    def tempo(self, text: str) -> list[Any]:
        """Return spans that TraceQL finds, series that it measures, or the spans of one trace."""
        if re.fullmatch(r"[0-9a-f]+", text):
            answer = self._get("tempo", f"/api/v2/traces/{text}")
            return [s for r in answer["trace"]["resourceSpans"] for g in r["scopeSpans"] for s in g["spans"]]
        if re.search(r"\| *(rate|count_over_time|quantile_over_time|histogram_over_time)\(", text):
            series = self._get("tempo", "/api/metrics/query_range", q=text, **self._range())["series"]
            return [row for row in series if any(sample.get("value") for sample in row["samples"])]
        traces = self._get("tempo", "/api/search", q=text, limit=50, spss=20, **self._range(stepped=False))
        return [
            span | {"traceID": trace["traceID"]}
            for trace in traces.get("traces") or ()
            for span in _spans(trace)
        ]

    def _range(self, *, stepped: bool = True) -> dict[str, Any]:
        now = int(time.time())
        step = {"step": f"{self._step}s"} if stepped else {}
        return {"start": now - int(self._seconds), "end": now + 1, **step}

    def _lines(self, name: str, path: str, **query: Any) -> list[Any]:
        return [json.loads(line) for line in self._read(name, path, query).splitlines()]

    def _get(self, name: str, path: str, **query: Any) -> Any:
        return json.loads(self._read(name, path, query))

    def _read(self, name: str, path: str, query: Mapping[str, Any]) -> bytes:
        where = f"{self._urls[name]}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(where, headers={"Accept": "application/json"})  # noqa: S310 - a backend
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise ValueError(f"{name} answers {error.code}: {error.read().decode()[:500]}") from None


def _spans(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    sets = trace.get("spanSets") or [trace.get("spanSet", {})]
    return [span for spans in sets for span in spans.get("spans", ())]


def _is_shown(row: Mapping[str, Any], panel: Mapping[str, Any]) -> bool:
    """Tell whether a row passes the filters that Grafana puts between an answer and its table."""
    transformations = panel.get("transformations", ())
    filters = [one["options"]["filters"] for one in transformations if one["id"] == "filterByValue"]
    return all(
        re.search(one["config"]["options"]["value"], str(row[one["fieldName"]]))
        for some in filters
        for one in some
    )
