"""Runs that spend tokens: ``python -m tests.backends.spending RUNS`` prints, as JSON, what was reported."""

import json
import sys

from otel_stream import configure
from tests.otel_stream.calls.ledger import WAYS, Ledger, drawn, make


def spend(runs: int) -> dict[str, object]:
    """Make so many runs, a third each way, and return the sums of the ledger."""
    handle, ledger = configure(), Ledger(7)
    try:
        for place, how in enumerate(WAYS):
            count = len(range(place, runs, len(WAYS)))
            make(drawn(how, count, how), how, ledger.url)
    finally:
        ledger.close()
        handle.shutdown()
    tokens = [[model, kind, count] for (model, kind), count in ledger.tokens.items()]
    return {"tokens": tokens, "cost": ledger.cost, "calls": sum(ledger.calls.values())}


if __name__ == "__main__":
    print(json.dumps(spend(int(sys.argv[1]))))
