"""Names as metrics tell them apart: so many, and so long.

Whatever a user's input can vary without bound, be it the name of a graph or the class of an error, would
fill the memory of this process and of whoever stores its metrics. So the first ones keep their names, and
all that come later are counted together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from otel_stream.encoding import clean

#: What all are called that are not told apart.
OTHER: Final = "other"
#: Graphs, and nodes of graphs, that are told apart; classes of errors; stream modes of a program's own.
GRAPHS: Final = 1000
NODES: Final = 1000
ERRORS: Final = 200
MODES: Final = 100
#: Longest name, in characters.
LONGEST: Final = 200


class Names:
    """A set of names that is full at ``most``, those ``known`` beforehand not counted. From any thread."""

    def __init__(self, most: int, known: Iterable[str] = ()) -> None:
        self._known = set(known)
        self._most = most + len(self._known)

    def __call__(self, name: str) -> str:
        """Return what ``name`` is called in metrics."""
        if name in self._known:
            return name
        name = short(name)
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


def short(name: str) -> str:
    """Return a name in Unicode, and no longer than names are."""
    return clean(name[:LONGEST])
