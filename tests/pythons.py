"""The suite on every other Python that is here: ``make test-pythons``.

Looks for each Python that we say we run on, on the path and among pyenv's. Each that is found gets an
environment, made once; one that is not is named, and is no failure: no project file can bring an interpreter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from release.pythons import ADVERTISED
from release.pythons import found as found_of

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".venv" / "pythons"
#: What differs between Pythons is how code runs; files and their generators are the same.
RUNS = ("tests/engine", "tests/otel_stream", "tests/lifecycle", "tests/truth")


def main() -> int:
    """Run the tests on the Pythons that are asked for; without arguments on all but this one."""
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"the whole suite instead of {', '.join(RUNS)}")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"some of {', '.join(ADVERTISED)}")
    asked = parser.parse_args()
    unknown = [version for version in asked.versions if version not in ADVERTISED]
    if unknown:
        parser.error(f"{unknown[0]!r} is not advertised; choose from {', '.join(ADVERTISED)}")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    versions = asked.versions or [version for version in ADVERTISED if version != here]
    found = {version: found_of(version) for version in versions}
    missing = [version for version, python in found.items() if python is None]
    failed = [
        version
        for version, python in found.items()
        if python is not None and not _passes(version, python, () if asked.all else RUNS)
    ]
    print(f"passed on {len(found) - len(missing) - len(failed)} of {len(found)} Pythons", flush=True)
    for version in (*missing, *failed):
        print(f"Python {version}: {'failed' if version in failed else 'not here, so not run'}", flush=True)
    return 1 if failed or (missing and asked.versions) else 0


def _passes(version: str, python: str, tests: tuple[str, ...]) -> bool:
    print(f"== Python {version}: {python}", flush=True)
    venv = HOME / version
    make = ["make", "test", f"VENV={venv}", f"PYTHON={python}", f"ARGS=-p no:cacheprovider {' '.join(tests)}"]
    return subprocess.run(make, cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
