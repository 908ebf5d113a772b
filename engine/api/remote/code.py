"""The code of a node that runs elsewhere: what workers know it by, and where it is kept for them."""

from __future__ import annotations

from threading import Lock
from typing import Any
from uuid import uuid4

from ...graph.node import Callback
from ...policies import Remote


class Code:
    """What is called there, and where that is."""

    def __init__(self, callback: Callback, remote: Remote) -> None:
        self.callback = callback
        self.remote = remote
        self.key = uuid4().hex
        #: The code in Ray's object store, and the cluster that it is there of.
        self.stored: tuple[Any, Any] | None = None
        self.lock = Lock()

    def __reduce__(self) -> Any:
        return (Code, (self.callback, self.remote))  # a graph may itself be sent elsewhere
