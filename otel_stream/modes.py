"""``StreamPart`` at its first address, which programs may have in their imports."""

from otel_stream.parts import SKIP, AggregateOf, StreamPart

__all__ = ["SKIP", "AggregateOf", "StreamPart"]
