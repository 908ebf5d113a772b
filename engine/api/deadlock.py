"""Telling a deadlock from a consumer that is late: who, besides the code that waits here, holds a receiver?

Only code that holds a receiver can read it. So a run that waits for one which nothing else holds, as far as
the garbage collector and the stacks of the other threads know, waits for ever. When in doubt, it does not.

Neither sees what a running function has in its hands without a name, as a loop has what it iterates.
Therefore this may be asked only about a receiver that nobody has read yet.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from types import (
    AsyncGeneratorType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import Any

#: What has a holder in turn.
_CONTAINERS = frozenset(
    (list, tuple, dict, set, frozenset, type(iter(())), type(iter([])), CellType, MethodType, partial)
)
#: Where what can be suspended keeps its frame.
_FRAMES: dict[type, str] = {
    CoroutineType: "cr_frame",
    GeneratorType: "gi_frame",
    AsyncGeneratorType: "ag_frame",
}


def held_elsewhere(things: Iterable[Any], ours: frozenset[str], our_code: frozenset[CodeType]) -> bool:
    """Return whether code that can still run might use one of ``things``.

    That is everything but the callers of this function, coroutines of ``our_code``, and objects and functions
    of the modules ``ours``. Looks at every object there is, several times: not for every day.
    """
    callers = set(_stack(sys._getframe()))  # noqa: SLF001 - there is no other way to one's callers
    level = list(things)
    known = {id(thing) for thing in level}
    while level:
        holders = gc.get_referrers(*level)
        known.update((id(level), id(holders)))
        level = []
        for holder in holders:
            kind = type(holder)  # never isinstance: a proxy would answer with whatever it stands for
            home = holder.__module__ if kind is FunctionType else kind.__module__
            if id(holder) in known or home in ours:
                continue
            known.add(id(holder))
            if kind in _CONTAINERS:
                level.append(holder)
                continue
            frame = getattr(holder, _FRAMES[kind]) if kind in _FRAMES else holder
            if frame not in callers and getattr(frame, "f_code", None) not in our_code:
                return True
    return _is_on_another_stack(known, callers)


def _is_on_another_stack(known: set[int], callers: set[FrameType]) -> bool:
    """Return whether a running function of another thread has one of them: the collector can't see those."""
    return any(
        id(value) in known
        for top in sys._current_frames().values()  # noqa: SLF001 - nor to those of other threads
        for frame in _stack(top)
        if frame not in callers
        for value in frame.f_locals.values()
    )


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
