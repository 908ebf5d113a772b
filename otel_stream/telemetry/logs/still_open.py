"""What has begun and is not over: told of if it lasts, since who hears of an end needs no beginning.

Most of what begins is over before its beginning could have been exported. That costs an entry here, and no
log event.

Who looks after it is whoever begins something next; a thread does so where nothing else begins. It must not
wake often while a program is busy: to get hold of the interpreter takes it milliseconds of CPU then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from time import sleep, time_ns
from typing import Any, Final, TypeAlias

from otel_stream.forking import in_child

#: Seconds that something has to go on before its beginning is told.
LEAST: Final = 0.5
#: As many times longer the thread sleeps once others have looked for two pauses in a row.
_PATIENCE: Final = 3

#: When it began, in nanoseconds since the epoch, what tells of it, and what that is given.
_Begun: TypeAlias = tuple[int, Callable[..., None], tuple[Any, ...]]


class StillOpen:
    """Supersteps and tasks of a whole process that are in progress and of which nobody has been told.

    From any thread. What lasts longer than ``least`` seconds is told of when something else begins, or by a
    thread of its own, which lives as long as anything goes on: as much again later at most, or three times as
    much if others have just begun for a while. Whoever takes an entry out has it, so nothing is told twice,
    and nothing that was over.
    """

    def __init__(self, least: float = LEAST) -> None:
        self._least = least
        self._begin_anew()
        in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        #: In the order in which they began, nearly.
        self._open: dict[Any, _Begun] = {}
        #: When who begins something is to look, in nanoseconds since the epoch.
        self._look_at = 0
        # Re-entrant, since a finalizer may begin something in the middle of anything.
        self._starting = threading.RLock()
        self._worker: threading.Thread | None = None

    def began(self, key: Any, time: int, tell: Callable[..., None], *about: Any) -> None:
        """Have ``tell(*about)`` called in a while, unless ``key`` is over by then. ``tell`` never raises."""
        self._open[key] = time, tell, about
        # Looked at after the entry is there: a thread that is about to end does it the other way round.
        if self._worker is None:
            self._start()
        if time >= self._look_at:
            self.tell_due(time)

    def over(self, key: Any) -> None:
        """Have nothing told of ``key`` any more."""
        self._open.pop(key, None)

    def _start(self) -> None:
        with self._starting:
            if self._worker is not None:
                return
            self._worker = threading.Thread(target=self._work, name="otel-stream-starts", daemon=True)
            try:
                self._worker.start()
            except RuntimeError:  # the interpreter is about to end, and what is open with it
                self._worker = None

    def _work(self) -> None:
        busy, going_on = 0, True
        while going_on:
            looked = self._look_at
            sleep(self._least * (1 if busy < 2 else _PATIENCE))
            busy = 0 if self._look_at == looked else busy + 1
            self.tell_due(time_ns())
            going_on = bool(self._open)
        self._worker = None
        if self._open:  # since it was looked at
            self._start()

    def tell_due(self, now: int) -> None:
        """Tell of everything that has gone on for long enough at ``now``, in nanoseconds since the epoch."""
        least = int(self._least * 1e9)
        self._look_at, due = now + least, now - least
        for key, (began, tell, about) in self._entries():
            if began <= due and self._open.pop(key, None) is not None:
                Context().run(tell, *about)  # who looks may be another run, with a context of its own

    def _entries(self) -> list[tuple[Any, _Begun]]:
        while True:
            # It changes while it is copied, in other threads.
            with suppress(RuntimeError):
                return list(self._open.items())


#: Those of this process.
STILL_OPEN: Final = StillOpen()
