"""The page in a real browser: not in ``make test``; ``make test-page`` brings one and names this folder."""

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "otel_stream" / "view" / "page"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    return None if any(path == HERE or HERE in path.parents for path in named) else True


@pytest.fixture(scope="session")
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "there is no Chromium: make test-page installs Debian's, or CHROMIUM=/path/to/it"
    assert (PAGE / "node_modules" / "playwright-core").is_dir(), "make test-page installs what drives it"
    return found


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: ``OTEL_STREAM_PICTURES=docs/images/view`` renews those of the documentation."""
    asked = os.environ.get("OTEL_STREAM_PICTURES")
    folder = ROOT / asked if asked else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
