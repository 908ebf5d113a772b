"""Dashboard *Streams*: what receivers were offered, took, lost and have not taken yet."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board
from dashboards import queries as q
from dashboards.names import label
from dashboards.panels import Panel, lines, metric, number
from dashboards.stores import Stores
from otel_stream import semconv
from otel_stream.semconv import Metric

_MODE = label(semconv.GRAPH_STREAM_MODE)
_POLICY = label(semconv.GRAPH_STREAM_POLICY)
_REASON = label(semconv.GRAPH_STREAM_DROP_REASON)
_FATES = {
    "offered": semconv.STREAM_OFFERED,
    "delivered": semconv.STREAM_DELIVERED,
    "dropped": semconv.STREAM_DROPPED,
    "sampled out": semconv.STREAM_SAMPLED_OUT,
    "filtered": semconv.STREAM_FILTERED,
}


def _rate(of: Metric) -> str:
    return q.rate(q.select(of, q.OF_GRAPH))


def make(stores: Stores) -> Dashboard:
    """Return the dashboard."""
    return board.board(
        stores,
        "streams",
        "Graph streams",
        "Stream parts: offered to receivers, delivered, dropped, sampled out, filtered, and waiting.",
        board.variables(stores, q.V_ENVIRONMENT, q.V_SERVICE, q.V_GRAPH),
        {
            "Now": _now(),
            "Parts": _parts(),
            "Consumers that fall behind": _behind(),
            "Log events": _logs(stores),
        },
    )


def _now() -> list[Panel]:
    dropped, offered = q.total(_rate(semconv.STREAM_DROPPED)), q.total(_rate(semconv.STREAM_OFFERED))
    return [
        number(
            "Receivers",
            "Receivers that are attached.",
            "short",
            metric(q.total(_at(semconv.STREAM_RECEIVERS))),
        ),
        number("Offered", "Stream parts offered per second, once for each receiver.", "cps", metric(offered)),
        number(
            "Dropped",
            "Share of the parts offered that full buffers did not take.",
            "percentunit",
            metric(q.ratio(dropped, offered)),
            thresholds={"orange": 0.001, "red": 0.01},
        ),
        number(
            "Lag",
            "Age of the oldest part that waits anywhere.",
            "s",
            metric(q.total(_at(semconv.STREAM_LAG), how="max")),
            thresholds={"orange": 5, "red": 30},
        ),
        number(
            "Fullest buffer",
            "Parts that wait in it.",
            "short",
            metric(q.total(_at(semconv.STREAM_DEPTH), how="max")),
        ),
        number(
            "Left out",
            "Parts per second that samplers and filters left out, on purpose.",
            "cps",
            metric(
                f"{q.total(_rate(semconv.STREAM_SAMPLED_OUT))} + {q.total(_rate(semconv.STREAM_FILTERED))}"
            ),
        ),
    ]


def _at(of: Metric) -> str:
    return q.select(of, q.OF_GRAPH)


def _parts() -> list[Panel]:
    mode, policy = f"{{{{{_MODE}}}}}", f"{{{{{_POLICY}}}}}"
    offered, dropped = semconv.STREAM_OFFERED, semconv.STREAM_DROPPED
    return [
        lines(
            "What becomes of parts",
            "Offered parts are delivered, dropped, sampled out or filtered; what is missing still waits.",
            "cps",
            *(metric(q.total(_rate(of)), fate) for fate, of in _FATES.items()),
        ),
        lines(
            "Offered, by mode",
            "Stream parts offered to receivers per second.",
            "cps",
            metric(q.total(_rate(offered), _MODE), mode),
            stacked=True,
        ),
        lines(
            "Delivered, by mode",
            "Stream parts per second that consumers took.",
            "cps",
            metric(q.total(_rate(semconv.STREAM_DELIVERED), _MODE), mode),
            stacked=True,
        ),
        lines(
            "Dropped",
            "Stream parts per second that full buffers did not take, by mode, and why.",
            "cps",
            metric(q.total(_rate(dropped), _MODE, _POLICY, _REASON), f"{mode} {policy} {{{{{_REASON}}}}}"),
            stacked=True,
        ),
        lines(
            "Dropped share, by policy",
            "Share of the parts offered that was dropped. A policy that blocks drops nothing.",
            "percentunit",
            metric(q.ratio(q.total(_rate(dropped), _POLICY), q.total(_rate(offered), _POLICY)), policy),
            thresholds={"orange": 0.001, "red": 0.01},
        ),
        lines(
            "Left out on purpose",
            "Stream parts per second that samplers and filters left out, by mode.",
            "cps",
            metric(q.total(_rate(semconv.STREAM_SAMPLED_OUT), _MODE), f"{mode} sampled out"),
            metric(q.total(_rate(semconv.STREAM_FILTERED), _MODE), f"{mode} filtered"),
            stacked=True,
        ),
    ]


def _behind() -> list[Panel]:
    name = f"{{{{{q.L_GRAPH}}}}} {{{{{_POLICY}}}}}"
    by = (q.L_GRAPH, _POLICY)
    return [
        lines(
            "Lag",
            "Age of the oldest part that waits in any buffer, by graph and policy.",
            "s",
            metric(q.total(_at(semconv.STREAM_LAG), *by, how="max"), name),
            thresholds={"orange": 5, "red": 30},
        ),
        lines(
            "Buffer depth",
            "Parts that wait in the fullest buffer, by graph and policy.",
            "short",
            metric(q.total(_at(semconv.STREAM_DEPTH), *by, how="max"), name),
        ),
        lines(
            "Receivers",
            "Receivers that are attached, by graph and policy.",
            "short",
            metric(q.total(_at(semconv.STREAM_RECEIVERS), *by), name),
            stacked=True,
        ),
    ]


def _logs(stores: Stores) -> list[Panel]:
    return [
        stores.counted(
            "Log events",
            f"Parts and decisions that arrived in {stores.titles[1]} as log events, by name.",
            "",
        ),
        stores.weighed(
            "Bytes",
            "What the bodies of these log events weigh, per second, by stream mode.",
            semconv.GRAPH_STREAM_MODE,
        ),
    ]
