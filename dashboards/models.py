"""Dashboard *Models & tools*: calls of models and tools, how long they take, what they spend, what fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board
from dashboards import queries as q
from dashboards.names import label, series
from dashboards.panels import HALF, Panel, lines, metric, number
from dashboards.stores import Stores
from otel_stream import semconv
from otel_stream.semconv import GenAINames, Metric

_MODEL = label(semconv.GEN_AI_REQUEST_MODEL)
_TOOL = label(semconv.GEN_AI_TOOL_NAME)
_KIND = label(semconv.GEN_AI_TOKEN_TYPE)
#: Both vocabularies; a program speaks one of them.
_NAMES: Final = tuple(semconv.genai_names(word) for word in ("", "gen_ai_latest_experimental"))


def _either(pick: Callable[[GenAINames], Metric | None], suffix: str, matchers: Iterable[str]) -> str:
    """Select a metric whichever of the two names it has."""
    names = "|".join(series(found) + suffix for found in map(pick, _NAMES) if found is not None)
    return q.select("", (f'__name__=~"{names}"', *matchers))


def _calls(*more: str) -> str:
    return q.rate(_either(lambda names: names.call_duration, "_count", (*q.OF_NODE, *more)))


def _failed() -> str:
    return _calls(f'{q.L_ERROR}!=""')


def _tools(suffix: str, *more: str) -> str:
    return q.select(semconv.EXECUTE_TOOL_DURATION, (*q.OF_NODE, *more), suffix)


def _tokens(kind: str, *by: str) -> str:
    """Return what is spent per second of ``input`` or ``output``: one name for both kinds, or one each."""
    of_kind = _either(lambda names: names.token_usage, "_sum", (*q.OF_NODE, f'{_KIND}="{kind}"'))
    own = _either(lambda names: getattr(names, f"{kind}_tokens"), "", q.OF_NODE)
    return q.added_up((of_kind, own), *by)


def make(stores: Stores) -> Dashboard:
    """Return the dashboard."""
    return board.board(
        stores,
        "models",
        "Graph models and tools",
        "Calls of models and tools in nodes: rate, errors, duration, time to the first chunk, and tokens.",
        board.variables(stores, q.V_ENVIRONMENT, q.V_SERVICE, q.V_GRAPH, q.V_NODE),
        {"Now": _now(), "Models": _models(), "Tokens": _spent(), "Tools": _of_tools()},
    )


def _first_chunk(*by: str) -> str:
    return q.quantile(0.95, _either(lambda names: names.time_to_first_chunk, "_bucket", q.OF_NODE), *by)


def _durations(*by: str) -> str:
    return q.quantile(0.95, _either(lambda names: names.call_duration, "_bucket", q.OF_NODE), *by)


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
    ]


def _models() -> list[Panel]:
    name = f"{{{{{_MODEL}}}}}"
    gaps = _either(lambda names: names.time_per_output_chunk, "_bucket", q.OF_NODE)
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
