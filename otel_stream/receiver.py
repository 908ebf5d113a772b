"""``StreamReceiver`` and its errors at their first address, which programs may have in their imports."""

from otel_stream.stream.receiver import ReceiverOverflowError, StreamDeadlockError, StreamReceiver

__all__ = ["ReceiverOverflowError", "StreamDeadlockError", "StreamReceiver"]
