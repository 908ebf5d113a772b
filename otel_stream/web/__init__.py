"""Runs over HTTP, in the protocols that clients speak already, with the ids of their traces on the wire.

``create_app(graphs)`` is an ASGI application; ``sse(receiver)`` only a response.
"""

from __future__ import annotations

try:
    import starlette  # noqa: F401
except ImportError as error:
    raise ImportError("otel_stream.web needs Starlette: install otel-stream[web].") from error

from otel_stream.web.access import Authorize, Identify
from otel_stream.web.app import create_app
from otel_stream.web.from_kafka import watch_app
from otel_stream.web.limits import Limits
from otel_stream.web.runs import Hub
from otel_stream.web.wire import sse

__all__ = ["create_app", "sse", "watch_app", "Limits", "Authorize", "Identify", "Hub"]
