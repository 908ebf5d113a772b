"""A drawing in Mermaid's language, as LangChain writes it, so that what reads the one reads the other.

Unlike LangChain's, it can be read whatever nodes are called: a label is quoted where it has to be, and a node
may be called ``end``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .drawn import DrawnNode, Edge

#: What Mermaid takes for a word of its own, however it is written.
_WORDS: Final = frozenset({"call", "class", "click", "default", "end", "graph", "href", "style", "subgraph"})
_PLAIN: Final = re.compile(r"[\w .,+-]*", re.ASCII)
_STYLES: Final = {
    "default": "fill:#f2f0ff,line-height:1.2",
    "first": "fill-opacity:0",
    "last": "fill:#bfb6fc",
}


class Style(NamedTuple):
    """How it is written: see ``Drawing.draw_mermaid``."""

    with_styles: bool
    curve: str
    classes: Mapping[str, str]
    words: int
    frontmatter: Mapping[str, Any]

    @classmethod
    def of(cls, with_styles: bool, curve_style: Any, node_colors: Any, words: int, frontmatter: Any) -> Style:
        """Return the style that LangChain's arguments ask for; they may be LangChain's own objects."""
        classes = {name: getattr(node_colors, name, style) for name, style in _STYLES.items()}
        return cls(with_styles, getattr(curve_style, "value", curve_style), classes, words, frontmatter or {})


def mermaid(nodes: Mapping[str, DrawnNode], edges: Sequence[Edge], style: Style) -> str:
    """Return the text."""
    return "".join(line + "\n" for line in _lines(nodes, edges, style))


def _lines(nodes: Mapping[str, DrawnNode], edges: Sequence[Edge], style: Style) -> Iterator[str]:
    ends = {_only(nodes, {edge.target for edge in edges}): "first"}
    ends[_only(nodes, {edge.source for edge in edges})] = "last"
    if style.with_styles:
        yield from _head(style)
    yield "graph TD;"
    yield from _block("", nodes, edges, ends, style)
    if style.with_styles:
        yield from (f"\tclassDef {name} {how}" for name, how in style.classes.items())


def _head(style: Style) -> Iterator[str]:
    yield "---"
    if not style.frontmatter:
        yield from ("config:", "  flowchart:", f"    curve: {style.curve}")
    else:
        config = style.frontmatter.get("config", {})
        flowchart = {**config.get("flowchart", {}), "curve": style.curve}
        yield json.dumps({**style.frontmatter, "config": {**config, "flowchart": flowchart}})
    yield "---"


def _block(
    prefix: str,
    nodes: Mapping[str, DrawnNode],
    edges: Sequence[Edge],
    ends: Mapping[str | None, str],
    style: Style,
) -> Iterator[str]:
    """Yield what is directly below ``prefix``, and each subgraph there as a block of its own."""
    inside = [id for id in nodes if id.startswith(prefix)]
    if style.with_styles:
        yield from (_node(id, nodes[id], ends.get(id)) for id in inside if _parent(id) == prefix)
    yield from (_edge(edge, style) for edge in edges if _around(edge) == prefix)
    for name in dict.fromkeys(id[len(prefix) :].partition(":")[0] for id in inside if _parent(id) != prefix):
        yield f"\tsubgraph {_label(name)}"
        yield from _block(f"{prefix}{name}:", nodes, edges, ends, style)
        yield "\tend"


def _parent(id: str) -> str:
    return id[: id.rfind(":") + 1]


def _around(edge: Edge) -> str:
    """Return the innermost subgraph that both ends are in."""
    shared = ""
    for one, other in zip(_parent(edge.source).split(":"), _parent(edge.target).split(":"), strict=False):
        if one != other or not one:
            break
        shared += f"{one}:"
    return shared


def _only(nodes: Iterable[str], others: set[str]) -> str | None:
    found = [id for id in nodes if id not in others]
    return found[0] if len(found) == 1 else None


def _node(id: str, node: DrawnNode, end: str | None) -> str:
    label = _label(node.name.rpartition(":")[2])
    if node.name.startswith("_") and node.name.endswith("_"):
        label = f"<p>{label}</p>"  # or it would be bold
    about = [f"{key} = {_value(value)}" for key, value in (node.metadata or {}).items()]
    if about:
        label += f"<hr/><small><em>{chr(10).join(map(_escaped, about))}</em></small>"
    return f"\t{_id(id)}([{label}]):::{end}" if end else f"\t{_id(id)}({label})"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple | set) else str(value)


def _edge(edge: Edge, style: Style) -> str:
    words = [] if edge.data is None else [_escaped(word) for word in str(edge.data).split()]
    lines = [" ".join(words[at : at + style.words]) for at in range(0, len(words), style.words)]
    label = "&nbsp<br>&nbsp".join(lines)
    if not label:
        arrow = "-.->" if edge.conditional else "-->"
    else:
        arrow = f"-. &nbsp;{label}&nbsp; .->" if edge.conditional else f"-- &nbsp;{label}&nbsp; -->"
    return f"\t{_id(edge.source)} {arrow} {_id(edge.target)};"


def _id(id: str) -> str:
    r"""Return an id of letters, digits, ``_`` and ``-``; the rest is written as ``\<hex>``."""
    word = id.lower() in _WORDS
    return "".join(
        letter
        if (letter.isascii() and (letter.isalnum() or letter in "_-")) and not (word and at == 0)
        else f"\\{ord(letter):x}"
        for at, letter in enumerate(id)
    )


def _label(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return "".join(f"#{ord(letter)};" if letter in '#[](){}"<>|;' else letter for letter in text)
