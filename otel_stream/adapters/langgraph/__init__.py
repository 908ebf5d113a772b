"""LangGraph, observed: what its graphs do becomes our events, and so spans, log events, metrics and streams.

``LangGraphInstrumentor().instrument()`` changes nothing in a program but that its runs are told of. Importing
this package does not import LangGraph.
"""

from __future__ import annotations

from otel_stream.adapters.langgraph.audience import subscribe
from otel_stream.adapters.langgraph.instrumentor import LangGraphInstrumentor
from otel_stream.adapters.langgraph.streams import GraphStream, open_stream

__all__ = ["GraphStream", "LangGraphInstrumentor", "open_stream", "subscribe"]
