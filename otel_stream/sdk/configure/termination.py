"""The last batch, when a program is told to end: SIGTERM, as container platforms send it.

Python's own answer to SIGTERM is to end at once, without ``atexit``. A program that has said nothing else
gets the time of a shutdown first, and then ends by the signal, as it would have.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any


def before_sigterm(call: Callable[[], Any]) -> None:
    """Have ``call`` made before SIGTERM ends this program; not if it has an answer of its own to SIGTERM.

    A handler that the program sets later takes the place of this one. ``call`` has to be bounded: it may
    wait for a lock that the interrupted code holds.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set handlers
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        call()
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
