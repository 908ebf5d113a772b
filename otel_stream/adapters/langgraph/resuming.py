"""Which run a run goes on from: left with the checkpoint by the one, found there by the other.

LangGraph keeps no trace with a checkpoint. So a traced run that waits leaves one pending write with the
checkpoint that it waits at, in a channel of its own; LangGraph hands pending writes only to the tasks they
are from, and this one is from none. It is taken out again before LangGraph looks at it.

A run that fails, or is stopped, leaves nothing there but what LangGraph itself does: that it can be gone on
with is known in this process alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from time import time_ns
from typing import Any, Final
from weakref import finalize

from langgraph.types import Command

from otel_stream.adapters.langgraph.words import (
    CHECKPOINT_NS,
    CONF,
    ERROR,
    INTERRUPT,
    ORIGIN,
    RESUME,
    THREAD_ID,
)
from otel_stream.events import Resumption, Run
from otel_stream.trouble import placed

logger = logging.getLogger("otel_stream.adapters.langgraph")

#: Pending writes that say what happened to a task; any other one says that it has finished.
_NO_OUTCOME = frozenset({ERROR, "__error_source_node__", INTERRUPT, RESUME})


class _Left:
    """Who left off where, of the runs of this process that did not say so in a checkpoint."""

    most = 1024

    def __init__(self) -> None:
        #: By the id of the checkpointer, which need have no hash.
        self._by_saver: dict[int, dict[Any, Mapping[str, str]]] = {}

    def add(self, loop: Any, origin: Mapping[str, str]) -> None:
        """Remember it, as long as the checkpointer lives; the first of too many is forgotten."""
        known = self._by_saver.get(id(loop.checkpointer))
        if known is None:
            known = self._by_saver[id(loop.checkpointer)] = {}
            finalize(loop.checkpointer, self._by_saver.pop, id(loop.checkpointer), None).atexit = False
        known[_place(loop)] = origin
        while len(known) > self.most:
            del known[next(iter(known))]

    def find(self, loop: Any) -> Mapping[str, str]:
        """Return who left off where a loop goes on; empty if that is not known."""
        return self._by_saver.get(id(loop.checkpointer), {}).get(_place(loop), {})


_LEFT: Final = _Left()


def _place(loop: Any) -> tuple[Any, ...]:
    configurable = loop.checkpoint_config[CONF]
    return configurable.get(THREAD_ID), loop.config[CONF].get(CHECKPOINT_NS, ""), loop.checkpoint["id"]


def resumption(loop: Any) -> Resumption:
    """Say what the run of ``loop`` goes on from, and take the note of it out of the pending writes."""
    pending = loop.checkpoint_pending_writes
    notes = [value for _, channel, value in pending if channel == ORIGIN]
    origin: Mapping[str, str] = _LEFT.find(loop)
    if notes:
        loop.checkpoint_pending_writes = pending = [write for write in pending if write[1] != ORIGIN]
        origin = origin or max(notes, key=lambda note: note[0])[1]
    origin = origin or (loop.checkpoint_metadata or {}).get(ORIGIN) or {}
    answer = loop.input.resume if isinstance(loop.input, Command) else None
    asked = set() if answer is None else set(_unanswered(pending))
    by_id = asked.intersection(answer if isinstance(answer, dict) else ())
    return Resumption(
        loop.checkpoint["id"],
        origin.get("run_id"),
        origin.get("traceparent"),
        tuple(sorted(by_id or asked)),
    )


def _unanswered(pending: Iterable[tuple[str, str, Any]]) -> Iterable[str]:
    """Yield the ids of the interrupts that wait for an answer."""
    writes = list(pending)
    finished = {task for task, channel, _ in writes if channel not in _NO_OUTCOME}
    for task, channel, value in writes:
        if channel == INTERRUPT and task not in finished:
            yield from (one.id for one in (value if isinstance(value, tuple | list) else (value,)))


def sign(loop: Any, run: Run, *, waits: bool, is_async: bool) -> None:
    """Remember which run has left off at the checkpoint of ``loop``; if it waits, with the checkpoint."""
    put = loop.checkpointer_put_writes
    if put is None or run.traceparent is None or not loop.checkpoint_config[CONF].get("checkpoint_id"):
        return
    origin = {"run_id": run.root.id, "traceparent": run.traceparent}
    _LEFT.add(loop, origin)
    if waits:
        place = {**loop.checkpoint_config, CONF: {**loop.checkpoint_config[CONF]}}
        place[CONF][CHECKPOINT_NS] = loop.config[CONF].get(CHECKPOINT_NS, "")
        place[CONF]["checkpoint_id"] = loop.checkpoint["id"]
        path = [""] if loop.checkpointer_put_writes_accepts_task_path else []
        # In the background, as LangGraph's own writes, which are awaited before the run ends.
        put_it = _put_later if is_async else _put
        loop.submit(put_it, put, place, [(ORIGIN, [time_ns(), origin])], run.id, *path)


def _put(put: Any, *arguments: Any) -> None:
    try:
        put(*arguments)
    except Exception as error:  # noqa: BLE001 - a link that is missing never breaks a run
        _tell(error)


async def _put_later(put: Any, *arguments: Any) -> None:
    try:
        await put(*arguments)
    except Exception as error:  # noqa: BLE001 - as above
        _tell(error)


def _tell(error: Exception) -> None:
    logger.warning("A run that goes on from here will not be linked to this one: %s", placed(error))
