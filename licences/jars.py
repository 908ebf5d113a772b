"""Java archives that Maven has copied: by the licences that their descriptions, beside them, declare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from licences.policy import Dependency

#: What licences are called in descriptions, which have no identifiers but names of their authors' choice.
_NAMES: Final = {
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "the apache license, version 2.0": "Apache-2.0",
    "the apache software license, version 2.0": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "go license": "BSD-3-Clause",
    "mit license": "MIT",
    "public domain, per creative commons cc0": "CC0-1.0",
    "the mit license": "MIT",
}


def dependencies(folder: Path) -> list[Dependency]:
    """Return the archives in ``folder``, where their descriptions are as well, and their parents'.

    Raises:
        OSError: a description is not there.
    """
    return [_dependency(archive) for archive in sorted(folder.glob("*.jar"))]


def _dependency(archive: Path) -> Dependency:
    description = archive.with_suffix(".pom")
    root = _read(description)
    name, version = _text(root, "artifactId"), _text(root, "version") or _text(root, "parent/version")
    licences = _licences(root, description.parent)
    # Who uses it may choose from several.
    return Dependency(name, version, (" OR ".join(licences),) if licences else ())


def _licences(root: ET.Element, folder: Path) -> tuple[str, ...]:
    """Return the licences of a description, which inherits them from its parent if it has none itself."""
    own = tuple(_names(root))
    if own or root.find("{*}parent") is None:
        return own
    parent = f"{_text(root, 'parent/artifactId')}-{_text(root, 'parent/version')}.pom"
    return _licences(_read(folder / parent), folder)


def _names(root: ET.Element) -> Iterator[str]:
    for one in root.iterfind("{*}licenses/{*}license/{*}name"):
        name = (one.text or "").strip()
        yield _NAMES.get(name.lower(), name)


def _read(description: Path) -> ET.Element:
    return ET.fromstring(description.read_bytes())  # noqa: S314 - it is Maven's copy of what Maven runs


def _text(root: ET.Element, path: str) -> str:
    steps = "/".join(f"{{*}}{step}" for step in path.split("/"))
    return (root.findtext(steps) or "").strip()
