"""Go modules: those of which a package is linked into a backend that is built here."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from licences.policy import Dependency
from licences.recognition import recognised, texts


def linked(folder: Path, package: str, tags: str = "") -> Iterator[Mapping[str, Any]]:
    """Yield the packages that ``package`` is built of, as ``go list`` has them, without the standard library.

    Raises:
        OSError: there is no Go.
        subprocess.CalledProcessError: ``folder`` does not hold the module that the package is built with.
    """
    command = ["go", "list", "-mod=readonly", "-deps", "-json=Dir,Standard,Module", f"-tags={tags}", package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(  # noqa: S603 - go, with arguments of ours
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    decoder, text = json.JSONDecoder(), done.stdout.strip()
    while text:
        one, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
        if not one.get("Standard"):
            yield one


def dependencies(packages: Iterable[Mapping[str, Any]]) -> list[Dependency]:
    """Return the licences of the modules of these packages, those of single packages among them."""
    files: dict[tuple[str, str], set[Path]] = {}
    for package in packages:
        module = package["Module"]
        if not module.get("Main"):
            name = (str(module["Path"]), str(module["Version"]))
            files.setdefault(name, set()).update(_above(Path(package["Dir"]), Path(module["Dir"])))
    known = recognised(file for found in files.values() for file in found)
    return sorted(
        Dependency(name, version, tuple(dict.fromkeys(one for file in sorted(found) for one in known[file])))
        for (name, version), found in files.items()
    )


def _above(folder: Path, module: Path) -> Iterator[Path]:
    """Yield the texts of licences in a package's folder, and in those above it up to its module's."""
    yield from texts(folder)
    if folder != module:
        yield from _above(folder.parent, module)
