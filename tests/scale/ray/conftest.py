"""A Ray cluster: the one that RAY_ADDRESS names, else one of this process, on loopback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: make test-ray does it")

from engine.executors.ray import close_workers  # noqa: E402

ROOT = Path(__file__).parents[3]


def joined() -> None:
    """Join the cluster, or have one. A node gives up after thirty seconds, which a busy machine may need."""
    for tries_left in (2, 1, 0):
        try:
            _join()
        except Exception as failure:
            ray.shutdown()
            if not tries_left:
                raise
            print(f"Ray did not start, and is tried again: {failure}", file=sys.stderr)
        else:
            return


def _join() -> None:
    if ray.is_initialized():
        return
    elsewhere = os.environ.get("RAY_ADDRESS")
    own = {} if elsewhere else {"num_cpus": 4, "include_dashboard": False, "object_store_memory": 300_000_000}
    ray.init(
        address=elsewhere,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        **own,
    )


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    joined()
    yield
    close_workers()
    ray.shutdown()
