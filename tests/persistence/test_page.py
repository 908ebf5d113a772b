"""What docs/persistence.md shows, runs, and prints what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "persistence.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.xdist_group("postgres"), pytest.mark.timeout(300)]


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=range(1, len(PROGRAMS) + 1))
def test_an_example_of_the_page_runs_as_it_stands(places, program, printed, tmp_path):
    file = tmp_path / "example.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, "DATABASE_URL": places["postgres"]},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert printed in ("", done.stdout)
