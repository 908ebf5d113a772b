"""Who is compared, and how each of them turns the export of content on and off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LOCKS = Path(__file__).parent / "locks"
#: The environment that is this repository's own.
OWN = "own"
#: What every environment has; one version of LangGraph for all.
COMMON = (
    "langgraph==1.2.22",
    "langchain-core==1.7.2",
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
)

Part = Literal["cost", "bytes", "scenes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row or column of the tables; what runs it is in ``switches`` and in ``worker``."""

    name: str
    title: str
    #: The distribution whose version is named; an empty one for what has no version of its own.
    package: str = ""
    #: Its environment: a lock file of that name, or this repository's.
    environment: str
    #: What the lock file of its environment is resolved from, besides ``COMMON``.
    requires: tuple[str, ...] = ()
    always: Mapping[str, str] = field(default_factory=dict)
    content_on: Mapping[str, str] = field(default_factory=dict)
    content_off: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ("cost", "bytes", "scenes")
    #: Supersteps of the runs whose bytes are counted.
    steps: tuple[int, ...] = (10,)


def _peer(
    name: str, title: str, package: str, *also: str, on: dict[str, str], off: dict[str, str]
) -> Contender:
    return Contender(
        name=name,
        title=title,
        package=package.partition("==")[0],
        environment=name,
        requires=(package, *also),
        content_on=on,
        content_off=off,
    )


CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
HIDE = ("OPENINFERENCE_HIDE_INPUTS", "OPENINFERENCE_HIDE_OUTPUTS")
LANGSMITH_HIDE = ("LANGSMITH_HIDE_INPUTS", "LANGSMITH_HIDE_OUTPUTS")

CONTENDERS: tuple[Contender, ...] = (
    Contender(
        name="langgraph", title="LangGraph alone", package="langgraph", environment=OWN, parts=("cost",)
    ),
    _peer(
        "openinference",
        "OpenInference",
        "openinference-instrumentation-langchain",
        on={},
        off=dict.fromkeys(HIDE, "true"),
    ),
    _peer(
        "traceloop",
        "OpenLLMetry",
        "opentelemetry-instrumentation-langchain",
        on={"TRACELOOP_TRACE_CONTENT": "true"},
        off={"TRACELOOP_TRACE_CONTENT": "false"},
    ),
    _peer(
        "genai",
        "OpenTelemetry GenAI",
        "opentelemetry-instrumentation-genai-langchain==1.3b0",
        "langchain",  # without which it refuses to instrument LangGraph
        on={CAPTURE: "SPAN_AND_EVENT", "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"},
        off={CAPTURE: "NO_CONTENT"},
    ),
    _peer(
        "agento11y",
        "agento11y",
        "agento11y-langgraph",
        on={"AGENTO11Y_CONTENT_CAPTURE_MODE": "full"},
        off={"AGENTO11Y_CONTENT_CAPTURE_MODE": "metadata_only"},
    ),
    # It has no switch, but a function that is asked about every value: see ``switches``.
    _peer("langfuse", "Langfuse", "langfuse", "langchain", on={}, off={"PEERS_MASK": "true"}),
    _peer(
        "langsmith",
        "LangSmith (OTel)",
        "langsmith",
        "langsmith[otel]",
        on={},
        off=dict.fromkeys(LANGSMITH_HIDE, "true"),
    ),
    Contender(
        name="mlflow",
        title="MLflow",
        package="mlflow-skinny",
        environment="mlflow",
        requires=("mlflow-skinny", "langchain", "pandas"),
        content_off={"PEERS_MASK": "true"},
        always={
            "MLFLOW_USE_DEFAULT_TRACER_PROVIDER": "false",
            "MLFLOW_TRACKING_URI": "sqlite:///:memory:",
            # Says that spans go out as OTLP and not to MLflow's own store; ``switches`` says where to.
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        },
    ),
    Contender(
        name="langgraph-otel-stream",
        title="otel-stream for LangGraph",
        package="otel-stream",
        environment=OWN,
        content_on={CAPTURE: "SPAN_AND_EVENT"},
        content_off={CAPTURE: "NO_CONTENT"},
    ),
    Contender(
        name="langgraph-otel-stream-spans",
        title="the same, spans alone, as its peers",
        package="otel-stream",
        environment=OWN,
        content_on={CAPTURE: "SPAN_AND_EVENT"},
        parts=("cost",),
    ),
    Contender(
        name="langgraph-otel-stream-streaming",
        title="the same, and a receiver of all modes",
        package="otel-stream",
        environment=OWN,
        content_on={CAPTURE: "SPAN_AND_EVENT"},
        parts=("cost",),
    ),
    Contender(
        name="langgraph-otel-stream-idle",
        title="the same, and nobody listens",
        package="otel-stream",
        environment=OWN,
        parts=("cost",),
    ),
    Contender(
        name="otel-stream-bare",
        title="our engine alone",
        package="otel-stream",
        environment=OWN,
        parts=("cost",),
    ),
    Contender(
        name="otel-stream",
        title="our engine under otel-stream",
        package="otel-stream",
        environment=OWN,
        content_on={CAPTURE: "SPAN_AND_EVENT"},
        content_off={CAPTURE: "NO_CONTENT"},
        steps=(10, 1000),
    ),
    Contender(
        name="otel-stream-streaming",
        title="our engine, and a receiver of all modes",
        package="otel-stream",
        environment=OWN,
        content_on={CAPTURE: "SPAN_AND_EVENT"},
        parts=("cost",),
    ),
    Contender(
        name="otel-stream-values",
        title="our engine, no spans, modes values",
        package="otel-stream",
        environment=OWN,
        content_on={
            CAPTURE: "SPAN_AND_EVENT",
            "OTEL_STREAM_EXPORT_MODES": "values",
            "OTEL_TRACES_EXPORTER": "none",
        },
        parts=("bytes",),
        steps=(10, 1000),
    ),
)


def lock(environment: str) -> Path:
    """Return the file that pins every package of an environment."""
    return LOCKS / f"{environment}.txt"


#: Peers that are not measured, and why.
MISSING: tuple[Mapping[str, str], ...] = (
    {
        "title": "Arize",
        "package": "arize-otel",
        "reason": "not measured: it sets up where spans go; those of LangGraph are OpenInference's",
    },
    {
        "title": "Logfire",
        "package": "logfire",
        "reason": "not measured: 5.2.0, the newest that installs here, has no `instrument_*` for LangGraph",
    },
)
