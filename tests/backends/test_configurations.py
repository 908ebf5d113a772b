"""The Collector accepts each configuration, and calls nothing in it deprecated."""

import re
import subprocess
from typing import Any

import pytest

from backends import places
from backends.ports import free
from backends.programs import collector_environment
from dashboards.collectors import COLLECTORS
from dashboards.stores.both import BOTH

FOLDER = places.configurations()
NAMES = ["agent", *(f"{stores.name}/{name}" for stores in BOTH for name in COLLECTORS)]


def test_all_of_them_are_tried() -> None:
    files = [path for path in FOLDER.glob("*.yaml") if path.stem != "compose"] + [*FOLDER.glob("*-*/*.yaml")]
    assert {path.relative_to(FOLDER).as_posix() for path in files} == {f"{name}.yaml" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_validate_accepts_it_with_its_defaults_and_with_ports_of_ours(name: str, tmp_path: Any) -> None:
    queue = {"OTEL_STREAM_QUEUE_DIRECTORY": str(tmp_path / "queue")}
    for environment in (queue, {**queue, **collector_environment(free())}):
        done = subprocess.run(
            [places.binary("otelcol"), "validate", f"--config={FOLDER / name}.yaml"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_listens_and_mentions_nothing_deprecated(name: str, collector: Any) -> None:
    one = collector(name).start()
    one.stop()
    log = one.log.read_text()
    assert "Everything is ready" in log
    assert [line for line in log.splitlines() if re.search("deprecated|alias", line, re.IGNORECASE)] == []
