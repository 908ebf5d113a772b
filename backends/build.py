"""``make backends``: build the pinned backends from their Go modules, once, one at a time, into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from backends import places
from backends.errors import BackendsError

Say = Callable[[str], None]

#: Seconds between two lines of progress.
_INTERVAL = 20.0


class Pin(msgspec.Struct, forbid_unknown_fields=True):
    """One binary: a table of ``backends/pins.toml``."""

    package: str
    #: CPU minutes that it takes on a machine with nothing cached.
    minutes: float
    #: The folder with go.mod and go.sum; by default that of the binary's name.
    folder: str = ""
    tags: str = ""
    ldflags: str = ""
    #: The module that generates the sources from builder.yaml, with its version.
    builder: str = ""


class Builder:
    """Builds what ``pins`` names; binaries, logs and generated sources are in ``cache``."""

    def __init__(self, pins: Path, cache: Path, say: Say) -> None:
        self._folder = pins
        self._cache = cache
        self._say = say
        table = tomllib.loads((pins / "pins.toml").read_text())
        self.pins = {name: msgspec.convert(pin, Pin) for name, pin in table.items()}

    def build(self, names: Sequence[str] = ()) -> list[str]:
        """Build what is missing or was built from other pins, of ``names`` or of all; return what was built.

        Raises:
            BackendsError: a name is unknown, Go is missing, or a build failed.
        """
        for name in names:
            if name not in self.pins:
                raise BackendsError(f"{name!r} is no backend: use one of {', '.join(self.pins)}")
        chosen = [name for name in self.pins if not names or name in names]
        missing = [name for name in chosen if not self._is_built(name)]
        if missing:
            go = _require_go()
            minutes = sum(self.pins[name].minutes for name in missing)
            self._say(
                f"Building {', '.join(missing)} into {self._cache / 'bin'}: about {minutes:.0f} CPU minutes "
                "if nothing is cached yet. Once; you may stop it at any time and start it again."
            )
            for number, name in enumerate(missing, 1):
                self._build(go, name, f"[{number}/{len(missing)}] {name}")
        return missing

    def sources(self, name: str) -> Path:
        """Return the folder of the module that ``name`` is built in; it may have to be generated first."""
        pin = self.pins[name]
        folder = self._folder / (pin.folder or name)
        return self._cache / "sources" / folder.name / "build" if pin.builder else folder

    def fingerprint(self, name: str) -> str:
        """Return a hash of everything here that decides what the binary of ``name`` is."""
        pin = self.pins[name]
        digest = hashlib.sha256(msgspec.json.encode(pin))
        for file in sorted((self._folder / (pin.folder or name)).iterdir()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()

    def _is_built(self, name: str) -> bool:
        binary = self._cache / "bin" / name
        try:
            return binary.is_file() and self._stamp(name).read_text() == self.fingerprint(name)
        except OSError:
            return False

    def _stamp(self, name: str) -> Path:
        return self._cache / "bin" / f".{name}.pins"

    def _build(self, go: str, name: str, title: str) -> None:
        pin = self.pins[name]
        folder = self._folder / (pin.folder or name)
        target = self._cache / "bin" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        log = self._cache / "logs" / f"build-{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with log.open("wb") as output:
            if pin.builder:
                folder = self._generate(go, pin.builder, folder, output)
            # Beside its place and moved there when complete: a build that is stopped leaves no half binary.
            unfinished = target.with_name(f".{name}.unfinished")
            command = [go, "build", "-v", "-trimpath", f"-ldflags=-s -w {pin.ldflags}".strip()]
            command += [f"-tags={pin.tags}"] if pin.tags else []
            self._run([*command, "-o", str(unfinished), pin.package], folder, output, title)
        self._stamp(name).unlink(missing_ok=True)
        unfinished.replace(target)
        self._stamp(name).write_text(self.fingerprint(name))
        size = target.stat().st_size / 1e6
        self._say(f"{title}: done in {time.monotonic() - started:.0f} s, {size:.0f} MB")

    def _generate(self, go: str, builder: str, pins: Path, output: IO[bytes]) -> Path:
        """Let OpenTelemetry's builder write the Collector's sources, and pin their modules with ours."""
        work = self._cache / "sources" / pins.name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        shutil.copy(pins / "builder.yaml", work)
        tools = self._cache / "tools"
        _call([go, "install", builder], work, output, {"GOBIN": str(tools)})
        program = builder.partition("@")[0].rpartition("/")[2]
        options = ["--config", "builder.yaml", "--skip-compilation", "--skip-get-modules"]
        _call([str(tools / program), *options], work, output, {})
        sources = self.sources(pins.name)
        for name in ("go.mod", "go.sum"):
            shutil.copy(pins / name, sources)
        return sources

    def _run(self, command: list[str], folder: Path, output: IO[bytes], title: str) -> None:
        """Run ``go build -v``, which prints a line per package that it compiles, and tell how far it is."""
        process = subprocess.Popen(  # noqa: S603 - go, with arguments of ours
            command, cwd=folder, env=_environment({}), stdout=output, stderr=subprocess.STDOUT
        )
        started = time.monotonic()
        try:
            while True:
                try:
                    code = process.wait(_INTERVAL)
                    break
                except subprocess.TimeoutExpired:
                    lines = Path(output.name).read_bytes().count(b"\n")
                    self._say(
                        f"{title}: {time.monotonic() - started:.0f} s, {lines:,} packages compiled or fetched"
                    )
        except BaseException:
            process.terminate()
            process.wait()
            raise
        _require_success(code, command, output)


def _call(command: list[str], folder: Path, output: IO[bytes], more: dict[str, str]) -> None:
    code = subprocess.run(  # noqa: S603 - go and the builder it installed, with arguments of ours
        command, cwd=folder, env=_environment(more), stdout=output, stderr=subprocess.STDOUT, check=False
    ).returncode
    _require_success(code, command, output)


def _environment(more: dict[str, str]) -> dict[str, str]:
    # Static binaries, and exactly the versions of go.sum, whatever a developer has set for other work.
    flags = f"{os.environ.get('GOFLAGS', '')} -mod=readonly".strip()
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": flags, "GOWORK": "off", **more}


def _require_success(code: int, command: Sequence[str], output: IO[bytes]) -> None:
    if code == 0:
        return
    output.flush()
    text = Path(output.name).read_text(errors="replace").strip()
    last = text.splitlines()[-1] if text else "nothing"
    raise BackendsError(
        f"{Path(command[0]).name} {command[1]} failed, saying: {last[:400]} (all of it: {output.name}); "
        "what was built so far is kept, so run make backends again when this is mended"
    )


def _require_go() -> str:
    go = shutil.which("go")
    if go is None:
        raise BackendsError(
            "building backends needs Go 1.26 or newer, and there is no program go on the path: "
            "install Go, or use docker (otel-stream backends up)"
        )
    return go


def build_all(names: Sequence[str], say: Say) -> list[str]:
    """Build what is missing of ``names``, or of all; see :meth:`Builder.build`."""
    return Builder(places.pins(), places.cache(), say).build(names)
