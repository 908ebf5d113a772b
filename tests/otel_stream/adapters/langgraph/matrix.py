"""Runs the tests beside this file with other versions of LangGraph, each in an environment of its own.

    python -m tests.otel_stream.adapters.langgraph.matrix 1.0.0 newest
    python -m tests.otel_stream.adapters.langgraph.matrix --pre

Environments are made once and kept in the cache; those of ``newest`` and of pre-releases are looked at again
each time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.environments import ROOT, install

HERE = Path(__file__).parent
TESTS = ("test_events", "test_instrumentor", "test_receivers", "test_telemetry", "test_versions")
#: The oldest we support, one of each minor, and whatever is newest.
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "newest")
#: What the tests need besides.
TOOLS = (
    "pytest",
    "pytest-timeout",
    "hypothesis",
    "pytest-mock",
    "anyio",
    "trio",
    "pyyaml",
    "openai",
    "anthropic",
)
NEWEST, NEXT = "newest", "next"


def environment(version: str) -> Path:
    """Return the Python of an environment with ``version``, made or brought up to date."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-stream" / "langgraph"
    python = cache / version / "bin" / "python"
    if not python.exists():
        venv.create(cache / version, with_pip=True)
    elif version not in (NEWEST, NEXT):
        return python
    wanted = {NEWEST: "langgraph>=1,<2", NEXT: "langgraph>=1"}.get(version, f"langgraph=={version}")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(_constraints())
        constraints.flush()
        install(
            str(python),
            *([_pre(), "--upgrade"] if version == NEXT else ["--upgrade"] if version == NEWEST else []),
            wanted,
            *TOOLS,
            *("--constraint", constraints.name, "--editable", f"{ROOT}[langgraph,otlp]"),
        )
    return python


def _pre() -> str:
    """Return how whoever installs is told to take pre-releases."""
    return "--prerelease=allow" if shutil.which("uv") else "--pre"


def _constraints() -> str:
    """Return our pins, but for what comes with LangGraph."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return "\n".join(line for line in lines if not re.match(r"lang|ormsgpack|xxhash|pydantic", line))


def tested(version: str) -> bool:
    """Run the tests with ``version``; return whether all pass."""
    python = environment(version)
    asked = "import importlib.metadata as m; print(m.version('langgraph'))"
    found = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
    print(f"== LangGraph {found} ({version})", flush=True)
    files = [str(HERE / f"{name}.py") for name in TESTS]
    return (
        subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files], cwd=ROOT, check=False
        ).returncode
        == 0
    )


def main(*asked: str) -> int:
    versions = (NEXT,) if asked == ("--pre",) else asked or VERSIONS
    failed = [version for version in versions if not tested(version)]
    print(f"failed with: {', '.join(failed)}" if failed else "all pass")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
