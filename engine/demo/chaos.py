"""Failures on purpose, the same ones for the same seed.

Whether an attempt fails depends on nothing but the seed, the node, what the node works on and the
number of the attempt: never on time, threads or the order in which nodes happen to run.
"""

from __future__ import annotations

import threading
from collections import Counter
from hashlib import blake2b


class ChaosError(RuntimeError):
    """A failure that was asked for with ``--chaos``."""


class Chaos:
    """Makes a share ``rate`` (0 to 1) of all attempts fail.

    The last of ``attempts`` is spared, so that a run with chaos comes to the same result as one
    without; with ``rate`` 1 it is not, so that one can see a run fail. One object serves one run:
    it counts attempts.
    """

    def __init__(self, rate: float = 0.0, seed: int = 0, *, attempts: int = 4) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(
                f"chaos rate {rate} is not between 0 and 1: give the share of attempts that fail."
            )
        self.rate = rate
        self.seed = seed
        self.attempts = attempts
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def fails(self, node: str, subject: str, attempt: int) -> bool:
        """Whether attempt number ``attempt`` (from 1) of ``node`` at ``subject`` fails."""
        if self.rate < 1 and attempt >= self.attempts:
            return False
        key = f"{self.seed}\0{node}\0{subject}\0{attempt}".encode(errors="surrogateescape")
        return int.from_bytes(blake2b(key, digest_size=8).digest()) < self.rate * 2**64

    def strike(self, node: str, subject: str) -> None:
        """Note one more attempt of ``node`` at ``subject``, and raise if it is one that fails.

        Raises:
            ChaosError: this attempt fails.
        """
        if not self.rate:
            return
        with self._lock:
            self._seen[node, subject] += 1
            attempt = self._seen[node, subject]
        if self.fails(node, subject, attempt):
            raise ChaosError(f"chaos: attempt {attempt} of {node} at {subject} fails (seed {self.seed})")
