"""Failures of code that a processor calls but did not write: counted, and the first one reported."""

from __future__ import annotations

import logging

from otel_stream.trouble import placed


class Mishaps:
    """What went wrong in one place; ``where`` completes the sentence "... failed"."""

    __slots__ = ("_where", "count")

    def __init__(self, where: str) -> None:
        self._where = where
        #: How many so far.
        self.count = 0

    def __call__(self, error: Exception) -> None:
        """Take note of ``error``, in an ``except`` clause."""
        self.count += 1
        if self.count > 1:
            return  # a log handler that ends up in the same place again is not fed a second time
        _logger.warning("%s failed; more failures are counted, not logged: %s", self._where, placed(error))


_logger = logging.getLogger("otel_stream.sdk")
