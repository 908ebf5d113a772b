"""Which version this is: said once, in ``otel_stream/__init__.py``, and cut into the changelog from there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

from release.artefacts import ROOT

SOURCE: Final = ROOT / "otel_stream" / "__init__.py"
CHANGELOG: Final = ROOT / "CHANGELOG.md"
_SAID: Final = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_UNRELEASED: Final = "## [Unreleased]\n"


class CutError(Exception):
    """The changelog can't be cut: says why."""


def current(source: str) -> str:
    """Return the version that the text of the one file says."""
    (said,) = _SAID.findall(source)
    return str(said)


def cut(changelog: str, source: str, version: str, date: str) -> tuple[str, str]:
    """Return changelog and source of ``version``: what is unreleased becomes its own, of ``date``.

    Raises:
        CutError: the version is none, is in the changelog already, or is older than the last one; or nothing
            has changed.
    """
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise CutError(f"{version!r} is no version; give one such as 0.2.0") from None
    released = re.findall(r"^## \[(\d[^]]*)\]", changelog, re.MULTILINE)
    older = [one for one in released if Version(one) >= wanted]
    if older:
        raise CutError(
            f"{version} does not come after {older[0]}, which CHANGELOG.md has; choose a later one"
        )
    before, found, after = changelog.partition(_UNRELEASED)
    changes = after.partition("\n## [")[0]
    if not found or not re.search(r"^- ", changes, re.MULTILINE):
        raise CutError("CHANGELOG.md says of no change under [Unreleased]; write what has changed first")
    text = f"{before}{_UNRELEASED}\n## [{version}] - {date}\n{after}"
    return text, _SAID.sub(f'__version__ = "{version}"', source)


def write(version: str, date: str, changelog: Path = CHANGELOG, source: Path = SOURCE) -> None:
    """Cut the changelog, and say the version."""
    texts = cut(changelog.read_text(encoding="utf-8"), source.read_text(encoding="utf-8"), version, date)
    for path, text in zip((changelog, source), texts, strict=True):
        path.write_text(text, encoding="utf-8")
