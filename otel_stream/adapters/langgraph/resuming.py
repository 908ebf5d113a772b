"""Which run a run goes on from: left with the checkpoint by the one, found there by the other.

LangGraph keeps no trace with a checkpoint. So a traced run that does not come to its end leaves one pending
write with the checkpoint that it leaves, in a channel of its own; LangGraph hands pending writes only to the
tasks they are from, and this one is from none. It is taken out again before LangGraph looks at it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from time import time_ns
from typing import Any

from langgraph.types import Command

from otel_stream.adapters.langgraph.words import CHECKPOINT_NS, CONF, ERROR, INTERRUPT, ORIGIN, RESUME
from otel_stream.events import Resumption, Run

logger = logging.getLogger("otel_stream.adapters.langgraph")

#: Pending writes that say what happened to a task; any other one says that it has finished.
_NO_OUTCOME = frozenset({ERROR, "__error_source_node__", INTERRUPT, RESUME})


def resumption(loop: Any) -> Resumption:
    """Say what the run of ``loop`` goes on from, and take the note of it out of the pending writes."""
    pending = loop.checkpoint_pending_writes
    notes = [value for _, channel, value in pending if channel == ORIGIN]
    origin: Mapping[str, str] = (loop.checkpoint_metadata or {}).get(ORIGIN) or {}
    if notes:
        loop.checkpoint_pending_writes = pending = [write for write in pending if write[1] != ORIGIN]
        origin = max(notes, key=lambda note: note[0])[1]
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


def sign(loop: Any, run: Run, *, is_async: bool) -> None:
    """Leave with the checkpoint which run has left off there, in the background as LangGraph's own writes."""
    put = loop.checkpointer_put_writes
    if put is None or run.traceparent is None or not loop.checkpoint_config[CONF].get("checkpoint_id"):
        return
    place = {
        **loop.checkpoint_config,
        CONF: {
            **loop.checkpoint_config[CONF],
            CHECKPOINT_NS: loop.config[CONF].get(CHECKPOINT_NS, ""),
            "checkpoint_id": loop.checkpoint["id"],
        },
    }
    note = [(ORIGIN, [time_ns(), {"run_id": run.root.id, "traceparent": run.traceparent}])]
    arguments = (put, place, note, run.id, *([""] if loop.checkpointer_put_writes_accepts_task_path else []))
    loop.submit(_put_later if is_async else _put, *arguments)


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
    logger.warning("A run that goes on from here will not be linked to this one: %r", error, exc_info=error)
