"""``push_message``: a message goes to the stream and into the state while its node still runs."""

from __future__ import annotations

from typing import Any

from ..messages import MessageLike, as_message
from ..runtime import current_task, emit_message


def push_message(message: MessageLike, *, state_key: str | None = "messages") -> Any:
    """Show ``message`` in the *messages* stream now, and write it to ``state_key`` when the node ends.

    With ``state_key=None`` it is only shown. Returns the message as the state will have it.

    Raises:
        ValueError: the message has no ``id``, so it could not be told from others later.
        RuntimeError: called outside of a node.
    """
    found = as_message(message)
    if found.id is None:
        raise ValueError("Message ID is required: give the message an id, so that the state knows it again")
    task = current_task()
    if task.env.langchain is not None:
        task.env.langchain.shown(task, found.id)
    emit_message(found)
    if state_key:
        task.pad.pushed.append((state_key, found))
    return found
