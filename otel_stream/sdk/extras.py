"""What is not installed, said as what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Have imports inside, which ``what`` needs, tell of the ``extra`` of this distribution that brings them.

    Raises:
        ModuleNotFoundError: a module is missing; one sentence with the remedy.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{what} needs {error.name}, which is not installed: pip install 'otel-stream[{extra}]'.",
            name=error.name,
        ) from None
