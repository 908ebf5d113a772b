"""Measuring memory: in a process of its own, since what a process once had it seldom gives back."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_STATM = Path("/proc/self/statm")


def resident() -> float:
    """Return how much memory this process has now, in MB; if the system can't say, the most it ever had."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


class Growth:
    """By how much this process has grown at most since it was made, in MB, as far as anybody looked."""

    def __init__(self) -> None:
        gc.collect()
        self._before = resident()
        self.most = 0.0

    def look(self) -> None:
        """Look now."""
        self.most = max(self.most, resident() - self._before)


def apart(module: str, *arguments: str) -> dict[str, Any]:
    """Run ``module`` in a process of its own and return the JSON that it prints.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
