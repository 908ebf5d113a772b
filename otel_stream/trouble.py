"""Errors of foreign code, as a log line may name them.

The text of an error may quote whatever the code was given, and logs go further than the data itself: so a
line says which class of error it is, and where it was raised. Whoever is concerned gets the error itself.
"""

from __future__ import annotations

from pathlib import PurePath


def placed(error: BaseException) -> str:
    """Return the class of ``error`` and the place that raised it: ``"KeyError in keep (app.py:12)"``, say."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    trace = error.__traceback__
    if trace is None:
        return name
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{name} in {code.co_name} ({PurePath(code.co_filename).name}:{trace.tb_lineno})"
