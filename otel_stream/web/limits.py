"""How much of everything a server of runs takes upon itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds; what is beyond them is refused by a status that says so, or told as a gap."""

    #: Bytes of a request's body.
    request_bytes: int = 1 << 20
    #: Seconds that a request's body may take to come.
    request_seconds: float = 30.0
    #: Events of one run that are kept for who comes late or comes back, and their bytes.
    events: int = 10_000
    event_bytes: int = 16 << 20
    #: Runs in progress; runs that have ended and can still be read, and the bytes of all their events.
    active_runs: int = 100
    ended_runs: int = 200
    ended_bytes: int = 256 << 20
    #: Threads that are remembered besides what checkpointers keep.
    threads: int = 10_000
    #: Bytes of what clients say of a thread, as JSON.
    metadata_bytes: int = 16 << 10
    #: Who reads at the same time: all runs, and one.
    subscribers: int = 1000
    subscribers_per_run: int = 256
    #: Seconds: between two signs of life, until who takes nothing is left, and that a stream may last.
    heartbeat: float = 5.0
    send_timeout: float = 15.0
    stream_seconds: float = 3600.0
