"""Asking Tempo, Jaeger, Loki and Prometheus for what they have."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_stream.cli.backends.native import Native
from otel_stream.cli.backends.ports import Ports
from otel_stream.cli.backends.programs import url
from tests.backends import spans
from tests.backends.spans import Seen


class Logged(NamedTuple):
    """A log event, as it was sent and as Loki has it."""

    time: int
    event: str
    span_id: str
    body: str


class Stack:
    """The backends that run, by their ports."""

    def __init__(self, ports: Ports, native: Native) -> None:
        self.ports = ports
        self.native = native
        self.endpoint = url(ports["http"])

    def tempo(self, trace_id: str) -> list[Seen]:
        answer = self._get("tempo", f"/api/traces/{trace_id}", accept="application/protobuf")
        return spans.of_protobuf(ExportTraceServiceRequest.FromString(answer or b""))

    def jaeger(self, trace_id: str) -> list[Seen]:
        answer = self._get("jaeger", f"/api/v3/traces/{trace_id}")
        return [] if answer is None else spans.of_json(json.loads(answer)["result"])

    def loki(self, trace_id: str) -> list[Logged]:
        return sorted(
            Logged(int(at), stream["stream"]["event_name"], stream["stream"]["span_id"], line)
            for stream in self._streams(f'{{service_name=~".+"}} | trace_id="{trace_id}"')
            for at, line in stream["values"]
        )

    def loki_traces(self, service: str) -> list[str]:
        """Return the trace id of every log event of a service, sorted."""
        return sorted(
            stream["stream"]["trace_id"]
            for stream in self._streams(f'{{service_name="{service}"}}')
            for _ in stream["values"]
        )

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
        where = f"{url(self.ports[name])}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(where, headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            # A backend that has just started, on a busy machine, may be ready before all its parts are.
            if error.code in {404, 500, 502, 503, 504}:
                return None
            raise
