"""What ends the streams of a server that is told to stop.

A server waits for its responses before it shuts its application down, and streams end with their runs: who
tells it to stop would wait for those. So streams are ended as soon as the process gets the signal, whoever
else listens to it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def when_told_to_stop(call: Callable[[], object]) -> Iterator[None]:
    """Make ``call`` in the running loop when the process is told to stop; all else happens as before."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not for this thread
        return
    loop = asyncio.get_running_loop()
    before = {one: signal.getsignal(one) for one in _SIGNALS}

    def told(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    mine = [one for one, handler in before.items() if callable(handler)]
    for one in mine:
        signal.signal(one, told)
    try:
        yield
    finally:
        for one in mine:
            if signal.getsignal(one) is told:
                signal.signal(one, before[one])
