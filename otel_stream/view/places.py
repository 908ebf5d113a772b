"""Where the viewer keeps things: its store, and how a program of the same user finds a running one."""

from __future__ import annotations

import os
import sqlite3
from html import escape
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

#: Where the data folder is, if not in the user's.
VARIABLE: Final = "OTEL_STREAM_VIEW_DATA"


class Listening(msgspec.Struct, frozen=True):
    """A running viewer. ``http`` takes telemetry, too, unless ``takes`` is false; ``grpc`` is host:port."""

    http: str
    grpc: str | None
    token: str
    pid: int
    takes: bool = True

    @property
    def link(self) -> str:
        """The page, with the token where no server and no log sees it."""
        return f"{self.http}/#t={self.token}"


def data_folder() -> Path:
    """Return the folder of the user's data."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_data_path("otel-stream") / "view")


class Taken(RuntimeError):
    """Another viewer writes into this folder."""


class Claim:
    """The right to write into a folder, held until it is released or the process ends.

    Raises:
        Taken: another process has it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite locks files on every system, and the lock of a process that was killed is gone.
        self._lock = sqlite3.connect(folder / "lock", isolation_level=None, timeout=0)
        try:
            self._lock.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            self._lock.close()
            raise Taken(f"another viewer writes into {str(folder)!r}") from None

    def release(self) -> None:
        """Let another have it."""
        self._lock.close()


def announce(folder: Path, listening: Listening) -> None:
    """Tell other programs of this user, and nobody else, where the viewer is."""
    _private(folder / "viewer.json", msgspec.json.encode(listening))


def announced(folder: Path) -> Listening | None:
    """Return where the viewer of a folder is, or was."""
    try:
        return msgspec.json.decode((folder / "viewer.json").read_bytes(), type=Listening)
    except (OSError, msgspec.DecodeError):
        return None


def withdraw(folder: Path) -> None:
    """Say that there is no viewer any more."""
    for name in ("viewer.json", "open.html"):
        (folder / name).unlink(missing_ok=True)


def opening(folder: Path, listening: Listening) -> Path:
    """Return a file that leads a browser to the page: its link is in no list of processes."""
    path = folder / "open.html"
    link = escape(listening.link, quote=True)
    _private(
        path, f'<!doctype html><meta http-equiv="refresh" content="0;url={link}"><title>…</title>'.encode()
    )
    return path


def _private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(content)
