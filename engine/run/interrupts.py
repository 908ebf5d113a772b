"""``interrupt()``: stop a run in the middle of a node, and go on with an answer."""

from __future__ import annotations

from typing import Any

from ..errors import GraphInterrupt, mark_invalid_resume
from ..runtime import current_task
from ..types import MISSING
from .resume import take_answer


def interrupt(value: Any, *, response_schema: Any = None) -> Any:
    """Ask for an answer to ``value`` and return it.

    The first time, the run stops here and shows ``value`` to its caller; ``Command(resume=answer)`` starts
    the node again from its beginning, and this call then returns the answer. Several calls in one node are
    matched with their answers by order.

    Args:
        value: what to show; anything a checkpointer can store.
        response_schema: a type, or JSON schema, that the answer is checked against.

    Raises:
        GraphInterrupt: no answer yet. Let it pass.
        RuntimeError: called outside of a node.
        pydantic.ValidationError: the answer does not fit ``response_schema``; the run can be resumed again.
    """
    task = current_task()
    pad = task.pad
    index, pad.asked = pad.asked, pad.asked + 1
    if index < len(pad.answers):
        answer = _checked(pad.answers[index], response_schema)
    else:
        pending = take_answer(task.env)
        if pending is MISSING:
            shown = task.question(value, len(pad.answers), _shown_schema(response_schema))
            raise GraphInterrupt((shown,))
        answer = _checked(pending, response_schema)
        pad.answers = [*pad.answers, pending]
    # Only what was asked for again is kept: an answer that failed its check can be given anew.
    pad.answered = pad.answers[: index + 1]
    return answer


def _is_type(schema: Any) -> bool:
    return schema is not None and not isinstance(schema, dict)


def _shown_schema(schema: Any) -> Any:
    if not _is_type(schema):
        return schema
    from pydantic import TypeAdapter

    return TypeAdapter(schema).json_schema()


def _checked(answer: Any, schema: Any) -> Any:
    if not _is_type(schema):
        return answer
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(schema).validate_python(answer)
    except ValidationError as error:
        mark_invalid_resume(error)
        raise
