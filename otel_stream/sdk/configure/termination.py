"""The last batch, when a program is told to end, and when a forked or spawned process of it does.

Python's own answer to SIGTERM is to end at once, without ``atexit``. A program that has said nothing else
gets the time of a shutdown first, and then ends by the signal, as it would have.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

#: Seconds that the main thread has to take note of the second signal before the process ends anyway.
_GRACE: Final = 2.0
_STATUS: Final = 128 + signal.SIGTERM


class _Termination:
    """The answer to SIGTERM: nothing is done in the handler, which may interrupt whoever holds a lock.

    The call is made in a thread of its own, started without any lock of Python's, so that the interrupted
    thread goes on and releases what it holds. The thread then sends the signal again. A program that comes to
    its own end meanwhile ends by the signal all the same.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._begun = False
        self._busy = _thread.allocate_lock()
        atexit.register(self._at_exit)

    def __call__(self, number: int, _: object) -> None:
        if self._begun:
            # The thread has done its work, or somebody does not want to wait for it.
            _end(number)
            return
        self._begun = True
        self._busy.acquire(blocking=False)
        _thread.start_new_thread(self._finish, (number,))

    def _at_exit(self) -> None:
        if self._begun:
            self._busy.acquire()  # the call is bounded
            _end(signal.SIGTERM)

    def _finish(self, number: int) -> None:
        try:
            self._call()
        finally:
            self._busy.release()
            os.kill(os.getpid(), number)
            time.sleep(_GRACE)
            os._exit(_STATUS)


def _end(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    if os.getpid() == 1:
        # The kernel discards a default action that the first process of a container sends to itself.
        os._exit(_STATUS)
    os.kill(os.getpid(), number)


def before_sigterm(call: Callable[[], Any]) -> None:
    """Have ``call`` made before SIGTERM ends this program; not if it has an answer of its own to SIGTERM.

    A handler that the program sets later takes the place of this one. ``call`` has to be bounded; the
    program goes on while it is made.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set handlers
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _Termination(call))


#: Modules that end their processes by ``os._exit``, without ``atexit``: the standard library's, and that of
#: celery's workers.
_PROCESS_MODULES: Final = ("multiprocessing", "billiard")


def before_process_exit(call: Callable[[], Any]) -> None:
    """Have ``call`` made when this process, if it is one of ``multiprocessing``, ends in the usual way."""
    for name in _PROCESS_MODULES:
        process, util = sys.modules.get(f"{name}.process"), sys.modules.get(f"{name}.util")
        if process is None or util is None:
            continue
        if process.current_process().name != "MainProcess":
            util.Finalize(None, call, exitpriority=-100)


def before_child_exit(owner: Any, call: Callable[[], Any]) -> None:
    """In a forked child, before anything else of it: have ``call`` made when it ends in the usual way.

    ``multiprocessing`` forgets what is to be done at the end of a process when it has forked it; it calls
    those that registered for that moment, which this does, for as long as ``owner`` lives.
    """
    for name in _PROCESS_MODULES:
        util = sys.modules.get(f"{name}.util")
        if util is not None:
            util.register_after_fork(owner, lambda _, util=util: util.Finalize(None, call, exitpriority=-100))
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        # Its workers end by ``os._exit``, after nothing but this.
        celery.worker_process_shutdown.connect(lambda **_: call(), weak=False)
