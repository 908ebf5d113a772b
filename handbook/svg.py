"""Just enough SVG for the pictures of the handbook: boxes, words, lines; on white, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

INK: Final = "#1f2933"
GREY: Final = "#9aa5b1"
PALE: Final = "#e4e7eb"
BLUE: Final = "#0b63a5"
RED: Final = "#c0392b"
AMBER: Final = "#d9822b"
_FONT: Final = "font-family='system-ui, sans-serif'"


def box(x: float, y: float, width: float, height: float, fill: str, line: str = "none") -> str:
    """Return a rectangle."""
    place = f"x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}'"
    return f"<rect {place} rx='4' fill='{fill}' stroke='{line}'/>"


def words(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    fill: str = INK,
    anchor: str = "start",
    bold: bool = False,
) -> str:
    """Return one line of text, its baseline at ``y``."""
    weight = " font-weight='600'" if bold else ""
    return (
        f"<text x='{x:g}' y='{y:g}' {_FONT} font-size='{size}' fill='{fill}' text-anchor='{anchor}'{weight}>"
        f"{escape(text)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = INK, width: float = 1.5) -> str:
    """Return a line."""
    return (
        f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' stroke='{stroke}' stroke-width='{width:g}'/>"
    )


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return an arrow to the right or downwards."""
    head = (
        f"M{x2 - 6:g} {y2 - 4:g} L{x2:g} {y2:g} L{x2 - 6:g} {y2 + 4:g}"
        if y1 == y2
        else f"M{x2 - 4:g} {y2 - 6:g} L{x2:g} {y2:g} L{x2 + 4:g} {y2 - 6:g}"
    )
    return line(x1, y1, x2, y2) + f"<path d='{head}' fill='none' stroke='{INK}' stroke-width='1.5'/>"


def diamond(x: float, y: float, half: float, fill: str) -> str:
    """Return a diamond around a point."""
    path = f"M{x:g} {y - half:g} L{x + half:g} {y:g} L{x:g} {y + half:g} L{x - half:g} {y:g} Z"
    return f"<path d='{path}' fill='{fill}'/>"


def picture(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """Return the file of a picture; ``title`` is what somebody is read who does not see it."""
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' width='{width:g}' "
        f"height='{height:g}' role='img'>\n<title>{escape(title)}</title>\n"
        f"{box(0, 0, width, height, '#ffffff')}\n{body}\n</svg>\n"
    )
