"""Backends as containers, by docker compose."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from otel_stream.cli.backends import places
from otel_stream.cli.backends.errors import BackendsError
from otel_stream.cli.backends.ports import Ports

#: Seconds that docker may take to say that it is there.
_PATIENCE = 10


def is_there() -> bool:
    """Tell whether docker compose is installed and its daemon answers."""
    if shutil.which("docker") is None:
        return False
    return all(_answers(["docker", *arguments]) for arguments in (("compose", "version"), ("info",)))


def _answers(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def environment(ports: Ports, collector: str) -> dict[str, str]:
    """Return the variables of ``collector-config/compose.yaml``: ports on loopback, and the configuration."""
    variables = {
        f"OTEL_STREAM_PORT_{name.upper().replace('-', '_')}": str(port) for name, port in ports.items()
    }
    return {**variables, "OTEL_STREAM_COLLECTOR": collector}


def compose(*arguments: str, variables: Mapping[str, str] | None = None) -> None:
    """Run docker compose with our file; it prints what it does.

    Raises:
        BackendsError: it failed.
    """
    file = places.configurations() / "compose.yaml"
    command = ["docker", "compose", "--file", str(file), *arguments]
    try:
        code = subprocess.run(command, env={**os.environ, **(variables or {})}, check=False).returncode  # noqa: S603
    except OSError as error:
        raise BackendsError(f"docker cannot be run ({error.strerror}): install it, or use --native") from None
    if code:
        raise BackendsError(
            f"docker compose {arguments[0]} failed with exit code {code}: see what it says above"
        )
