"""A node that runs elsewhere, as its graph has it. Ray is not loaded until one is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from otel_stream.stream.wakeup import ThreadWaiter, waiter

from ...executors import drive
from ...graph.node import Callback
from ...policies import Remote
from .code import Code


def elsewhere(callback: Callback, remote: Remote) -> Callback:
    """Return what calls ``callback`` in a worker, in both forms: a worker runs sync code and async."""
    node = _Node(Code(callback, remote))
    return replace(callback, func=node.call, afunc=node.acall, inject=(), bare=None, in_place=False)


class _Node:
    def __init__(self, code: Code) -> None:
        self._code = code

    async def acall(self, value: Any) -> Any:
        from .client import run

        return await run(self._code, value, waiter)

    def call(self, value: Any) -> Any:
        """Do the same where only the thread may wait."""
        from .client import run

        return drive(run(self._code, value, ThreadWaiter))
