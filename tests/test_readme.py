"""What the README shows, runs."""

import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_readme_has_an_example() -> None:
    assert PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS, ids=range(1, len(PROGRAMS) + 1))
def test_an_example_of_the_readme_runs_as_it_stands(program: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout, "an example shows something"
    assert done.stderr == ""


def test_every_link_and_picture_leads_somewhere_from_wherever_the_readme_is_shown() -> None:
    relative = re.findall(r"\]\((?!https?://|#)([^)]+)\)", README)
    assert relative
    assert [path for path in relative if not (ROOT / path).exists()] == []
    shown = str(metadata("otel-stream")["Description"] or metadata("otel-stream").get_payload())  # type: ignore[attr-defined]
    assert "# otel-stream" in shown
    targets = re.findall(r"\]\(([^)]+)\)", shown)
    assert len(targets) == len(re.findall(r"\]\(([^)]+)\)", README))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []


def test_the_program_is_also_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "otel_stream", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert "Usage: otel-stream" in done.stdout
