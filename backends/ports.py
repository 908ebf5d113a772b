"""Which port each listener has; all of them on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

from backends.errors import BackendsError, WrongOptionError

LOOPBACK = "127.0.0.1"

#: Ports that people and their programs use.
PUBLIC = {"grpc": 4317, "http": 4318, "jaeger": 16686, "victorialogs": 9428, "prometheus": 9090}
#: Ports by which the backends talk to each other, or say how they are.
INTERNAL = {
    "health": 13133,
    "metrics": 8888,
    "shard": 4319,
    "jaeger-otlp": 24317,
    "jaeger-grpc": 16685,
    "jaeger-health": 13134,
}
DEFAULTS: Mapping[str, int] = {**PUBLIC, **INTERNAL}

Ports = dict[str, int]


def choose(changes: Iterable[str]) -> Ports:
    """Return all ports, with changes such as ``jaeger=26686``.

    Raises:
        BackendsError: a change names no listener or no port, or two listeners share a port.
    """
    ports = dict(DEFAULTS)
    for change in changes:
        name, _, number = change.partition("=")
        if name not in ports:
            raise WrongOptionError(f"--port: {change!r} names no listener: use one of {', '.join(DEFAULTS)}")
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise WrongOptionError(
                f"--port: {change!r} gives no port: use a number, such as {name}={DEFAULTS[name] + 10000}"
            )
        ports[name] = int(number)
    users: dict[int, str] = {}
    for name, port in ports.items():
        if port in users:
            raise WrongOptionError(
                f"--port: {users[port]} and {name} share port {port}: give one of them another"
            )
        users[port] = name
    return ports


def free() -> Ports:
    """Return a port for each listener that nobody uses at this moment.

    They are below those that systems give to connections by themselves: none of these takes one meanwhile.
    """
    tried = random.SystemRandom().sample(range(10_000, 32_000), 200)
    found = (port for port in tried if not is_taken(port))
    return dict(zip(DEFAULTS, found, strict=False))


def is_taken(port: int) -> bool:
    """Tell whether something listens there."""
    with socket.socket() as listener:
        # As servers do: what a closed connection leaves behind is no listener.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def require_free(ports: Mapping[str, int]) -> None:
    """Check that nothing listens on any of these ports.

    Raises:
        BackendsError: something does; names the first.
    """
    for name, port in ports.items():
        if is_taken(port):
            raise BackendsError(
                f"port {port}, which is for {name}, is in use: stop what listens there, "
                f"or choose another with --port {name}={port + 10000 if port < 50000 else port - 10000}"
            )
