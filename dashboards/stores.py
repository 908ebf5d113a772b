"""The two pairs of stores that everything here is generated for: where traces and log events go.

Metrics go to Prometheus in either case.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Exporter(NamedTuple):
    """How the Collector reaches a store: the exporter's name in its configuration, and its settings."""

    name: str
    settings: tuple[str, ...]


class Stores(NamedTuple):
    """A pair of stores. ``name`` is that of the folders with what is generated for it."""

    name: str
    #: What people call the store of traces, and that of log events.
    titles: tuple[str, str]
    #: What starts them with the Collector before them.
    start: str
    traces: Exporter
    logs: Exporter
    #: What log events must go through on their way: a processor's name, and its settings.
    processor: Exporter | None = None


#: Loki keeps a log event's attributes, but not the field that holds its name.
_EVENT_NAME: Final = Exporter(
    "transform/event_name",
    (
        "error_mode: propagate",
        "log_statements:",
        "  # Loki keeps a log event's attributes, but not the field that holds its name.",
        '  - set(log.attributes["event.name"], log.event_name) where log.event_name != ""',
    ),
)

TEMPO_LOKI: Final = Stores(
    "tempo-loki",
    ("Tempo", "Loki"),
    "otel-stream backends up",
    Exporter(
        "otlp_grpc/tempo",
        (
            "endpoint: ${env:OTEL_STREAM_TEMPO:-127.0.0.1:14317}",
            "tls: {insecure: true}",
            "sending_queue: *batches",
        ),
    ),
    Exporter(
        "otlp_http/loki",
        ("endpoint: ${env:OTEL_STREAM_LOKI:-http://127.0.0.1:3100}/otlp", "sending_queue: *batches"),
    ),
    _EVENT_NAME,
)

JAEGER_VICTORIALOGS: Final = Stores(
    "jaeger-victorialogs",
    ("Jaeger", "VictoriaLogs"),
    "otel-stream backends up --stores jaeger-victorialogs",
    Exporter(
        "otlp_grpc/jaeger",
        (
            "endpoint: ${env:OTEL_STREAM_JAEGER:-127.0.0.1:24317}",
            "tls: {insecure: true}",
            "sending_queue: *batches",
        ),
    ),
    Exporter(
        "otlp_http/victorialogs",
        (
            "logs_endpoint: ${env:OTEL_STREAM_VICTORIALOGS:-http://127.0.0.1:9428}/insert/opentelemetry/v1/logs",
            "# What tells streams apart: without it, all attributes of a resource, and so each process.",
            "headers:",
            '  VL-Stream-Fields: "service.name,service.namespace,deployment.environment.name,event_name"',
            "sending_queue: *batches",
        ),
    ),
)

ALL: Final = (TEMPO_LOKI, JAEGER_VICTORIALOGS)
