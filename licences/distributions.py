"""Python distributions: those that are needed for a requirement, as they are installed here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from licences.policy import ALLOWED, Dependency
from licences.recognition import recognised, texts

#: What people write where an identifier of SPDX should be: classifiers, and the old field.
_SPELT: Final = {
    **{identifier.lower(): identifier for identifier in ALLOWED},
    "2-clause bsd license": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mit license, apache license, version 2.0": "MIT OR Apache-2.0",  # of sqlite-vec, as its repository says
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "psfl": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu affero general public license v3 or later (agplv3+)": "AGPL-3.0-or-later",
}
#: What nobody can tell but who has read it: what its wheel holds, and why that is not all that it declares.
_READ: Final = {
    # Of the GPL is one file of its sources, tools/editors/emacs/rst.el, which its wheel has not.
    "docutils": ("LicenseRef-Public-Domain", "BSD-2-Clause", "BSD-3-Clause"),
}


class NotInstalledError(Exception):
    """A distribution that is needed is not installed here, so nothing is known of it."""


def needed(requirements: Iterable[str], root: str = "") -> Iterator[Distribution]:
    """Yield the distributions that these requirements lead to, each once, ``root`` itself left out.

    Raises:
        NotInstalledError: one is not installed.
    """
    waiting = [Requirement(text) for text in requirements]
    done: set[tuple[str, str]] = set()
    yielded = {canonicalize_name(root)}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        # "" stands for what is needed without any extra.
        extras = {extra for extra in {"", *requirement.extras} if (name, extra) not in done}
        done |= {(name, extra) for extra in extras}
        if not extras:
            continue
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            raise NotInstalledError(f"{requirement} is not installed: run make licences") from None
        waiting += [needs for needs in map(Requirement, found.requires or ()) if _applies(needs, extras)]
        if name not in yielded:
            yielded.add(name)
            yield found


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def dependencies(distributions: Iterable[Distribution]) -> list[Dependency]:
    """Return the licences of distributions: what they declare, and what the texts in them are."""
    found = {one: _texts(one) for one in distributions}
    known = recognised(file for files in found.values() for file in files)
    return sorted(
        Dependency(
            one.name,
            one.version,
            _READ.get(one.name) or _licences(_declared(one), [known[file] for file in files]),
        )
        for one, files in found.items()
    )


def _texts(found: Distribution) -> list[Path]:
    """Return the files with licences that a distribution brings beside its metadata."""
    folders = {Path(str(found.locate_file(file))).parent for file in found.files or () if _is_metadata(file)}
    return [file for folder in sorted(folders) for file in texts(folder)]


def _is_metadata(file: Path | object) -> bool:
    return ".dist-info" in str(file) or ".egg-info" in str(file)


def _declared(found: Distribution) -> tuple[str, ...]:
    metadata = found.metadata
    if expressions := metadata.get_all("License-Expression"):
        return tuple(expressions)
    classifiers = (text for text in metadata.get_all("Classifier") or () if text.startswith("License ::"))
    named = [text.rpartition(" :: ")[2] for text in classifiers if not text.endswith("OSI Approved")]
    field = "".join(metadata.get_all("License") or ()).strip()
    # A classifier such as "BSD License" says less than the field, where that is an identifier.
    if field != "UNKNOWN" and (field.lower() in _SPELT or re.fullmatch(r"[A-Za-z0-9.+() -]{1,60}", field)):
        named = [field]
    # Which two, the texts say.
    return tuple(_SPELT.get(name.lower(), name) for name in named if name != "Dual License")


def _licences(declared: tuple[str, ...], found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what is declared, and beside it what the texts are, as far as that is not the same."""
    read = dict.fromkeys(identifier for identifiers in found for identifier in identifiers)
    said = " ".join(declared)
    more = [one for one in read if one not in said and one != "unknown"]
    return (*declared, *more) if declared else tuple(read)
