"""Foreign code and a run: what a filter, a mode, a logging handler or an event loop raises is not the run's.

Whoever calls foreign code catches all of it, ``BaseException`` too: a panic of an extension, or what a test's
``fail()`` raises. It is told to the consumer whose code it was, and never to the run.
"""

from __future__ import annotations

import logging
from contextlib import suppress


def say(logger: logging.Logger, level: int, message: str, *about: object) -> None:
    """Log ``message``; handlers and what they format may be anybody's, so whatever they raise ends here."""
    with suppress(BaseException):
        logger.log(level, message, *about)
