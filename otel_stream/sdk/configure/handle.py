"""What ``configure()`` returns: flush, shut down, and how much was exported and lost."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock, Thread
from types import MappingProxyType
from typing import Any, Final

import msgspec

from otel_stream.forking import in_child
from otel_stream.leaving import leave
from otel_stream.sdk.configure.losses import Losses
from otel_stream.sdk.configure.termination import before_child_exit, before_process_exit, before_sigterm
from otel_stream.sdk.export.accounting import Account, Counts
from otel_stream.telemetry.run import end_open_runs

_logger = logging.getLogger("otel_stream.sdk")

#: Seconds that a shutdown may take unless told otherwise.
SHUTDOWN_TIMEOUT = 5.0

#: Seconds after which a shutdown gives up on a place that has never taken anything, and still refuses.
_IN_VAIN: Final = 0.8


class Pipeline(msgspec.Struct):
    """The provider of one signal with the accounts and exporters behind it."""

    signal: str
    provider: Any
    accounts: list[Account] = []
    #: To be shut down by themselves if the provider does not manage in time.
    exporters: list[Any] = []

    def add(self, exporter: Any, account: Account) -> None:
        """Take note of an exporter and its account."""
        self.exporters.append(exporter)
        self.accounts.append(account)


class Handle:
    """The telemetry that ``configure()`` set up, or, with ``owned`` False, why it set up nothing.

    ``destination`` says where the telemetry goes, for people. All methods may be called from any
    thread and block; call them from an event loop by ``anyio.to_thread.run_sync``.
    """

    def __init__(
        self,
        pipelines: Sequence[Pipeline] = (),
        *,
        destination: str = "",
        reason: str = "",
        not_lean: Mapping[str, str] = MappingProxyType({}),
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
    ) -> None:
        #: Whether the providers are ours, to be flushed and shut down here.
        self.owned = bool(pipelines)
        #: Why nothing was set up, or not all of it; empty if everything was.
        self.reason = reason
        self.destination = destination
        #: Which of ``spans``, ``logs`` and ``metrics`` are the SDK's own, which takes longer; and why.
        self.not_lean = not_lean
        self._pipelines = list(pipelines)
        self._timeout = shutdown_timeout
        self._start_anew()
        self._stops = [_Waiting(pipe.provider.shutdown) for pipe in pipelines]
        if self.owned:
            atexit.register(self.shutdown)
            before_sigterm(self.shutdown)
            before_process_exit(self.shutdown)
            in_child(self._after_fork)

    def _start_anew(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._done = Event()
        self._losses = Losses(self.destination)

    def __repr__(self) -> str:
        what = f"destination={self.destination!r}" if self.owned else f"reason={self.reason!r}"
        slow = f", not_lean={dict(self.not_lean)!r}" if self.not_lean else ""
        return f"Handle(owned={self.owned}, {what}{slow})"

    def counts(self) -> dict[str, Counts]:
        """Return what became of the telemetry so far, by ``spans``, ``logs`` and ``metrics``."""
        names = {"traces": "spans"}
        return {
            names.get(pipe.signal, pipe.signal): _total([account.counts() for account in pipe.accounts])
            for pipe in self._pipelines
        }

    def flush(self, timeout: float = SHUTDOWN_TIMEOUT) -> bool:
        """Export everything that waits, within ``timeout`` seconds.

        Returns whether all of it arrived. After a timeout the export goes on in the background.
        """
        if not self.owned or self._closed:
            return True
        before = self._lost()
        # The SDK's own timeout is not kept to, so each signal is flushed in a thread that can be left.
        threads = [
            Thread(target=_quietly, args=(pipe.provider.force_flush,), daemon=True)
            for pipe in self._pipelines
        ]
        for thread in threads:
            thread.start()
        return _join(threads, time.monotonic() + timeout) and self._lost() == before

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Do what ``flush`` does, under OpenTelemetry's name and in its unit."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self, timeout: float | None = None) -> bool:
        """Export what waits and stop, within ``timeout`` seconds; runs at exit if nobody calls it.

        Runs in progress end first. What cannot be delivered in time is lost, counted, and said in one line
        of the log. Returns whether all of it arrived since the start; a second call waits for the first.
        """
        timeout = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        with self._lock:
            first = self.owned and not self._closed
            self._closed = True
        if not first:
            if self.owned:
                self._done.wait(timeout)
            return self._lost() == 0
        atexit.unregister(self.shutdown)
        try:
            leave(timeout * 0.2)
            end_open_runs()
            self._stop(max(0.0, deadline - time.monotonic()))
        finally:
            self._done.set()
        return self._lost() == 0

    def _stop(self, timeout: float) -> None:
        begun = time.monotonic()
        # All signals side by side: a dead endpoint of one must not use up the time of the others.
        stopping = [stop.begin() for stop in self._stops]
        done = _join(stopping, begun + min(_IN_VAIN, timeout * 0.8))
        in_vain = not done and self._is_in_vain()
        if not done and (in_vain or not _join(stopping, begun + timeout * 0.8)):
            # An exporter that retries is woken and gives up when it is shut down itself.
            for pipe in self._pipelines:
                for exporter in pipe.exporters:
                    _quietly(exporter.shutdown)
            self._wait(begun + min(timeout, 1.5 * _IN_VAIN if in_vain else timeout))
        for pipe in self._pipelines:
            for account in pipe.accounts:
                account.close()
        lost = {name: counts.lost for name, counts in self.counts().items() if counts.lost}
        self._losses.sum_up(lost, "Nothing has ever arrived there" if in_vain else "")

    def _is_in_vain(self) -> bool:
        """Return whether all that is still waited for goes to who has never taken anything, and refuses."""
        accounts = [account for pipe in self._pipelines for account in pipe.accounts]
        waited_for = [account for account in accounts if account.counts().waiting]
        return not any(account.counts().exported for account in accounts) and all(
            account.in_trouble for account in waited_for
        )

    def _after_fork(self) -> None:
        # What waited at the fork is the parent's to export, and to count.
        closed = self._closed
        self._start_anew()
        self._closed = closed
        if closed:
            self._done.set()
            return
        for pipe in self._pipelines:
            for account in pipe.accounts:
                account.reset()
        before_child_exit(self, self.shutdown)

    def _wait(self, deadline: float) -> None:
        while time.monotonic() < deadline and any(counts.waiting for counts in self.counts().values()):
            time.sleep(0.01)

    def _lost(self) -> int:
        return sum(counts.lost for counts in self.counts().values())

    def batch_lost(self, size: int, reason: str) -> None:
        """Say that telemetry does not arrive, once a minute for each cause; the shutdown tells the sum."""
        if self._closed and size:
            self._losses.note(reason)
        else:
            self._losses.add(size, reason)


def _total(counts: Sequence[Counts]) -> Counts:
    return Counts(
        sum(one.emitted for one in counts),
        sum(one.exported for one in counts),
        sum(one.lost for one in counts),
        sum(one.waiting for one in counts),
    )


class _Waiting(Thread):
    """A call whose thread exists beforehand: at the exit of the interpreter none can be started."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(name="otel-stream-shutdown", daemon=True)
        self._call = call
        self._go = Event()
        self.start()

    def run(self) -> None:
        self._go.wait()
        _quietly(self._call)

    def begin(self) -> Thread:
        """Let the call be made, and return the thread to wait for."""
        if self.is_alive():
            self._go.set()
            return self
        # In a forked child only the thread that forked goes on.
        thread = Thread(target=_quietly, args=(self._call,), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            _quietly(self._call)
            return self
        return thread


def _quietly(call: Callable[[], Any]) -> bool:
    """Make a call; tell whether it raised, as providers do to tell of their exporters."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - as the docstring says; losses are counted elsewhere
        _logger.debug("%r", error)
        return False
    return True


def _join(threads: Sequence[Thread], deadline: float) -> bool:
    """Wait for ``threads`` until ``deadline``; tell whether all of them ended."""
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
