"""Where to put nodes and edges of a drawing on a plane: in layers, from the start down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

Link: TypeAlias = tuple[str, str]
Point: TypeAlias = tuple[int, int]

#: How often layers are put in an order that crosses fewer edges.
_SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Box:
    """A node's place: its middle, and how wide and high it is."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by node, and the points that each edge goes through, from one box to the other."""

    width: int
    height: int
    boxes: dict[str, Box] = field(default_factory=dict)
    routes: dict[Link, list[Point]] = field(default_factory=dict)


def lay_out(
    nodes: Iterable[str], links: Iterable[Link], width_of: Callable[[str], int], height: int, gap: Point
) -> Layout:
    """Place ``nodes``, each ``width_of`` it wide, with at least ``gap`` between them."""
    links = [link for link in dict.fromkeys(links) if link[0] != link[1]]
    ranks, back = _ranks(list(nodes), links)
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for node, rank in ranks.items():
        layers[rank].append(node)
    chains = {link: _chain(link, ranks, layers, back) for link in links}
    _uncross(layers, chains.values())
    widths = {node: width_of(node) if node in ranks else 1 for layer in layers for node in layer}
    spans = [sum(widths[node] for node in layer) + gap[0] * (len(layer) - 1) for layer in layers]
    wide = max(spans, default=0)
    boxes: dict[str, Box] = {}
    for rank, (layer, span) in enumerate(zip(layers, spans, strict=True)):
        left = (wide - span) // 2
        for node in layer:
            y = rank * (height + gap[1]) + height // 2
            boxes[node] = Box(left + widths[node] // 2, y, widths[node], height)
            left += widths[node] + gap[0]
    routes = {link: _route([boxes[node] for node in chain], chain) for link, chain in chains.items()}
    tall = len(layers) * (height + gap[1]) - gap[1]
    return Layout(wide, tall, {node: boxes[node] for node in ranks}, routes)


def _ranks(nodes: Sequence[str], links: Sequence[Link]) -> tuple[dict[str, int], set[Link]]:
    """Return each node's layer, below all that lead to it, and the links that lead back up."""
    after: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in links:
        after[source].append(target)
    done: list[str] = []
    open_, seen, back = set[str](), set[str](), set[Link]()
    for root in nodes:
        stack = [(root, iter(after[root]))] if root not in seen else []
        seen.add(root)
        open_.add(root)
        while stack:
            node, rest = stack[-1]
            for target in rest:
                if target in open_:
                    back.add((node, target))
                elif target not in seen:
                    seen.add(target)
                    open_.add(target)
                    stack.append((target, iter(after[target])))
                    break
            else:
                stack.pop()
                open_.discard(node)
                done.append(node)
    ranks = dict.fromkeys(nodes, 0)
    for node in reversed(done):
        for target in after[node]:
            if (node, target) not in back:
                ranks[target] = max(ranks[target], ranks[node] + 1)
    return ranks, back


def _chain(link: Link, ranks: Mapping[str, int], layers: list[list[str]], back: set[Link]) -> list[str]:
    """Return what a link goes through: its ends, and a place of its own in each layer between them."""
    upper, lower = (link[1], link[0]) if link in back else link
    between = []
    for rank in range(ranks[upper] + 1, ranks[lower]):
        place = f"\0{link[0]}\0{link[1]}\0{rank}"
        layers[rank].append(place)
        between.append(place)
    chain = [upper, *between, lower]
    return chain[::-1] if link in back else chain


def _uncross(layers: list[list[str]], chains: Iterable[Sequence[str]]) -> None:
    """Order each layer by where its neighbours in the layer before are."""
    beside: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            beside.setdefault(one, []).append(other)
            beside.setdefault(other, []).append(one)
    for sweep in range(_SWEEPS):
        order = layers if sweep % 2 == 0 else layers[::-1]
        for fixed, moved in pairwise(order):
            at = {node: place / max(len(fixed) - 1, 1) for place, node in enumerate(fixed)}

            def middle(node: str, at: Mapping[str, float] = at) -> float:
                places = [at[other] for other in beside.get(node, ()) if other in at]
                return sum(places) / len(places) if places else 0.5

            moved.sort(key=middle)


def _route(boxes: Sequence[Box], chain: Sequence[str]) -> list[Point]:
    down = boxes[0].y < boxes[-1].y
    points: list[Point] = []
    for box, node in zip(boxes, chain, strict=True):
        above, below = box.y - box.height // 2 - 1, box.y + box.height // 2 + 1
        enters, leaves = (above, below) if down else (below, above)
        if node is not chain[0]:
            points.append((box.x, enters))
        if node is not chain[-1]:
            points.append((box.x, leaves))
    return points
