"""Who listens, how far behind they are, and what became of the parts that they were offered.

The receivers' own accounts say it when the SDK asks. What a receiver was offered stays in the sums when it
is gone.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Final, NamedTuple, Protocol
from weakref import ReferenceType, ref

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_stream import semconv
from otel_stream.config import StreamConfig
from otel_stream.stream.statistics import ModeStatistics, ReceiverStatistics
from otel_stream.telemetry.metrics.names import MODES, Names
from otel_stream.telemetry.scope import Attributes

#: What may become of a part.
_FATES: Final = {
    "offered": semconv.STREAM_OFFERED,
    "delivered": semconv.STREAM_DELIVERED,
    "dropped": semconv.STREAM_DROPPED,
    "sampled_out": semconv.STREAM_SAMPLED_OUT,
    "filtered": semconv.STREAM_FILTERED,
}


class Account(Protocol):
    """What is asked of a receiver's buffer; it outlives the receiver until it is added up."""

    def statistics(self) -> ReceiverStatistics:
        """Return what became of every part so far; no number in it ever falls, but what is held."""
        ...

    def waiting(self) -> tuple[int, int | None]:
        """Return how many parts wait, and when the oldest came into being."""
        ...

    def close(self) -> None:
        """Drop what is held."""


class Receiver(Protocol):
    """What is asked of a receiver."""

    config: StreamConfig
    #: Whether it has the parts of more runs than one.
    lasting: bool

    @property
    def account(self) -> Account: ...

    @property
    def over(self) -> bool: ...


class _Place(NamedTuple):
    graph: str
    policy: str


class _Kind(NamedTuple):
    """Parts that are counted together; ``reason`` is why they were dropped, if it is known."""

    mode: str
    fate: str
    reason: str = ""


class _Watched:
    """A receiver, as far as it is needed when it is gone."""

    __slots__ = ("account", "added", "place")

    def __init__(self, account: Account, place: _Place) -> None:
        self.account = account
        self.place = place
        #: How many of its parts are in the sums.
        self.added: Counter[_Kind] = Counter()


class Receivers:
    """The receivers of runs of this process, and the sums of all that ever were.

    No receiver is asked under the lock of this: whoever has a receiver's may be about to attach another.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with none: those of a parent process are its own."""
        self._lock = Lock()
        self._gone: deque[ReferenceType[Receiver]] = deque()
        self._known: dict[ReferenceType[Receiver], _Watched] = {}
        #: Where there ever was a receiver: shown with 0 when it is gone.
        self._places: set[_Place] = set()
        self._sums: Counter[tuple[_Place, _Kind]] = Counter()
        self._modes = Names(MODES, known=semconv.EVENT_BY_MODE)

    def attached(self, receiver: Receiver, graph: str) -> None:
        """Take note of a receiver of a run of ``graph``, whose parts are that graph's from now on."""
        self._add_up_gone()
        place = _Place(graph, receiver.config.overflow.value)
        key = ref(receiver, self._gone.append)  # called wherever its last reference goes
        with self._lock:
            self._places.add(place)
            known = self._known.setdefault(key, _Watched(receiver.account, place))
        if known.place != place:
            self._add_up(known)
            known.place = place

    def by_place(self) -> Mapping[_Place, tuple[int, int, float]]:
        """Return how many are attached, the parts in the fullest buffer, and the seconds the oldest waits."""
        now = time.time_ns()
        with self._lock:
            known = list(self._known.items())
            found: dict[_Place, tuple[int, int, float]] = dict.fromkeys(self._places, (0, 0, 0.0))
        for alive, watched in known:
            receiver = alive()
            if receiver is None:
                continue
            held, since = watched.account.waiting()
            age = 0.0 if since is None else max(0, now - since) * 1e-9
            number, most, oldest = found[watched.place]
            found[watched.place] = number + (not receiver.over), max(most, held), max(oldest, age)
        return found

    def sums(self) -> list[tuple[_Place, _Kind, int]]:
        """Return how many parts of each kind there were so far."""
        self._add_up_gone()
        with self._lock:
            known = list(self._known.values())
        for watched in known:
            self._add_up(watched)
        with self._lock:
            return [(*key, number) for key, number in self._sums.items()]

    def _add_up_gone(self) -> None:
        while self._gone:
            try:
                gone = self._gone.popleft()
            except IndexError:  # another thread has got there first
                return
            with self._lock:
                watched = self._known.pop(gone, None)
            if watched is not None:
                watched.account.close()  # nobody comes for what it holds
                self._add_up(watched)

    def _add_up(self, watched: _Watched) -> None:
        by_mode = watched.account.statistics().by_mode
        with self._lock:
            for kind, number in _kinds(by_mode):
                # Somebody who asked later may have got here first.
                more = max(0, number - watched.added[kind])
                watched.added[kind] += more
                self._sums[watched.place, kind._replace(mode=self._modes(kind.mode))] += more


def _kinds(by_mode: Mapping[str, ModeStatistics]) -> Iterator[tuple[_Kind, int]]:
    for mode, now in by_mode.items():
        for fate in _FATES:
            # Those that were dropped all have a reason; a panel of them shall show 0 where there are none.
            yield _Kind(mode, fate), 0 if fate == "dropped" else getattr(now, fate)
        for reason, number in now.reasons.items():
            yield _Kind(mode, "dropped", reason), number


def show_receivers(meter: Meter, receivers: Receivers) -> None:
    """Make the instruments of ``receivers``."""
    for fate, (name, unit, description, _) in _FATES.items():
        meter.create_observable_counter(name, [_summed(receivers, fate)], unit, description)
    name, unit, description, _ = semconv.STREAM_RECEIVERS
    meter.create_observable_up_down_counter(name, [_placed(receivers, 0)], unit, description)
    for which, metric in ((1, semconv.STREAM_DEPTH), (2, semconv.STREAM_LAG)):
        name, unit, description, _ = metric
        meter.create_observable_gauge(name, [_placed(receivers, which)], unit, description)


def _summed(receivers: Receivers, fate: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for place, kind, number in receivers.sums():
            if kind.fate == fate:
                about: Attributes = {**_about(place), semconv.GRAPH_STREAM_MODE: kind.mode}
                if kind.reason:
                    about[semconv.GRAPH_STREAM_DROP_REASON] = kind.reason
                yield Observation(number, about)

    return observe


def _placed(receivers: Receivers, which: int) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for place, values in receivers.by_place().items():
            yield Observation(values[which], _about(place))

    return observe


def _about(place: _Place) -> Attributes:
    return {semconv.GRAPH_NAME: place.graph, semconv.GRAPH_STREAM_POLICY: place.policy}
