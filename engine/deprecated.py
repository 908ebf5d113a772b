"""Keywords by the names they once had in LangGraph: they still do, with a ``DeprecationWarning``."""

from __future__ import annotations

import warnings
from typing import Any


def by_old_name(given: dict[str, Any], old: str, new: str, value: Any) -> Any:
    """Take what was given as ``old`` out of ``given``; ``value``, which was given as ``new``, goes first."""
    if old not in given:
        return value
    warnings.warn(
        f"`{old}` is an old name that is going to be removed: use `{new}`",
        DeprecationWarning,
        stacklevel=3,
    )
    found = given.pop(old)
    return found if value is None else value


def refuse_others(given: dict[str, Any], function: str) -> None:
    """Refuse what is left.

    Raises:
        TypeError: something is.
    """
    if given:
        raise TypeError(f"{function}() got an unexpected keyword argument '{next(iter(given))}'")
