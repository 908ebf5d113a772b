"""Where the tests of others come from: source distributions, downloaded once.

They are kept in a cache outside the repository, and unpacked into a temporary folder for each run. Nothing of
them is in the repository but names.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class SourceMissingError(Exception):
    """The source distribution is not in the cache and could not be downloaded."""


class Source(NamedTuple):
    """A source distribution, and the one version whose tests we know."""

    project: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """What it calls its folder."""
        return f"{self.project.replace('-', '_')}-{self.version}"

    def cached(self) -> Path:
        """Return its file, downloaded if need be.

        Raises:
            SourceMissingError: It is not there, or is not the one whose tests we know.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-stream"
        file = cache / f"{self.name}.tar.gz"
        if not file.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                self._download(Path(folder))
                (Path(folder) / file.name).replace(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise SourceMissingError(
                f"{file} has SHA-256 {digest}, not {self.sha256}: remove it and run again"
            )
        return file

    def _download(self, folder: Path) -> None:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--no-binary", self.project, "--dest", str(folder), f"{self.project}=={self.version}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            problem = done.stderr.strip()[-500:]
            raise SourceMissingError(f"pip could not download {self.project} {self.version}: {problem}")

    def unpack(self, folder: Path, wanted: Callable[[str], bool]) -> None:
        """Lay those files into ``folder`` whose path, from the project's root, is ``wanted``."""
        with tarfile.open(self.cached()) as source:
            for member in source.getmembers():
                path = member.name.removeprefix(f"{self.name}/")
                if member.isfile() and path != member.name and wanted(path):
                    member.name = path
                    source.extract(member, folder, filter="data")
