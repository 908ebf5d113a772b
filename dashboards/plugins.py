"""Queries of data sources that the SDK has no models for: Jaeger's, and the plugin for VictoriaLogs."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Final, TypeAlias

from grafana_foundation_sdk.cog import builder, runtime, variants
from grafana_foundation_sdk.models.common import DataSourceRef

#: What Grafana calls the types of these data sources; also the names of the variables that choose one.
JAEGER: Final = "jaeger"
VICTORIALOGS: Final = "victoriametrics-logs-datasource"


@dataclasses.dataclass
class _Query(variants.Dataquery):
    """What the two have in common; in JSON, a field that is None is not there."""

    kind: ClassVar[str]

    ref_id: str | None = dataclasses.field(default=None, kw_only=True)
    datasource: DataSourceRef | None = dataclasses.field(default=None, kw_only=True)

    def to_json(self) -> dict[str, object]:
        fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {_camel(name): value for name, value in fields if value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> variants.Dataquery:
        """Read what these models know; what they do not know is left out, as it is by the SDK's own."""
        known = {_camel(field.name): field.name for field in dataclasses.fields(cls)}
        given = {known[name]: value for name, value in data.items() if name in known}
        given["datasource"] = DataSourceRef.from_json(data["datasource"])
        return cls(**given)


@dataclasses.dataclass
class JaegerQuery(_Query):
    """One trace by its id (``query``), or a search; ``tags`` are words such as ``error=true``."""

    kind = JAEGER

    query: str | None = None
    #: "search", or None for a trace.
    query_type: str | None = None
    service: str | None = None
    tags: str | None = None
    min_duration: str | None = None
    limit: int | None = None


@dataclasses.dataclass
class VictoriaLogsQuery(_Query):
    """LogsQL: "instant" returns log events, "statsRange" what a ``stats`` pipe counts over time."""

    kind = VICTORIALOGS

    expr: str | None = None
    query_type: str | None = None
    legend_format: str | None = None
    max_lines: int | None = None


PluginQuery: TypeAlias = JaegerQuery | VictoriaLogsQuery


class Asking(builder.Builder[PluginQuery]):
    """Makes a query step by step, as the SDK's own do."""

    def __init__(self, query: PluginQuery, source: str) -> None:
        query.datasource = DataSourceRef(type_val=query.kind, uid=f"${{{source}}}")
        self._query = query

    def build(self) -> PluginQuery:
        return self._query

    def ref_id(self, ref_id: str) -> Asking:
        """Name the query within its panel."""
        self._query.ref_id = ref_id
        return self


def register() -> None:
    """Let the SDK read these queries by our models."""
    for query in (JaegerQuery, VictoriaLogsQuery):
        runtime.register_dataquery_variant(runtime.DataqueryConfig(query.kind, query.from_json))


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)
