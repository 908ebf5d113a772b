"""The picture of docs/scaling.md: who does what for so many runs a second, and how much of it there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from handbook import svg

_WIDTH: Final = 190
_HEIGHT: Final = 84


class Tier(NamedTuple):
    """One box: where it is, its name, what it needs, and whether it is what breaks first."""

    column: int
    row: int
    name: str
    needs: str
    more: str
    first: bool = False


def drawn(rate: int, needs: dict[str, str]) -> str:
    """Return the picture of what ``rate`` runs a second need: ``needs`` as the table has it."""

    def cores(row: str) -> str:
        found = needs[row]
        return "not measured" if found == "?" else f"{found.partition(' (')[0]} cores"

    tiers = [
        Tier(
            0, 1, "graph workers", cores("with telemetry of one run in a hundred"), "telemetry of 1 % of runs"
        ),
        Tier(1, 0, "Kafka", cores("cores of brokers, one copy"), f"{needs['parts a second']} parts a second"),
        Tier(2, 0, "watchers", f"{needs['partitions, if all is watched']} cores", "if all is watched"),
        Tier(
            1,
            1,
            "PostgreSQL",
            cores("cores of PostgreSQL, each superstep"),
            "a checkpoint each superstep",
            first=True,
        ),
        Tier(
            2,
            1,
            "PostgreSQL, instead",
            cores("cores of PostgreSQL, one a run"),
            'durability="exit"',
        ),
        Tier(1, 2, "Collector gateways", cores("cores of gateways, one run in a hundred"), "1 % of runs"),
        Tier(2, 2, "backends", "of their own", "docs/sizing.md"),
    ]
    return svg.picture(
        3 * (_WIDTH + 60),
        3 * (_HEIGHT + 24) + 46,
        f"What {rate:,} runs a second need, tier by tier",
        [*_title(rate), *(part for tier in tiers for part in _box(tier)), *_arrows()],
    )


def _title(rate: int) -> Iterator[str]:
    yield svg.words(14, 26, f"{rate:,} runs a second of the agent", size=15, bold=True)
    yield svg.words(330, 26, "red: what breaks first", size=12, fill=svg.RED)


def _place(column: int, row: int) -> tuple[float, float]:
    return 14 + column * (_WIDTH + 60), 42 + row * (_HEIGHT + 24)


def _box(tier: Tier) -> Iterator[str]:
    x, y = _place(tier.column, tier.row)
    ink: Any = svg.RED if tier.first else svg.BLUE
    yield svg.box(x, y, _WIDTH, _HEIGHT, "#ffffff", ink)
    yield svg.words(x + 12, y + 24, tier.name, size=14, bold=True)
    yield svg.words(x + 12, y + 48, tier.needs, size=14, fill=ink)
    yield svg.words(x + 12, y + 70, tier.more, size=12, fill=svg.GREY)


def _arrows() -> Iterator[str]:
    for row in range(3):
        x, y = _place(1, row)
        middle = y + _HEIGHT / 2
        if row == 1:
            yield svg.arrow(x - 58, middle, x - 4, middle)
        else:
            yield svg.line(x - 30, _place(1, 1)[1] + _HEIGHT / 2, x - 30, middle)
            yield svg.arrow(x - 30, middle, x - 4, middle)
        if row != 1:
            yield svg.arrow(x + _WIDTH + 2, middle, x + _WIDTH + 56, middle)
