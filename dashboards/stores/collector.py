"""How the Collector reaches a store: pieces of its configuration."""

from __future__ import annotations

from typing import NamedTuple


class Component(NamedTuple):
    """The name of an exporter or a processor in the configuration, and its settings, line by line."""

    name: str
    settings: tuple[str, ...]


class Way(NamedTuple):
    """The exporters for traces and log events; ``processor`` is what log events go through before that."""

    traces: Component
    logs: Component
    processor: Component


def over_grpc(store: str, endpoint: str) -> Component:
    """Return an exporter of OTLP over gRPC, without TLS, since a store is near its gateway."""
    settings = (f"endpoint: {endpoint}", "tls: {insecure: true}", "sending_queue: *batches")
    return Component(f"otlp_grpc/{store}", settings)


def over_http(store: str, *settings: str) -> Component:
    """Return an exporter of OTLP over HTTP."""
    return Component(f"otlp_http/{store}", (*settings, "sending_queue: *batches"))


def transform(name: str, *statements: str) -> Component:
    """Return a processor of log events; a statement may be a comment."""
    lines = ("error_mode: propagate", "log_statements:", *(f"  {statement}" for statement in statements))
    return Component(f"transform/{name}", lines)
