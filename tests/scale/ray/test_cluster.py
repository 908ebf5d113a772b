"""The demo of several workers, Ray nodes and processes holds what it checks: ``make cluster-demo``."""

import os
import subprocess
import sys

import pytest

from tests.scale.broker import LIBRARIES


@pytest.mark.skipif("RAY_ADDRESS" in os.environ, reason="RAY_ADDRESS names a cluster, and this starts one")
def test_runs_of_three_workers_and_two_ray_nodes_are_watched_resumed_and_traced():
    assert any(LIBRARIES.glob("kafka_2.13-*.jar")), f"there is no Kafka in {LIBRARIES}: run make test-ray"
    done = subprocess.run(
        [sys.executable, "-m", "examples.cluster", "6"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
