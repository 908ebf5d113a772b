"""Ids that a program gives: shown, masked, or as a keyed hash by which they can still be told apart."""

from __future__ import annotations

import re
from typing import Final

from otel_stream.encoding import clean
from otel_stream.telemetry.options import TelemetryOptions

#: What looks like an id and nothing else: no mail address, no name with a blank in it; and in digits alone
#: nothing as long as a number to call, of a card or a document, or an address of the internet.
_OPAQUE: Final = re.compile(r"(?![0-9_.:|/-]{7,}\Z)[A-Za-z0-9_.:|/-]{1,128}")


def shown_id(text: str, where: str, options: TelemetryOptions, *, content: bool) -> str:
    """Return an id, which rules find at the path ``where``, as it may leave the process.

    Without ``content``, one that may say who or what it stands for, such as a mail address, is replaced by
    its hash: runs of one conversation still belong together.
    """
    text = clean(text)
    rules = options.redaction
    shown = text if rules is None else rules.text(text, where)
    if content or shown != text or _OPAQUE.fullmatch(text):
        return shown
    return options.pseudonym(text)
