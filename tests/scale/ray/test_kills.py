"""What is killed under load costs no part, no update, no node run twice: ``KILLS=20 make test-ray``."""

import os
import subprocess
import sys

import pytest

from tests.scale.broker import LIBRARIES
from tests.scale.ray.kills import BOUND, KINDS

#: Of each kind of thing.
KILLS = int(os.environ.get("KILLS") or "1")


@pytest.mark.timeout(600 + len(KINDS) * KILLS * BOUND)
@pytest.mark.skipif("RAY_ADDRESS" in os.environ, reason="RAY_ADDRESS names a cluster, and this kills one")
def test_whatever_is_killed_under_load_the_account_adds_up():
    assert any(LIBRARIES.glob("kafka_2.13-*.jar")), f"there is no Kafka in {LIBRARIES}: run make test-ray"
    done = subprocess.run(
        [sys.executable, "-m", "tests.scale.ray.kills", str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
