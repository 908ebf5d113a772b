"""What stands between a stream and a receiver's buffer: its filter, its sampler, its windows.

A receiver without any of them has no admission, and pays nothing for those that have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_stream.config import StreamConfig
from otel_stream.events import Event, Run, RunEnded, SuperstepEnded, Task, origin
from otel_stream.filters import StreamFilter, as_filter
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.modes import StreamPart
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
    if config.filter is config.sampler is config.aggregate is None:
        return None
    windows = None
    if config.aggregate is not None:
        windows = Windows(config.aggregate, buffer, failed=failed, refused=refused, changed=changed)
    return Admission(config, buffer, windows, failed)


class Admission:
    """Says what becomes of a part before it comes to the buffer, and counts what does not come there."""

    __slots__ = ("_buffer", "_failed", "_filter", "_filters", "_sampling", "windows")

    def __init__(
        self,
        config: StreamConfig,
        buffer: Buffer,
        windows: Windows | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.windows = windows
        self._buffer = buffer
        self._failed = failed
        self._filter = None if config.filter is None else as_filter(config.filter)
        #: What the filter comes to for each kind of event.
        self._filters: dict[type[Any], StreamFilter] = {}
        self._sampling = None if config.sampler is None else Sampling(config.sampler, config.sample_per)

    def admits(self, part: StreamPart, event: Event | None) -> bool:
        """Return whether ``part``, made of ``event``, goes into the buffer now. Never raises."""
        buffer = self._buffer
        if buffer.sealed:
            return False
        try:
            if self._filter is not None and not self._given(self._filter, event).accept(part):
                buffer.refuse(part, "filtered")
                return False
            if self._sampling is not None and not self._sampling.keeps(part, _run_of(event)):
                buffer.refuse(part, "sampled_out")
                return False
        except Exception as error:  # noqa: BLE001 - user code; the run must not notice
            buffer.refuse(part, "failed")
            self._failed(error)
            return False
        if self.windows is None:
            return True
        self.windows.add(part, _run_of(event))
        return False

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
        except Exception:  # noqa: BLE001 - it will raise again when it is asked in earnest
            return None

    def refuse(self, part: StreamPart) -> None:
        """Count a part that was not even made, because :meth:`wants` said so."""
        self._buffer.refuse(part, "filtered")

    def passed(self, event: SuperstepEnded | RunEnded) -> None:
        """Close the windows that end with a superstep or a run."""
        if self.windows is not None:
            self.windows.passed(event)

    def finish(self, then: Callable[[], None]) -> None:
        """Hand on what the windows hold, unless the consumer has left, and call ``then``."""
        if self.windows is None:
            then()
        elif self._buffer.closed:
            then()
            self.windows.discard()
        else:
            self.windows.finish(then)


def _run_of(event: Event | None) -> Run | None:
    if event is None:
        return None
    about = origin(event)
    return about.run if isinstance(about, Task) else about
