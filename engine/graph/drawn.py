"""What a drawing is made of, whatever it is drawn as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class DrawnNode(NamedTuple):
    """``data`` is what was given to ``add_node``; None of the start and the end."""

    id: str
    name: str
    data: Any
    metadata: Mapping[str, Any] | None = None


class Edge(NamedTuple):
    """``data`` is the label of a conditional edge that isn't just its target."""

    source: str
    target: str
    data: str | None = None
    conditional: bool = False
