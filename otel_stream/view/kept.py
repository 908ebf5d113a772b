"""What a viewer keeps, opened: who writes it, who reads it, and who tells of what is new."""

from __future__ import annotations

from pathlib import Path

from otel_stream.view.feed import Feed
from otel_stream.view.reading import Reader
from otel_stream.view.writer import Writer


class Kept:
    """The store of ``folder``, bounded by ``capacity`` bytes, open in the running loop until it is closed.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path, capacity: int) -> None:
        self.writer = Writer(folder / "store.db", capacity, told=self._tell)
        self._feed: Feed | None = None
        self.reader = Reader(folder / "store.db")
        self.feed = self._feed = Feed(self.reader)

    def _tell(self, version: int) -> None:
        if self._feed is not None:
            self._feed.told(version)

    def close(self) -> None:
        """Write what is queued, and close it; who still listens to it is left what it reads from."""
        self.writer.close()
        if not self.feed.listeners:
            self.reader.close()
