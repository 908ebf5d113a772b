"""Runs that are killed go on in other processes, on real databases; ``make kills KILLS=100`` kills more."""

import os
import subprocess
import sys

import pytest

#: On each database; half a dozen kinds of runs share them.
KILLS = os.environ.get("KILLS", "12")

pytestmark = [pytest.mark.xdist_group("postgres"), pytest.mark.timeout(3600)]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_killed_run_ends_as_it_would_have_and_repeats_no_more_than_its_durability_says(places, database):
    done = subprocess.run(
        [sys.executable, "-m", "tests.persistence.kills", database, places[database], KILLS],
        capture_output=True,
        text=True,
        check=False,
        timeout=3500,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
