"""Reading names out of PromQL, TraceQL, LogQL and LogsQL, and holding them against what is emitted."""

import re

from dashboards import collector, names

_FUNCTIONS = {"sum", "max", "min", "count", "topk", "by", "or", "and", "unless", "absent"} | {
    "rate",
    "increase",
    "avg_over_time",
    "max_over_time",
    "histogram_quantile",
    "label_join",
    "label_replace",
}
#: Labels that Prometheus gives by itself, and those that Grafana's node graph looks for.
_ALWAYS = frozenset(("le", names.label(names.SERVICE), names.label(names.ENVIRONMENT), "__name__"))
_KNOWN = _ALWAYS | {names.label(attribute) for attribute in names.REGISTRY.attributes} | collector.LABELS


def promql_selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return the names of series in a PromQL expression, each with the labels that select among them."""
    found = []
    # Aggregations' labels are no series.
    bare = re.sub(r"\bby \([^)]*\)", "by", expression)
    for name, inside in re.findall(r"([a-zA-Z_:][\w:]*)?(?:\{([^}]*)\})?", bare.replace('"', "'")):
        if not name and not inside:
            continue
        if name in _FUNCTIONS:
            continue
        labels = set(re.findall(r"(\w+) ?(?:=~|!~|!=|=)", inside))
        several = re.search(r"__name__=~'([^']*)'", inside)
        found += [(one, labels) for one in (several[1].split("|") if several else [name])]
    return [(name, labels) for name, labels in found if name != "le" or labels]


def wrong_promql(expression: str) -> list[str]:
    """Return what is wrong with the names in a PromQL expression."""
    ours = names.metrics_by_series()
    # Text in quotes outside of selectors, and ranges, name no series.
    text = re.sub(r"\[[^\]]*\]", "", re.sub(r', "[^"]*"', "", expression))
    wrong = []
    for name, labels in promql_selectors(text):
        if name in collector.SERIES:
            allowed = _ALWAYS | collector.LABELS
        elif name in ours:
            allowed = _ALWAYS | {names.label(use) for use in names.REGISTRY.metrics[ours[name]].uses}
        else:
            wrong.append(f"{name}: no such metric")
            continue
        wrong += [f"{name}: has no label {label}" for label in sorted(labels - allowed)]
    grouped = {
        label.strip() for inside in re.findall(r"\bby \(([^)]*)\)", expression) for label in inside.split(",")
    }
    return wrong + [f"{label}: no such label" for label in sorted(grouped - _KNOWN)]


def traceql_attributes(query: str) -> set[str]:
    """Return the attributes that a TraceQL query names."""
    return set(re.findall(r"\b(?:span|resource|link|event)\.([\w.]+)", query))


def logql_names(query: str) -> tuple[set[str], set[str]]:
    """Return the labels and the names of events that a LogQL query names."""
    bare = re.sub(r"`[^`]*`", "", query)
    labels = set(re.findall(r'([a-z_]+) ?(?:=~|!=|=)"?', bare))
    for inside in re.findall(r"\bby \(([^)]*)\)", bare):
        labels |= {label.strip() for label in inside.split(",")}
    labels |= set(re.findall(r"\{\{\.(\w+)\}\}", query))
    patterns = re.findall(r'event_name=~"([^"]*)"', query)
    return labels, {event.replace("\\\\", "") for pattern in patterns for event in pattern.split("|")}


def logsql_names(query: str) -> tuple[set[str], set[str]]:
    """Return the fields and the names of events that a LogsQL query names."""
    fields = set(re.findall(r'"?([a-z_.]+)"?:(?:[=~*"]|in\()', query))
    fields |= set(re.findall(r"<(\w[\w.]*)>", query))
    for inside in re.findall(r"\bby \(([^)]*)\)", query):
        fields |= {field.strip().strip('"') for field in inside.split(",")}
    events = re.findall(r'event_name:=("[^"]*")|event_name:in\(([^)]*)\)', query)
    named = {name.strip().strip('"') for pair in events for one in pair for name in one.split(",")} - {""}
    return fields - {"_time", "_msg"}, named
