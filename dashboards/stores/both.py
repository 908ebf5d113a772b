"""The two pairs of stores that everything is generated for."""

from __future__ import annotations

from typing import Final

from dashboards.stores import Stores
from dashboards.stores.jaeger_victorialogs import JAEGER_VICTORIALOGS
from dashboards.stores.tempo_loki import TEMPO_LOKI

BOTH: Final[tuple[Stores, ...]] = (TEMPO_LOKI, JAEGER_VICTORIALOGS)
