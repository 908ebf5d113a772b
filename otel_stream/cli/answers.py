"""What a run is answered when it asks: what was given on the command line, or typed at a terminal."""

from __future__ import annotations

import json
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from otel_stream.cli.terminal import say
from otel_stream.encoding import encode


class Answers:
    """Answers to questions in the order in which they are asked: those ``given``, then what somebody types.

    Args:
        given: answers that are known before.
        asks: whether somebody sits at a terminal.
    """

    def __init__(self, given: Sequence[Any] = (), *, asks: bool = False) -> None:
        self._given = deque(given)
        self._asks = asks

    @property
    def any(self) -> bool:
        """Whether there may be an answer."""
        return self._asks or bool(self._given)

    def to(self, interrupts: Sequence[Any]) -> dict[str, Any] | None:
        """Return answers by the ids of interrupts, None if one of them has none.

        Raises:
            KeyboardInterrupt: who was asked wants the run to end.
        """
        found: dict[str, Any] = {}
        for one in interrupts:
            if self._given:
                found[one.id] = self._given.popleft()
            elif not self._asks:
                return None
            else:
                typed = _typed(one.value)
                if not typed:
                    return None
                found[one.id] = _read(typed)
        return found or None


def _typed(question: Any) -> str:
    say(f"The run asks: {question if isinstance(question, str) else encode(question).decode()}")
    sys.stdout.flush()
    try:
        with _ended_by_signal():
            return input("Answer, text or JSON (nothing: leave it waiting): ").strip()
    except EOFError:
        say("")
        return ""


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let Ctrl-C end what waits here; a loop's own handler would wait for this to end first."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
