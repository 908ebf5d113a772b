"""Asking the stores of traces, log events and metrics for what they have."""

import calendar
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backends.ports import Ports
from backends.programs import url
from tests.backends import spans
from tests.backends.spans import Seen


class Logged(NamedTuple):
    """A log event, as it was sent and as a store has it."""

    time: int
    event: str
    span_id: str
    body: str


class Stack:
    """Stores that run, by their URLs, and a gateway in front of them, by its ports.

    ``name`` is that of the stores' configurations; ``variables`` are those by which a Collector reaches them.
    """

    def __init__(
        self, name: str, ports: Ports, urls: Mapping[str, str], variables: Mapping[str, str]
    ) -> None:
        self.name = name
        self.ports = ports
        self.endpoint = url(ports["http"])
        self.urls = urls
        self.variables = dict(variables)
        self.traces_in, self.logs_in = name.split("-")

    def traces(self, trace_id: str) -> list[Seen]:
        """Return the spans of a trace, sorted; none if the store does not know it yet."""
        if self.traces_in == "tempo":
            answer = self._get("tempo", f"/api/traces/{trace_id}", accept="application/protobuf")
            return spans.of_protobuf(ExportTraceServiceRequest.FromString(answer or b""))
        answer = self._get("jaeger", f"/api/v3/traces/{trace_id}")
        return [] if answer is None else spans.of_json(json.loads(answer)["result"])

    def logs(self, trace_id: str) -> list[Logged]:
        """Return the log events of a trace, sorted."""
        if self.logs_in == "victorialogs":
            return sorted(
                Logged(_nanoseconds(row["_time"]), row["event_name"], row["span_id"], row["_msg"])
                for row in self._rows(f'trace_id:="{trace_id}"')
            )
        return sorted(
            Logged(int(at), stream["stream"]["event_name"], stream["stream"]["span_id"], line)
            for stream in self._streams(f'{{service_name=~".+"}} | trace_id="{trace_id}"')
            for at, line in stream["values"]
        )

    def log_traces(self, service: str) -> list[str]:
        """Return the trace id of every log event of a service, sorted."""
        if self.logs_in == "victorialogs":
            return sorted(row["trace_id"] for row in self._rows(f'{{"service.name"="{service}"}}'))
        return sorted(
            stream["stream"]["trace_id"]
            for stream in self._streams(f'{{service_name="{service}"}}')
            for _ in stream["values"]
        )

    def _rows(self, query: str) -> list[Any]:
        answer = self._get("victorialogs", "/select/logsql/query", query=f"_time:1h {query}", limit=5000)
        return [json.loads(line) for line in (answer or b"").splitlines()]

    def _streams(self, query: str) -> list[Any]:
        path = "/loki/api/v1/query_range"
        answer = self._get("loki", path, query=query, limit=5000, since="1h", direction="forward")
        return list(json.loads(answer or b"{}").get("data", {}).get("result", []))

    def prometheus(self, query: str) -> float:
        """Return the value of a query with one result; -1 if there is none yet."""
        answer = self._get("prometheus", "/api/v1/query", query=query)
        result = json.loads(answer or b"{}").get("data", {}).get("result", [])
        return float(result[0]["value"][1]) if result else -1.0

    def exemplars(self, query: str) -> set[tuple[str, str]]:
        """Return trace and span ids of a metric's exemplars."""
        now = time.time()
        answer = self._get(
            "prometheus", "/api/v1/query_exemplars", query=query, start=now - 3600, end=now + 60
        )
        return {
            (exemplar["labels"]["trace_id"], exemplar["labels"]["span_id"])
            for series in json.loads(answer or b"{}").get("data", [])
            for exemplar in series["exemplars"]
        }

    def _get(self, name: str, path: str, *, accept: str = "application/json", **query: Any) -> bytes | None:
        """Return what a backend answers; None if it does not know, or not yet: the caller asks again."""
        where = f"{self.urls[name]}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(where, headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            # A backend that has just started, on a busy machine, may be ready before all its parts are.
            if error.code in {404, 500, 502, 503, 504}:
                return None
            raise


def _nanoseconds(text: str) -> int:
    """Read RFC 3339, with as many digits of a second as there are, in UTC."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
