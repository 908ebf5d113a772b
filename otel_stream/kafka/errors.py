"""What a consumer of a remote stream may be told in the end."""

from __future__ import annotations


class RemoteRunError(RuntimeError):
    """A run in another process has failed: ``kind`` is the name of what it raised, ``message`` its text."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind = kind
        self.message = message


class ProducerLostError(RuntimeError):
    """Nothing more will come of a run whose end was never told: its process is gone, or has left."""
