"""Metrics point by point: what is counted, and what a long request of metrics is divided into."""

from __future__ import annotations

from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics


class Point(NamedTuple):
    """One data point with all that it is a part of."""

    resource: ResourceMetrics
    scope: ScopeMetrics
    metric: Metric
    point: Any


def points(data: MetricsData) -> list[Point]:
    """Return every data point in ``data``."""
    return [
        Point(resource, scope, metric, point)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
