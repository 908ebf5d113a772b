"""What one program exported, and what its receivers were shown meanwhile."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_stream.encoding import decode

ROOT = Path(__file__).parents[3]


class Recorded(NamedTuple):
    """``lines``: OTLP JSON; ``live``: the parts as JSON, by run."""

    path: Path
    lines: list[str]
    live: dict[str, list[bytes]]


def record(folder: Path, *words: str, **environment: str) -> Recorded:
    path = folder / f"{'-'.join(words)}.jsonl"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("program.py")), str(path), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **environment},
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr.decode()
    live: dict[str, list[bytes]] = {}
    for line in done.stdout.splitlines():
        live.setdefault(decode(line)["run_id"], []).append(line)
    return Recorded(path, path.read_text().splitlines(), live)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    # What never waits for company is not put together with it: one record for one log event.
    alone = {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "1"}
    return record(tmp_path_factory.mktemp("replay"), "content", "chunks", **alone)


@pytest.fixture(scope="session")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("replay"), "content", "small")


@pytest.fixture(scope="session")
def summarised(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("replay"), "summaries")
