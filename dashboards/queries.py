"""PromQL in small pieces, so that a panel says what it shows and not how it is spelt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from dashboards.names import ENVIRONMENT, GENAI_NAMES, RUN_DURATIONS, SERVICE, label, series
from otel_stream import semconv
from otel_stream.semconv import Metric

#: What Grafana fills in: four times the interval of the data, at least.
RATE_INTERVAL: Final = "$__rate_interval"

#: Template variables; those of a dashboard restrict all that it shows.
V_ENVIRONMENT, V_SERVICE, V_GRAPH, V_NODE = "environment", "service", "graph", "node"
#: Those that are typed: the trace of the run explorer, and from what duration on a run is listed as slow.
V_TRACE, V_SLOW = "trace_id", "slow"
#: The conversation whose runs are listed.
V_CONVERSATION = "conversation"

L_ENVIRONMENT, L_SERVICE = label(ENVIRONMENT), label(SERVICE)
L_GRAPH, L_NODE = label(semconv.GRAPH_NAME), label(semconv.GEN_AI_NODE_NAME)
L_MODEL, L_PROVIDER = label(semconv.GEN_AI_REQUEST_MODEL), label(semconv.GEN_AI_PROVIDER_NAME)
L_END, L_ERROR = label(semconv.GRAPH_RUN_END), label(semconv.ERROR_TYPE)

# -- PromQL ---------------------------------------------------------------------------------------------

#: Matchers of a service's series, of a graph's and of a node's.
OF_SERVICE: Final = (f'{L_ENVIRONMENT}=~"${V_ENVIRONMENT}"', f'{L_SERVICE}=~"${V_SERVICE}"')
OF_GRAPH: Final = (*OF_SERVICE, f'{L_GRAPH}=~"${V_GRAPH}"')
OF_NODE: Final = (*OF_GRAPH, f'{L_NODE}=~"${V_NODE}"')


def select(metric: Metric | str, matchers: Iterable[str] = (), suffix: str = "") -> str:
    """Return a selector; ``suffix`` is ``_bucket``, ``_count`` or ``_sum`` of a histogram."""
    name = metric if isinstance(metric, str) else series(metric)
    inside = ",".join(matchers)
    return f"{name}{suffix}" + (f"{{{inside}}}" if inside else "")


def runs(suffix: str, matchers: Iterable[str] = ()) -> str:
    """Select the durations of runs, whichever of the two names they have."""
    names = "|".join(series(metric) + suffix for metric in RUN_DURATIONS)
    return select("", (f'__name__=~"{names}"', *matchers))


def either(
    pick: Callable[[semconv.GenAINames], Metric | None], suffix: str = "", matchers: Iterable[str] = ()
) -> str:
    """Select a metric whichever of two names it has: a program speaks one of the vocabularies."""
    names = "|".join(series(found) + suffix for found in map(pick, GENAI_NAMES) if found is not None)
    return select("", (f'__name__=~"{names}"', *matchers))


def rate(selector: str, window: str = RATE_INTERVAL) -> str:
    """Return what a counter gains per second."""
    return f"rate({selector}[{window}])"


def total(expression: str, *by: str, how: str = "sum") -> str:
    """Return a sum (or another aggregation) over all series, or by labels."""
    return f"{how}" + (f" by ({', '.join(by)}) " if by else "") + f"({expression})"


def quantile(share: float, buckets: str, *by: str, window: str = RATE_INTERVAL) -> str:
    """Return a quantile of a histogram, of which ``buckets`` selects the buckets."""
    return f"histogram_quantile({share}, {total(rate(buckets, window), *by, 'le')})"


def ratio(part: str, whole: str) -> str:
    """Return a share from 0 to 1; 0 while nothing happens, so that a panel shows 0 and not "no data"."""
    return f"({part} or 0 * {whole}) / ({whole} > 0) or 0 * {whole}"


def added_up(selectors: Iterable[str], *by: str, window: str = RATE_INTERVAL) -> str:
    """Add the rates of several counters up, of which some may not be there."""
    # They may have the same labels, and "or" takes only one of those: so each gets a label of its own.
    rates = (
        f'label_replace({rate(selector, window)}, "counter", "{place}", "", "")'
        for place, selector in enumerate(selectors)
    )
    return total(" or ".join(rates), *by)
