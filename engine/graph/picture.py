"""A drawing as a picture: of text, as SVG and as PNG. Nothing is asked of a service; PNG wants Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from .drawn import DrawnNode, Edge
from .layout import Box, Layout, Link, Point, lay_out

_FILL: Final = "#f2f0ff"
_LINE: Final = "#5f4b8b"
_FONT: Final = 14
_PAD: Final = 12


def _links(edges: Sequence[Edge]) -> dict[Link, Edge]:
    return {(edge.source, edge.target): edge for edge in edges}


def _shown(node: DrawnNode) -> str:
    return _printable(node.name)


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _labels(links: Mapping[Link, Edge]) -> list[str]:
    return [_printable(str(edge.data)) for edge in links.values() if edge.data is not None]


# -- text ------------------------------------------------------------------------------------------


def as_text(nodes: Mapping[str, DrawnNode], edges: Sequence[Edge]) -> str:
    """Return boxes and lines of letters: ``*`` where a run always goes on, ``.`` where it may."""
    links = _links(edges)
    plan = lay_out(nodes, links, lambda one: len(_shown(nodes[one])) + 4, 3, (3, 3))
    rows = [[" "] * (plan.width + 1) for _ in range(plan.height)]
    for link, route in plan.routes.items():
        letter = "." if links[link].conditional else "*"
        for one, other in pairwise(route):
            for x, y in _between(one, other):
                rows[y][x] = letter
    for id, box in plan.boxes.items():
        _draw_box(rows, box, _shown(nodes[id]))
    return "\n".join("".join(row).rstrip() for row in rows)


def _draw_box(rows: list[list[str]], box: Box, name: str) -> None:
    left, top = box.x - box.width // 2, box.y - 1
    edge = f"+{'-' * (box.width - 2)}+"
    for y, line in ((top, edge), (top + 1, f"| {name} |"), (top + 2, edge)):
        rows[y][left : left + box.width] = line


def _between(one: Point, other: Point) -> Iterator[Point]:
    (x, y), (to_x, to_y) = one, other
    steps = max(abs(to_x - x), abs(to_y - y), 1)
    for step in range(steps + 1):
        yield x + (to_x - x) * step // steps, y + (to_y - y) * step // steps


# -- SVG -------------------------------------------------------------------------------------------


def as_svg(nodes: Mapping[str, DrawnNode], edges: Sequence[Edge]) -> str:
    """Return an SVG image."""
    links = _links(edges)
    plan = lay_out(nodes, links, lambda one: len(_shown(nodes[one])) * 9 + 2 * _PAD, 36, (32, 48))
    return "".join(_svg(plan, nodes, links))


def _svg(plan: Layout, nodes: Mapping[str, DrawnNode], links: Mapping[Link, Edge]) -> Iterator[str]:
    side = _PAD + max((len(label) * 9 // 2 for label in _labels(links)), default=0)
    width, height = plan.width + 2 * side, plan.height + 2 * _PAD
    box, size = f"{-side} {-_PAD} {width} {height}", f'width="{width}" height="{height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {size} font-family="sans-serif" '
    yield f'font-size="{_FONT}" text-anchor="middle"><defs><marker id="tip" viewBox="0 0 8 8" refX="8" '
    yield 'refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    yield f'<path d="M0 0L8 4L0 8z" fill="{_LINE}"/></marker></defs>'
    for link, route in plan.routes.items():
        points = " ".join(f"{x},{y}" for x, y in route)
        dashes = ' stroke-dasharray="4 4"' if links[link].conditional else ""
        yield f'<polyline points="{points}" fill="none" stroke="{_LINE}" marker-end="url(#tip)"{dashes}/>'
        if links[link].data is not None:
            x, y = _middle(route)
            yield f'<text x="{x}" y="{y}">{escape(_printable(str(links[link].data)))}</text>'
    for id, at in plan.boxes.items():
        place = f'x="{at.x - at.width // 2}" y="{at.y - at.height // 2}" width="{at.width}"'
        yield f'<rect {place} height="{at.height}" rx="6" fill="{_FILL}" stroke="{_LINE}"/>'
        yield f'<text x="{at.x}" y="{at.y + _FONT // 3}">{escape(_shown(nodes[id]))}</text>'
    yield "</svg>"


def _middle(route: Sequence[Point]) -> Point:
    at = (len(route) - 1) // 2
    (x, y), (to_x, to_y) = route[at], route[at + 1]
    return (x + to_x) // 2, (y + to_y) // 2


# -- PNG -------------------------------------------------------------------------------------------


def as_png(
    nodes: Mapping[str, DrawnNode], edges: Sequence[Edge], background: str | None, padding: int
) -> bytes:
    """Return a PNG image.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "A PNG is drawn here with Pillow, which is not installed: pip install pillow; draw_svg(), "
            "draw_ascii() and draw_mermaid() need nothing"
        ) from error
    links, font = _links(edges), ImageFont.load_default(_FONT)
    plan = lay_out(nodes, links, lambda one: int(font.getlength(_shown(nodes[one]))) + 2 * _PAD, 36, (32, 48))
    side = padding + max((int(font.getlength(label)) // 2 for label in _labels(links)), default=0)
    size = plan.width + 2 * side + 1, plan.height + 2 * padding + 1
    image = Image.new("RGBA", size, background or (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)

    def moved(x: float, y: float) -> tuple[float, float]:
        return x + side, y + padding

    for link, route in plan.routes.items():
        dots = [point for one, other in pairwise(route) for point in _between(one, other)]
        shown = [point for at, point in enumerate(dots) if not links[link].conditional or at % 8 < 4]
        pen.point([moved(*point) for point in shown], fill=_LINE)
        (x, y), down = route[-1], route[0][1] < route[-1][1]
        back = y - 7 if down else y + 7
        pen.polygon([moved(x, y), moved(x - 4, back), moved(x + 4, back)], fill=_LINE)
        if links[link].data is not None:
            pen.text(
                moved(*_middle(route)),
                _printable(str(links[link].data)),
                fill="black",
                font=font,
                anchor="mm",
            )
    for id, at in plan.boxes.items():
        corners = [moved(at.x - at.width // 2, at.y - 18), moved(at.x + at.width // 2, at.y + 18)]
        pen.rounded_rectangle(corners, 6, fill=_FILL, outline=_LINE)
        pen.text(moved(at.x, at.y), _shown(nodes[id]), fill="black", font=font, anchor="mm")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
