"""``StreamPart`` at its first address, which programs may have in their imports."""

from otel_stream.stream.modes import SKIP, AggregateOf, StreamPart

__all__ = ["SKIP", "AggregateOf", "StreamPart"]
