"""What becomes of OTLP JSON on its way: a Collector's file, Loki's answers, and losses."""

import json
from collections import defaultdict


def _logs(lines):
    """Yield (resource, scope, record) of every log record."""
    for line in lines:
        for resource in json.loads(line).get("resourceLogs", ()):
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    yield resource["resource"], scope["scope"], record


def _about(record):
    def value(given):
        ((kind, content),) = given.items()
        if kind == "arrayValue":
            return [value(one) for one in content["values"]]
        return int(content) if kind == "intValue" else content

    return {one["key"]: value(one["value"]) for one in record["attributes"]}


def _line(records):
    by_source = defaultdict(list)
    for resource, scope, record in records:
        by_source[json.dumps([resource, scope])].append(record)
    return json.dumps(
        {
            "resourceLogs": [
                {"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": found}]}
                for (resource, scope), found in ((json.loads(key), found) for key, found in by_source.items())
            ]
        }
    )


def records_of(lines):
    """Return (attributes, body) of every log event, in the order in which they were exported."""
    return [
        (about, record["body"]["stringValue"])
        for _, _, record in _logs(lines)
        if "graph.log.seq" in (about := _about(record))
    ]


def numbered(lines, run):
    """Return the numbers of the log events of ``run``."""
    return {about["graph.log.seq"] for about, _ in records_of(lines) if about["graph.run.id"] == run}


def without(lines, run, numbers):
    """Lose log events of ``run``."""

    def kept(record):
        about = _about(record)
        return about["graph.run.id"] != run or about.get("graph.log.seq") not in numbers

    return [_line([found for found in _logs(lines) if kept(found[2])])]


def collected(lines, batch, chance):
    """What a Collector's file exporter may make of it: other batches, another order, some twice."""
    records = list(_logs(lines))
    records += chance.sample(records, len(records) // 10)
    chance.shuffle(records)
    return [_line(records[start : start + batch]) for start in range(0, len(records), batch)]


def in_loki(lines, *, categorised):
    """Loki's answer to a query_range, newest first: no dots in names, numbers and lists are strings."""
    streams = defaultdict(list)
    for resource, _, record in _logs(lines):
        labels = {
            one["key"].replace(".", "_"): one["value"]["stringValue"]
            for one in resource["attributes"]
            if one["key"] == "service.name"
        }
        metadata = {
            name.replace(".", "_"): json.dumps(value) if isinstance(value, list) else str(value)
            for name, value in _about(record).items()
        }
        metadata |= {
            "trace_id": record["traceId"],
            "span_id": record["spanId"],
            "severity_text": record["severityText"],
        }
        entry = [record["timeUnixNano"], record.get("body", {}).get("stringValue", "")]
        if categorised:
            streams[json.dumps(labels)].insert(0, [*entry, {"structuredMetadata": metadata, "parsed": {}}])
        else:
            streams[json.dumps({**labels, **metadata})].insert(0, entry)
    result = [{"stream": json.loads(labels), "values": values} for labels, values in streams.items()]
    return {"status": "success", "data": {"resultType": "streams", "result": result, "stats": {}}}
