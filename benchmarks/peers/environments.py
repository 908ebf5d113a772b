"""A virtual environment for each peer in the user's cache, with exactly the versions of its lock file.

Their dependencies exclude each other, so they can't share one. An environment is built once, and again
when its lock file changes; one that was left half built is finished.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.peers.contenders import COMMON, OWN, lock

#: They come with an environment and are nobody's dependency.
INSTALLERS = ("pip", "setuptools")


def cache() -> Path:
    """Return the folder of the environments; ``OTEL_STREAM_PEERS_HOME`` names another one."""
    chosen = os.environ.get("OTEL_STREAM_PEERS_HOME")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "otel-stream" / "peers"


def python(environment: str) -> Path:
    """Return the interpreter of an environment, built or not."""
    if environment == OWN:
        return Path(sys.executable)
    folder = "Scripts" if os.name == "nt" else "bin"
    return cache() / environment / folder / "python"


def is_built(environment: str) -> bool:
    """Say whether an environment is there with what its lock file asks for."""
    stamp = _stamp(environment)
    return environment == OWN or (stamp.is_file() and stamp.read_text() == _wanted(environment))


def build(environment: str) -> str | None:
    """Build an environment; return why it could not be built, in one line, or None.

    Has no time limit: installing takes as long as the network does. Interrupted, it goes on next time.
    """
    if is_built(environment):
        return None
    wanted = ("--no-deps", "--requirement", str(lock(environment)))
    return _make(environment) or _install(environment, wanted) or _finish(environment)


def resolve(environment: str, requires: Iterable[str]) -> str | None:
    """Write the lock file of an environment from what it has to have; return why not, or None."""
    place = cache() / environment
    shutil.rmtree(place, ignore_errors=True)
    reason = _make(environment) or _install(environment, (*COMMON, *requires))
    if reason:
        return reason
    # Read with this interpreter: the environment has a pip only if uv was not there to make it.
    folders = [str(folder) for folder in place.rglob("site-packages")]
    found = {one.metadata["Name"]: one.version for one in distributions(path=folders)}
    pins = (f"{name}=={version}" for name, version in found.items() if name not in INSTALLERS)
    kept = sorted(pins, key=lambda pin: pin.lower().replace("=", " "))
    lock(environment).write_text("\n".join(kept) + "\n")
    return _finish(environment)


def _make(environment: str) -> str | None:
    made = cache() / environment / "made"
    if not made.is_file():
        try:
            venv.create(made.parent, with_pip=shutil.which("uv") is None, clear=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return str(error)
        made.touch()
    return None


def _install(environment: str, wanted: Iterable[str]) -> str | None:
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--python", str(python(environment))]
    else:
        command = [str(python(environment)), "-m", "pip", "install", "--no-warn-script-location"]
    done = subprocess.run([*command, "--quiet", *wanted], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["the installer failed"]
    return next((line for line in reversed(lines) if line.lower().startswith("error")), lines[-1])[:200]


def _finish(environment: str) -> None:
    _stamp(environment).write_text(_wanted(environment))


def _stamp(environment: str) -> Path:
    return cache() / environment / "built"


def _wanted(environment: str) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{version} {hashlib.sha256(lock(environment).read_bytes()).hexdigest()}\n"
