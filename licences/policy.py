"""What is allowed: permissive licences and those with weak copyleft; whatever is not listed is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

#: By their identifiers in SPDX.
ALLOWED: Final = frozenset(
    {
        # permissive
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-2-Clause-Views",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "FTL",
        "HPND",
        "HPND-sell-variant",
        "ISC",
        "LicenseRef-Public-Domain",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Python-2.0",
        "TCL",
        "Unlicense",
        "Zlib",
        "bzip2-1.0.6",
        "libpng-2.0",
        "libtiff",
        # weak copyleft: their own files stay open, what uses them need not
        "CDDL-1.0",
        "EPL-2.0",
        "LGPL-2.1-only",
        "LGPL-2.1-or-later",
        "LGPL-3.0-only",
        "LGPL-3.0-or-later",
        "MPL-2.0",
    }
)


class Dependency(NamedTuple):
    """Something that is used, and its licences: expressions of SPDX, which hold all together."""

    name: str
    version: str
    licences: tuple[str, ...]

    @property
    def licence(self) -> str:
        """Return the licences in one expression."""
        several = len(self.licences) > 1
        parts = (f"({one})" if several and " OR " in one else one for one in self.licences)
        return " AND ".join(parts) or "none"


def allows(licence: str) -> bool:
    """Tell whether an expression of SPDX may be met with what is allowed.

    Parentheses are read as if OR bound closer than AND: where that is wrong, it is too strict.
    """
    terms = re.split(r"\s+AND\s+", licence.replace("(", "").replace(")", "").strip(), flags=re.IGNORECASE)
    choices = (re.split(r"\s+OR\s+", term, flags=re.IGNORECASE) for term in terms)
    return all(any(_allowed(one) for one in choice) for choice in choices)


def _allowed(identifier: str) -> bool:
    # An exception gives more rights than the licence without it.
    return re.split(r"\s+WITH\s+", identifier, flags=re.IGNORECASE)[0] in ALLOWED


def refused(dependencies: Iterable[Dependency]) -> Iterator[str]:
    """Yield a sentence on each dependency that may not be used."""
    for one in dependencies:
        if not one.licences:
            yield f"{one.name} {one.version} has no licence that can be found: do without it"
        elif not all(allows(licence) for licence in one.licences):
            yield (
                f"{one.name} {one.version} is under {one.licence}, which is not in licences/policy.py: "
                "do without it"
            )
