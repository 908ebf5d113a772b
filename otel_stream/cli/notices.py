"""What the libraries log while the program owns the terminal: kept, and said once at the end."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

#: Ours are said. OpenTelemetry's own repeat, for every batch, what the account of losses says once.
_SAID = ("otel_stream", "engine")
_KEPT_QUIET = ("opentelemetry",)


class Notices(logging.Handler):
    """Collects warnings and errors while it is entered; each text once, in the order they came."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self._before: dict[str, bool] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name.split(".", maxsplit=1)[0] in _SAID and text not in self.texts:
            self.texts.append(text)

    def __enter__(self) -> Self:
        for name in (*_SAID, *_KEPT_QUIET):
            logger = logging.getLogger(name)
            self._before[name] = logger.propagate
            logger.propagate = False
            logger.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, propagate in self._before.items():
            logger = logging.getLogger(name)
            logger.removeHandler(self)
            logger.propagate = propagate
