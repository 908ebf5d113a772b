"""What stands between a stream and a receiver's buffer, where more than the buffer's own rules decides.

That is its filter, its sampler, its windows; chunks that are to be joined; and the policy *error*, which ends
the receiver. All of it is, or calls, foreign code: it is done outside of every lock, part by part, in the
order of the stream. A receiver without any of it has no admission, and pays nothing for those that have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from otel_stream.config import OverflowPolicy, StreamConfig
from otel_stream.events import Event, Run, RunEnded, SuperstepEnded, Task, origin
from otel_stream.filters import StreamFilter, as_filter, truth
from otel_stream.parts import StreamPart
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.inbox import Inbox
from otel_stream.stream.sampling import Sampling
from otel_stream.stream.windows import Windows


def admission(
    config: StreamConfig,
    buffer: Buffer,
    *,
    failed: Callable[[BaseException], None],
    refused: Callable[[], None],
    changed: Callable[[], None],
) -> Admission | None:
    """Return what ``config`` asks for, None if that is nothing.

    ``failed(error)`` is called when a filter, sampler, key or reducer raises, ``refused()`` when the buffer
    lets the receiver fail, and ``changed()`` when there is something new to take or to wait for.
    """
    joins = config.overflow is OverflowPolicy.COALESCE and "messages" in config.modes
    asks = not (config.filter is config.sampler is config.aggregate is None)
    if not (asks or joins or config.overflow is OverflowPolicy.ERROR):
        return None
    return Admission(config, buffer, failed=failed, refused=refused, changed=changed)


class Admission:
    """Says what becomes of a part before it comes to the buffer, and counts what does not come there.

    What it has not decided yet counts as held.
    """

    __slots__ = (
        "_accepts", "_buffer", "_changed", "_failed", "_filter", "_filters", "_refused", "_sampling", "inbox",
        "windows",
    )  # fmt: skip

    def __init__(
        self,
        config: StreamConfig,
        buffer: Buffer,
        *,
        failed: Callable[[BaseException], None],
        refused: Callable[[], None],
        changed: Callable[[], None],
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.inbox = Inbox()
        self._buffer = buffer
        self._failed, self._refused, self._changed = failed, refused, changed
        self._filter = None if config.filter is None else as_filter(config.filter)
        #: What the filter comes to for each kind of event.
        self._filters: dict[type[Any], StreamFilter] = {}
        #: The same, as it is asked.
        self._accepts: dict[type[Any], Callable[[StreamPart], Any]] = {}
        self._sampling = None if config.sampler is None else Sampling(config.sampler, config.sample_per)
        self.windows = None
        if config.aggregate is not None:
            timed = {} if clock is None else {"clock": clock}
            self.windows = Windows(
                config.aggregate, buffer, failed=failed, release=self._release, changed=changed, **timed
            )

    def put(self, part: StreamPart, event: Event | None) -> None:
        """Take ``part``, made of ``event``, to decide upon it when the inbox is settled.

        For who has the buffer's lock.
        """
        if self._buffer.absorb(part):
            self.inbox.put((self._decide, part, event))

    def _decide(self, part: StreamPart, event: Event | None) -> None:
        buffer = self._buffer
        try:
            why = self._refusal(part, event)
            if why is not None:
                buffer.forfeit(part.type, 1, why)
            elif self.windows is None:
                self._release(part)
            else:
                self.windows.add(part, _run_of(event))
        except BaseException as error:  # noqa: BLE001 - user code; the run must not notice
            buffer.forfeit(part.type, 1, "failed")
            self._failed(error)

    def _refusal(self, part: StreamPart, event: Event | None) -> str | None:
        if self._filter is not None and part.type != "gap":
            accept = self._accepts.get(type(event))
            if accept is None:
                accept = self._accepts[type(event)] = self._given(self._filter, event).accept
            if not truth(accept(part)):
                return "filtered"
        if self._sampling is not None and not self._sampling.keeps(part, _run_of(event)):
            return "sampled_out"
        return None

    def _release(self, part: StreamPart, came: int | None = None) -> None:
        if self._buffer.release(part, came):
            self._changed()
        else:
            self._refused()

    def _given(self, filter: StreamFilter, event: Event | None) -> StreamFilter:
        kind = type(event)
        given = self._filters.get(kind)
        if given is None:
            given = self._filters[kind] = filter if event is None else filter.given(type(event))
        return given

    @property
    def foresees(self) -> bool:
        """Whether :meth:`wants` may know something."""
        return self._filter is not None and type(self._filter).foresee is not StreamFilter.foresee

    def wants(self, part: StreamPart, event: Event) -> bool | None:
        """Return whether the filter accepts what is made of ``event``; ``part`` has neither data nor ``seq``.

        None: that can't be known before it is made.
        """
        try:
            return None if self._filter is None else self._given(self._filter, event).foresee(part)
        except BaseException:  # noqa: BLE001 - it will raise again when it is asked in earnest
            return None

    def refuse(self, part: StreamPart) -> None:
        """Count a part that was not even made, because :meth:`wants` said so."""
        self._buffer.refuse(part, "filtered")

    def passed(self, event: SuperstepEnded | RunEnded) -> None:
        """Close the windows that end with a superstep or a run."""
        if self.windows is not None:
            self.inbox.do(partial(self._safely, partial(self.windows.passed, event)))

    def _safely(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - a key that can't be compared any more
            self._failed(error)

    def tick(self) -> None:
        """Close the windows that are due."""
        if self.windows is not None and self.windows.due_in() == 0:
            self.inbox.do(partial(self._safely, self.windows.tick))

    def due_in(self) -> float | None:
        """Return in how many seconds the next window is due, None if no clock decides."""
        return None if self.windows is None else self.windows.due_in()

    def finish(self, then: Callable[[], None]) -> None:
        """Decide upon all there is, hand on what the windows hold, and call ``then``.

        A consumer that has left waits for none of it.
        """
        if self._buffer.closed:
            then()
        self.inbox.do(partial(self._finish, then))

    def _finish(self, then: Callable[[], None]) -> None:
        if self.windows is not None:
            self._safely(self.windows.discard if self._buffer.closed else self.windows.close)
        then()


def _run_of(event: Event | None) -> Run | None:
    if event is None:
        return None
    about = origin(event)
    return about.run if isinstance(about, Task) else about
