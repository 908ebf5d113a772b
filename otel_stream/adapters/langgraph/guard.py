"""What is ours among LangGraph's code never breaks a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger("otel_stream.adapters.langgraph")

P = ParamSpec("P")


def guarded(tell: Callable[P, None], *args: P.args, **options: P.kwargs) -> None:
    """Call ``tell``; what goes wrong there is ours alone."""
    try:
        tell(*args, **options)
    except Exception as error:  # noqa: BLE001 - as it says
        say(logger, logging.ERROR, "A run of LangGraph's is not fully observed: %s", placed(error))
