"""What a call of a model cost, by the open price table of ``genai-prices``, where that is installed.

The table is a snapshot in that package; nothing is asked of the network. Nothing is guessed: a call whose
model, provider or address the table does not know has no cost.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from otel_stream.calls import Call, Usage
from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: What the table calls providers that it knows under another name than the conventions' and its own aliases.
_NAMES: Final = {"x_ai": "x-ai"}
#: Models, with where they are, whose price was found not to be known; more of them are looked up each time.
_UNKNOWN: Final[set[tuple[str | None, ...]]] = set()
_MANY: Final = 1000


class Prices:
    """Answers what a call cost.

    ``by_name``: whether the provider's name is enough. Else who is called must be where the table says that
    the provider is, if the client tells the address: who only speaks a provider's protocol has other prices.
    """

    def __init__(self, *, by_name: bool) -> None:
        self._by_name = by_name

    def of(self, call: Call) -> float | None:
        """Return what ``call``, which has ended, cost in US dollars; None if that is not known."""
        usage, asked = call.answered.usage, call.asked
        model = call.answered.model or asked.name
        if usage is None or model is None:
            return None
        where = self._where(asked.provider, asked.server_address)
        key = (model, *where.values())
        if not where or key in _UNKNOWN:
            return None
        try:
            return float(_table().calc_price(_counted(usage), model, **where).total_price)
        except LookupError:
            if len(_UNKNOWN) < _MANY:
                _UNKNOWN.add(key)
        except Exception as error:  # noqa: BLE001 - another one's table; then it has no price
            say(logger, logging.WARNING, "a call has no cost: %s", placed(error))
            _UNKNOWN.add(key)
        return None

    def _where(self, provider: str | None, address: str | None) -> dict[str, str]:
        if address is not None and not self._by_name:
            return {"provider_api_url": f"https://{address}"}
        return {} if provider is None else {"provider_id": _NAMES.get(provider, provider)}


@cache
def prices(kind: str) -> Prices | None:
    """Return the prices of an option's ``kind``; None if it is off, or no table is installed."""
    if kind == "off" or find_spec("genai_prices") is None:
        return None
    return Prices(by_name=kind == "provider")


@cache
def _table() -> Any:
    import genai_prices  # half a second: when the first call is to be priced

    return genai_prices


def _counted(usage: Usage) -> Any:
    return _table().Usage(
        input_tokens=usage.input or 0,
        output_tokens=usage.output or 0,
        cache_read_tokens=usage.cache_read or 0,
        cache_write_tokens=usage.cache_write or 0,
    )
