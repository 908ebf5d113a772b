"""A Ray cluster: the one that RAY_ADDRESS names, else one of this process, on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: make test-ray does it")

from engine.executors.ray import close_workers  # noqa: E402

ROOT = Path(__file__).parents[3]


def joined() -> None:
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
