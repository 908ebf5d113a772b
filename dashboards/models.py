"""Dashboard *Models & tools*: calls of models and tools, how long they take, what they spend, what fails."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board, links
from dashboards import queries as q
from dashboards.names import label
from dashboards.panels import HALF, Panel, lines, listing, metric, now, number
from dashboards.stores import Find, Stores
from otel_stream import semconv

_MODEL = label(semconv.GEN_AI_REQUEST_MODEL)
_TOOL = label(semconv.GEN_AI_TOOL_NAME)
_KIND = label(semconv.GEN_AI_TOKEN_TYPE)


def _calls(*more: str) -> str:
    return q.rate(q.either(lambda names: names.call_duration, "_count", (*q.OF_NODE, *more)))


def _failed() -> str:
    return _calls(f'{q.L_ERROR}!=""')


def _tools(suffix: str, *more: str) -> str:
    return q.select(semconv.EXECUTE_TOOL_DURATION, (*q.OF_NODE, *more), suffix)


def _tokens(kind: str, *by: str) -> str:
    """Return what is spent per second of ``input`` or ``output``: one name for both kinds, or one each."""
    of_kind = q.either(lambda names: names.token_usage, "_sum", (*q.OF_NODE, f'{_KIND}="{kind}"'))
    own = q.either(lambda names: getattr(names, f"{kind}_tokens"), "", q.OF_NODE)
    return q.added_up((of_kind, own), *by)


def make(stores: Stores) -> Dashboard:
    """Return the dashboard."""
    return board.board(
        stores,
        "models",
        "Graph models and tools",
        "Calls of models and tools in nodes: rate, errors, duration, first chunks, tokens, and cost.",
        [*board.variables(stores, q.V_ENVIRONMENT, q.V_SERVICE, q.V_GRAPH, q.V_NODE), *stores.variables()],
        {
            "Now": _now(),
            "Models": _models(),
            "Tokens": _spent(),
            "Cost": _cost(),
            "Tools": _of_tools(),
            "Slowest and dearest": _extremes(stores),
        },
    )


def _first_chunk(*by: str) -> str:
    return q.quantile(0.95, q.either(lambda names: names.time_to_first_chunk, "_bucket", q.OF_NODE), *by)


def _durations(*by: str) -> str:
    return q.quantile(0.95, q.either(lambda names: names.call_duration, "_bucket", q.OF_NODE), *by)


def _now() -> list[Panel]:
    return [
        number("Calls", "Calls of models that end per second.", "reqps", metric(q.total(_calls()))),
        number(
            "Failed",
            "Share of the calls of models that failed.",
            "percentunit",
            metric(q.ratio(q.total(_failed()), q.total(_calls()))),
            thresholds={"orange": 0.01, "red": 0.05},
        ),
        number("Duration", "95 of 100 calls of models take less than this.", "s", metric(_durations())),
        number("First chunk", "95 of 100 streams begin within this time.", "s", metric(_first_chunk())),
        number("Read", "Tokens per second that models read.", "short", metric(_tokens("input"))),
        number("Written", "Tokens per second that models write.", "short", metric(_tokens("output"))),
        number("Cost", "US dollars per hour.", "currencyUSD", metric(_dollars())),
    ]


def _models() -> list[Panel]:
    name = f"{{{{{_MODEL}}}}}"
    gaps = q.either(lambda names: names.time_per_output_chunk, "_bucket", q.OF_NODE)
    return [
        lines(
            "Rate", "Calls that end per second, by model.", "reqps", metric(q.total(_calls(), _MODEL), name)
        ),
        lines(
            "Errors",
            "What calls fail of, per second, by model.",
            "reqps",
            metric(q.total(_failed(), _MODEL, q.L_ERROR), f"{name} {{{{{q.L_ERROR}}}}}"),
            stacked=True,
        ),
        lines(
            "Duration",
            "95 of 100 calls of a model take less than this, streams to their last chunk.",
            "s",
            metric(_durations(_MODEL), name, exemplars=True),
        ),
        lines(
            "Time to first chunk",
            "95 of 100 streams of a model begin within this time.",
            "s",
            metric(_first_chunk(_MODEL), name, exemplars=True),
        ),
        lines(
            "Time between chunks",
            "95 of 100 chunks of a model come within this time after the one before.",
            "s",
            metric(q.quantile(0.95, gaps, _MODEL), name),
        ),
        lines(
            "Rate, by node",
            "Calls of models that end per second, by the node that makes them.",
            "reqps",
            metric(q.total(_calls(), q.L_GRAPH, q.L_NODE), f"{{{{{q.L_GRAPH}}}}} {{{{{q.L_NODE}}}}}"),
        ),
    ]


def _spent() -> list[Panel]:
    name, node = f"{{{{{_MODEL}}}}}", f"{{{{{q.L_GRAPH}}}}} {{{{{q.L_NODE}}}}}"
    return [
        lines(
            "By model",
            "Tokens per second that providers have counted, by model.",
            "short",
            metric(_tokens("input", _MODEL), f"{name} read"),
            metric(_tokens("output", _MODEL), f"{name} written"),
            span=HALF,
            stacked=True,
        ),
        lines(
            "By node",
            "Tokens per second that providers have counted, by the node that spends them.",
            "short",
            metric(_tokens("input", q.L_GRAPH, q.L_NODE), f"{node} read"),
            metric(_tokens("output", q.L_GRAPH, q.L_NODE), f"{node} written"),
            span=HALF,
            stacked=True,
        ),
    ]


def _dollars(*by: str) -> str:
    """Return what is spent per hour, in US dollars."""
    return f"3600 * {q.total(q.rate(q.select(semconv.CALL_COST, q.OF_NODE)), *by)}"


def _cost() -> list[Panel]:
    name, node = f"{{{{{_MODEL}}}}}", f"{{{{{q.L_GRAPH}}}}} {{{{{q.L_NODE}}}}}"
    unpriced = q.total(q.rate(q.select(semconv.CALL_UNPRICED, q.OF_NODE)), _MODEL)
    return [
        lines(
            "Cost, by model",
            "US dollars per hour, by the price table where the program runs; of calls whose price it knows.",
            "currencyUSD",
            metric(_dollars(_MODEL), name),
            stacked=True,
        ),
        lines(
            "Cost, by node",
            "US dollars per hour, by the node that spends them.",
            "currencyUSD",
            metric(_dollars(q.L_GRAPH, q.L_NODE), node),
            stacked=True,
        ),
        lines(
            "Without a price",
            "Calls per second whose tokens were counted and whose price the table does not know, by model.",
            "reqps",
            metric(unpriced, name),
        ),
    ]


def _extremes(stores: Stores) -> list[Panel]:
    by, shown = (q.L_GRAPH, q.L_NODE), (semconv.GRAPH_RUN_TOKENS, semconv.GRAPH_RUN_COST)
    return [
        listing(
            "Dearest nodes",
            "By what their calls of models cost.",
            "short",
            now(f"topk(20, {_dollars(*by)})"),
            now(_tokens("input", *by)),
            now(_tokens("output", *by)),
            now(_durations(*by)),
            renamed={
                q.L_GRAPH: "graph",
                q.L_NODE: "node",
                "Value #A": "US dollars/h",
                "Value #B": "read/s",
                "Value #C": "written/s",
                "Value #D": "95 % [s]",
            },
            links={"node": links.to_node(stores.name), "graph": links.to_graph(stores.name)},
            sorted_by="US dollars/h",
        ),
        stores.runs(
            "Dearest runs",
            "Of the newest runs that cost something, by what they cost.",
            Find(priced=True, shown=shown),
            sorted_by=semconv.GRAPH_RUN_COST,
        ),
        stores.runs(
            "Slowest runs", "Of the newest runs, the slowest first.", Find(shown=shown), sorted_by="Duration"
        ),
    ]


def _of_tools() -> list[Panel]:
    name = f"{{{{{_TOOL}}}}}"
    ended, failed = q.rate(_tools("_count")), q.rate(_tools("_count", f'{q.L_ERROR}!=""'))
    return [
        lines("Rate", "Calls that end per second, by tool.", "reqps", metric(q.total(ended, _TOOL), name)),
        lines(
            "Failed",
            "Share of a tool's calls that failed.",
            "percentunit",
            metric(q.ratio(q.total(failed, _TOOL), q.total(ended, _TOOL)), name),
            thresholds={"orange": 0.01, "red": 0.05},
        ),
        lines(
            "Duration",
            "95 of 100 calls of a tool take less than this.",
            "s",
            metric(q.quantile(0.95, _tools("_bucket"), _TOOL), name, exemplars=True),
        ),
    ]
