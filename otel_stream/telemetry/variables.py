"""Variables of the environment as OpenTelemetry's specification has them.

Source: *Environment Variable Specification*, "Parsing empty value" and "Numeric". Empty is unset; what
can't be read as a number is told and ignored, and never stops a program.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

_logger = logging.getLogger("otel_stream.telemetry")


def variable(environ: Mapping[str, str], name: str) -> str:
    """Return the value of a variable, without the blanks around it; "" if it is not set or empty."""
    return environ.get(name, "").strip()


def service_name_of(environ: Mapping[str, str]) -> str:
    """Return the name of the service that the environment gives, "" if it gives none.

    ``OTEL_SERVICE_NAME`` wins over the attribute in ``OTEL_RESOURCE_ATTRIBUTES``, as the specification says.
    """
    name = variable(environ, "OTEL_SERVICE_NAME")
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = pair.partition("=")
        if not name and key.strip() == "service.name":
            name = value.strip()
    return name


def number(environ: Mapping[str, str], name: str, default: float, *, zero: bool = False) -> float:
    """Return a variable that is a number above 0, or 0 if ``zero`` may be; else ``default``."""
    given = variable(environ, name)
    if not given:
        return default
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if 0 < found < float("inf") or (zero and found == 0):
        return found
    return _ignored(name, given, "a number, 0 or more" if zero else "a number above 0", default)


def truth(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return a variable that is ``true`` or ``false``, in whatever case; else ``default``."""
    given = variable(environ, name).lower()
    if given not in ("", "true", "false"):
        _tell(name, given, default, "true or false")
    return given == "true" if given in ("true", "false") else default


def whole_number(environ: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    """Return a variable that is a whole number, ``least`` or more, or ``default``."""
    given = variable(environ, name)
    if not given:
        return default
    try:
        found = int(given)
    except ValueError:
        found = least - 1
    if found >= least:
        return found
    return int(_ignored(name, given, f"a whole number, {least} or more", default))


def _ignored(name: str, given: str, wanted: str, default: float) -> float:
    _tell(name, given, f"{default:g}", wanted)
    return default


def _tell(name: str, given: str, used: object, wanted: str) -> None:
    warn_once(_logger, "%s=%r is ignored and %s is used: give %s.", name, given, used, wanted)


@cache
def warn_once(logger: logging.Logger, message: str, *arguments: object) -> None:
    """Say something about a variable once, though each signal reads it."""
    logger.warning(message, *arguments)
