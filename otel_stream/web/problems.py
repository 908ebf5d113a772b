"""What a request is refused with."""

from __future__ import annotations


class Problem(Exception):
    """A request that is not served: the status, and one sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
