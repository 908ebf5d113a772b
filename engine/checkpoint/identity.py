"""Names for checkpoints: unique everywhere, and sorted by the time they were made."""

from __future__ import annotations

import os
import threading
import time

#: From the epoch of UUIDs, 1582-10-15, to Unix's, in their unit of 100 ns.
_EPOCH = 0x01B2_1DD2_1381_4000
_lock = threading.Lock()
_last = 0
_tail = ""


def _renew() -> None:
    """Choose what tells this process from all others; a forked child must not go on with its parent's."""
    global _lock, _tail  # noqa: PLW0603
    _lock = threading.Lock()  # the parent's may have been held while it forked
    chance = int.from_bytes(os.urandom(8), "big")
    _tail = f"-{chance >> 48 & 0x3FFF | 0x8000:04x}-{chance & 0xFFFF_FFFF_FFFF:012x}"


_renew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def checkpoint_id() -> str:
    """Return a new UUID of version 6, greater as a string than any this process made before.

    LangGraph names its checkpoints the same way, so threads that both wrote to stay in order.
    """
    global _last  # noqa: PLW0603
    with _lock:
        _last = ticks = max(time.time_ns() // 100 + _EPOCH, _last + 1)
    digits = f"{ticks:015x}"
    return f"{digits[:8]}-{digits[8:12]}-6{digits[12:]}{_tail}"
