"""Callbacks of others who tell of nodes, too: where it is asked for, nodes are kept from them."""

from __future__ import annotations

from copy import copy
from typing import Any


class _Hidden:
    """The packages whose handlers are told of no chains, and so of no nodes."""

    packages: frozenset[str] = frozenset()


def hide_nodes_from(*packages: str) -> None:
    """Let handlers of these packages hear of no nodes in runs that begin from now on."""
    _Hidden.packages = frozenset(packages)


def hide_nodes(loop: Any) -> None:
    """Give the nodes of ``loop`` handlers that hear models and tools; the run's own are left as they are."""
    if _Hidden.packages and loop.manager is not None:
        handlers = loop.manager.inheritable_handlers
        loop.manager.inheritable_handlers = [_without_chains(one) for one in handlers]


def _without_chains(handler: Any) -> Any:
    kind = type(handler)
    if kind.__module__.partition(".")[0] not in _Hidden.packages or handler.ignore_chain:
        return handler
    # Still one of its kind, with all that it knows: those who add theirs to every manager look for that.
    deaf = copy(handler)
    deaf.__class__ = type(kind.__name__, (kind,), {"ignore_chain": True, "__module__": kind.__module__})
    return deaf
