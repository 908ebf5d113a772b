"""Text for a terminal: it says what it says, and the terminal obeys none of it."""

from __future__ import annotations

from typing import Final

#: They join and part letters and emoji, and do nothing else.
_JOINERS: Final = "\u200c\u200d"


def printable(text: str, *, json: bool = False) -> str:
    """Return ``text`` as one line: what is no printable character is escaped as Python does it.

    As ``json`` does it if ``text`` is JSON, which stays what it is.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_harmless(char) else _escaped(char, json) for char in text)


def _is_harmless(char: str) -> bool:
    # Other spaces than " " aren't printable to Python; those that end lines are to terminals.
    return (
        char.isprintable()
        or char in _JOINERS
        or (char.isspace() and char >= "\xa0" and char not in "\u2028\u2029")
    )


def _escaped(char: str, json: bool) -> str:
    if not json:
        return char.encode("unicode_escape").decode()
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
