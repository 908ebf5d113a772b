"""Draw a dashboard as SVG from what live backends answer, where there is no Grafana to take a picture of.

Same queries, same layout, plain shapes: it shows what there is to see, not how Grafana paints it.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

from dashboards import ask
from dashboards.plugins import VICTORIALOGS

#: Pixels of a grid unit.
WIDE, HIGH = 50, 30
_COLOURS: Final = ("#3274d9", "#e0752d", "#56a64b", "#a352cc", "#e02f44", "#0f9bb0", "#c4a000", "#8f3bb8")
_FACTORS: Final = {"percentunit": (100.0, " %"), "s": (1.0, " s"), "bytes": (1.0, " B"), "Bps": (1.0, " B/s")}


class Shown(NamedTuple):
    """A panel, where it is in the picture, and what its queries returned."""

    panel: Mapping[str, Any]
    x: float
    y: float
    width: float
    height: float
    answers: Sequence[tuple[ask.Asked, Sequence[Any]]]

    def rows(self) -> Iterator[tuple[ask.Asked, Any]]:
        """Yield all rows with the query that returned them."""
        return ((query, row) for query, rows in self.answers for row in rows)

    def number(self, value: float) -> str:
        """Write a number in the panel's unit."""
        factor, unit = _FACTORS.get(self.panel["fieldConfig"]["defaults"]["unit"], (1.0, ""))
        return f"{value * factor:,.3g}{unit}"


def draw(file: Path, backends: ask.Backends, values: Mapping[str, str]) -> str:
    """Return a picture of the dashboard in ``file``; ``values`` are those of its variables."""
    dashboard = json.loads(file.read_text(encoding="utf-8"))
    chosen = {**ask.defaults(file), **values}
    answers: dict[int, list[tuple[ask.Asked, Sequence[Any]]]] = {}
    for query in ask.asked(file):
        rows = [_alike(row) for row in backends.rows(query, chosen)]
        answers.setdefault(query.panel["id"], []).append((query, rows))
    shapes: list[str] = []
    bottom = 0
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        bottom = max(bottom, at["y"] + at["h"])
        place = (at["x"] * WIDE, at["y"] * HIGH, at["w"] * WIDE, at["h"] * HIGH)
        shapes += _panel(Shown(panel, *place, answers.get(panel["id"], [])))
    width, height = 24 * WIDE, bottom * HIGH
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    return "\n".join((head, _box(0, 0, width, height, "#f4f5f5"), *shapes, "</svg>")) + "\n"


def _alike(row: Any) -> Any:
    """Return what Jaeger answers as Tempo would: a span as OTLP, and a trace as its first span."""
    if "spans" in row:
        row = min(row["spans"], key=lambda span: int(span["startTime"]))
    if "operationName" not in row:
        return row
    parents = [one["spanID"] for one in row["references"] if one["refType"] == "CHILD_OF"]
    tags = {tag["key"]: tag["value"] for tag in row["tags"]}
    start, duration = int(row["startTime"]) * 1000, int(row["duration"]) * 1000
    return {
        "traceID": row["traceID"],
        "spanId": row["spanID"],
        "parentSpanId": parents[0] if parents else "",
        "name": row["operationName"],
        "startTimeUnixNano": start,
        "endTimeUnixNano": start + duration,
        "durationNanos": duration,
        "status": {"code": "STATUS_CODE_ERROR" if tags.get("error") else ""},
        "attributes": [
            {"key": key, "value": {"stringValue": value}}
            for key, value in tags.items()
            if key.startswith(("graph.", "gen_ai.node", "error."))
        ],
    }


def _panel(shown: Shown) -> list[str]:
    panel, x, y, width, height, _ = shown
    title = _text(x + 8, y + 20, panel["title"], 13)
    if panel["type"] == "row":
        return [title]
    if panel["type"] == "text":
        shown = shown._replace(x=x + 12, y=y + 40, width=width - 24)
        return [_box(x + 3, y + 3, width - 6, height - 6, "#fff"), title, *_words(shown)]
    inner = shown._replace(x=x + 12, y=y + 28, width=width - 24, height=height - 40)
    kind = _KINDS.get(panel["type"], _listed)
    drawn = kind(inner) or [_text(inner.x, inner.y + 20, "no data", 12, "#999")]
    return [_box(x + 3, y + 3, width - 6, height - 6, "#fff"), title, *drawn]


def _text(x: float, y: float, text: str, size: float, colour: str = "#24292e") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def _pairs(attributes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return OTLP's attributes as a mapping."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in attributes}


def _name(query: ask.Asked, row: Mapping[str, Any]) -> str:
    """Fill in the legend, as Grafana would."""
    labels = row.get("metric") or _pairs(row.get("labels", ()))
    legend = query.target.get("legendFormat", "__auto")
    if legend == "__auto":
        return " ".join(str(value) for value in labels.values())
    return re.sub(r"\{\{([\w.]+)\}\}", lambda found: str(labels.get(found[1], "")), legend)


def _points(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    if "samples" in row:
        return [(float(one["timestampMs"]) / 1000, float(one.get("value", 0))) for one in row["samples"]]
    return [(float(time), float(value)) for time, value in row["values"] if value != "NaN"]


def _lines(shown: Shown) -> list[str]:
    courses = [(_name(query, row), _points(row)) for query, row in shown.rows()]
    # Those that reach highest, as many as there are colours.
    courses = sorted(courses, key=lambda course: -max(value for _, value in course[1]))[: len(_COLOURS)]
    if not courses:
        return []
    times = [time for _, points in courses for time, _ in points]
    top = max(value for _, points in courses for _, value in points) or 1.0
    first, span = min(times), max(times) - min(times) or 1.0
    x, y, width = shown.x, shown.y, shown.width
    plot = shown.height - 14 * ((len(courses) + 1) // 2)
    shapes = [_text(x, y + 8, shown.number(top), 9, "#777")]
    for place, (name, points) in enumerate(courses):
        pixels = ((x + (t - first) / span * width, y + plot - v / top * (plot - 12)) for t, v in points)
        path = " ".join(f"{left:.0f},{up:.0f}" for left, up in pixels)
        shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[place]}" stroke-width="1.5"/>'
        )
        line, column = divmod(place, 2)
        at = (x + column * width / 2, y + plot + 14 * (line + 1))
        shapes.append(_text(*at, name[: int(width / 12)], 9, _COLOURS[place]))
    return shapes


def _number(shown: Shown) -> list[str]:
    return [
        _text(shown.x, shown.y + shown.height / 2 + 14, shown.number(_points(row)[-1][1]), 30, _COLOURS[2])
        for _, row in shown.rows()
    ]


def _heat(shown: Shown) -> list[str]:
    rows = sorted((row for _, row in shown.rows()), key=lambda row: float(row["metric"]["le"]))
    below: dict[float, float] = {}
    cells: list[tuple[float, int, float]] = []
    for place, row in enumerate(rows):
        for time, value in _points(row):
            cells.append((time, place, value - below.get(time, 0.0)))
            below[time] = value
    if not cells:
        return []
    columns = {time: place for place, time in enumerate(sorted(below))}
    most = max(count for _, _, count in cells) or 1.0
    left, floor = shown.x + 40, shown.y + shown.height
    wide, high = (shown.width - 40) / len(columns), shown.height / len(rows)
    return [
        _box(left + columns[time] * wide, floor - (place + 1) * high, wide, high, _shade(count / most))
        for time, place, count in cells
        if count > 0
    ] + [
        _text(shown.x, floor - place * high - 2, row["metric"]["le"], 8)
        for place, row in enumerate(rows)
        if place % 2 == 0
    ]


def _shade(share: float) -> str:
    """Return a blue, the darker the larger the share."""
    light = [round(255 - (255 - full) * max(0.08, share)) for full in (50, 116, 217)]
    return "#" + "".join(f"{one:02x}" for one in light)


def _listed(shown: Shown) -> list[str]:
    if shown.answers and shown.answers[0][0].kind == "prometheus":
        lines = _table(shown)
    else:
        lines = [_line(query, row) for query, row in shown.rows()]
    return [
        _text(shown.x, shown.y + 10 + 13 * place, line[: int(shown.width / 5.8)], 9.5)
        for place, line in enumerate(lines[: int(shown.height / 13)])
    ]


def _line(query: ask.Asked, row: Any) -> str:
    if query.kind == "loki":
        return str(row["values"][0][1])
    if query.kind == VICTORIALOGS:
        return str(row["_msg"])
    said = _pairs(row.get("attributes", ())).items()
    about = "  ".join(f"{key.rpartition('.')[2]}={value}" for key, value in said if key != "status")
    return f"{row['traceID'][:12]}  {int(row['durationNanos']) / 1e6:.1f} ms  {about}"


def _words(shown: Shown) -> list[str]:
    lines = textwrap.wrap(shown.panel["options"]["content"], int(shown.width / 6))
    return [_text(shown.x, shown.y + 16 * place, line, 11) for place, line in enumerate(lines)]


def _table(shown: Shown) -> list[str]:
    """Put the values of several queries behind the labels that they share."""
    heads = shown.panel["transformations"][-1]["options"]["renameByName"]
    merged: dict[str, list[str]] = {}
    for query, row in shown.rows():
        head = heads[f"Value #{query.target['refId']}"]
        said = merged.setdefault("  ".join(row["metric"].values()), [])
        said.append(f"{head} {float(row['value'][1]):.3g}")
    return [f"{labels}:  {',  '.join(values)}" for labels, values in merged.items()]


def _graph(shown: Shown) -> list[str]:
    nodes: dict[str, str] = {}
    parents: dict[str, str] = {}
    for query, row in shown.rows():
        if query.kind != "prometheus":
            nodes[row["spanId"]] = row["name"]
            parents[row["spanId"]] = row.get("parentSpanId", "")
        elif "source" in row["metric"]:
            parents[row["metric"]["target"]] = row["metric"]["source"]
        else:
            nodes[row["metric"]["id"]] = f"{row['metric']['title']} {float(row['value'][1]):.3g}/s"
    columns: dict[int, list[str]] = {}
    for node in sorted(nodes, key=lambda node: (parents.get(node, ""), nodes[node])):
        columns.setdefault(_depth(node, parents, nodes), []).append(node)
    places = {
        node: (
            shown.x + 20 + column * shown.width / len(columns),
            shown.y + (n + 0.5) * shown.height / len(here),
        )
        for column, here in columns.items()
        for n, node in enumerate(here)
    }
    drawn = []
    for node, (left, top) in places.items():
        if (above := places.get(parents.get(node, ""))) is not None:
            ends = f'x1="{above[0]:.0f}" y1="{above[1]:.0f}" x2="{left:.0f}" y2="{top:.0f}"'
            drawn.append(f'<line {ends} stroke="#bbb"/>')
    for node, (left, top) in places.items():
        drawn.append(f'<circle cx="{left:.0f}" cy="{top:.0f}" r="7" fill="{_COLOURS[2]}"/>')
        drawn.append(_text(left - 12, top + 19, nodes[node], 10))
    return drawn


def _depth(node: str, parents: Mapping[str, str], nodes: Mapping[str, str]) -> int:
    before: list[str] = []  # a node may go on with itself, or come round
    while node not in before and (parent := parents.get(node, "")) in nodes:
        before.append(node)
        node = parent
    return len(before)


def _waterfall(shown: Shown) -> list[str]:
    spans = [(int(row["startTimeUnixNano"]), -int(row["endTimeUnixNano"]), row) for _, row in shown.rows()]
    spans.sort(key=lambda span: span[:2])
    if not spans:
        return []
    first, last = spans[0][0], max(-end for _, end, _ in spans)
    scale, high = (shown.width - 200) / (last - first), min(18.0, shown.height / len(spans))
    shapes = []
    for place, (start, end, span) in enumerate(spans):
        top = shown.y + place * high
        failed = "ERROR" in str(span.get("status", {}).get("code", ""))
        colour = _COLOURS[4] if failed else _COLOURS[0]
        left, wide = shown.x + 200 + (start - first) * scale, max(1.0, (-end - start) * scale)
        shapes.append(_text(shown.x, top + high - 4, span["name"][:32], min(10, high - 2)))
        shapes.append(_box(left, top, wide, high - 2, colour))
    return shapes


_KINDS: Final[Mapping[str, Callable[[Shown], list[str]]]] = {
    "timeseries": _lines,
    "stat": _number,
    "heatmap": _heat,
    "traces": _waterfall,
    "nodeGraph": _graph,
}
