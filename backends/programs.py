"""What each backend is started with. Pure: makes argument lists and environments, starts nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from backends.ports import LOOPBACK, Ports


@dataclass(frozen=True, slots=True)
class Program:
    """A process: its arguments and what it adds to the environment.

    ``ready`` is a URL that answers 200 once it works; ``listens`` are the names of its ports.
    """

    name: str
    arguments: tuple[str, ...]
    ready: str
    listens: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


def url(port: int) -> str:
    """Return the URL of a port on loopback."""
    return f"http://{LOOPBACK}:{port}"


def ready_urls(ports: Ports) -> dict[str, str]:
    """Return, by backend, the URL that answers 200 once it works."""
    return {
        "prometheus": f"{url(ports['prometheus'])}/-/ready",
        "jaeger": f"{url(ports['jaeger-health'])}/status",
        "victorialogs": f"{url(ports['victorialogs'])}/health",
        "otelcol": url(ports["health"]),
    }


def configuration(configurations: Path, collector: str) -> Path:
    """Return the Collector's configuration for the stores that are built here, by its name."""
    folder = configurations if collector == "agent" else configurations / "jaeger-victorialogs"
    return folder / f"{collector}.yaml"


def programs(ports: Ports, configurations: Path, data: Path, collector: str = "local") -> list[Program]:
    """Return the four backends in the order of their start; ``collector`` is the name of its configuration.

    Each keeps its files in a folder of its own in ``data``.
    """
    backends = configurations / "backends"
    arguments: dict[str, tuple[str, ...]] = {
        "prometheus": (
            f"--config.file={backends / 'prometheus.yaml'}",
            f"--web.listen-address={LOOPBACK}:{ports['prometheus']}",
            f"--storage.tsdb.path={data / 'prometheus'}",
            "--storage.tsdb.retention.time=48h",
            "--web.enable-otlp-receiver",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ),
        "jaeger": (f"--config={backends / 'jaeger.yaml'}",),
        "victorialogs": (
            f"-httpListenAddr={LOOPBACK}:{ports['victorialogs']}",
            f"-storageDataPath={data / 'victorialogs'}",
            "-retentionPeriod=2d",
            "-loggerLevel=WARN",
        ),
        "otelcol": (f"--config={configuration(configurations, collector)}",),
    }
    ready = ready_urls(ports)
    environments = {name: _environment(name, ports, data) for name in arguments}
    environments["otelcol"] = collector_environment(ports)
    return [
        Program(name, given, ready[name], _LISTENS[name], environments[name])
        for name, given in arguments.items()
    ]


_LISTENS = {
    "prometheus": ("prometheus",),
    "jaeger": ("jaeger", "jaeger-otlp", "jaeger-grpc", "jaeger-health"),
    "victorialogs": ("victorialogs",),
    "otelcol": ("grpc", "http", "health", "metrics", "shard"),
}


def _environment(name: str, ports: Ports, data: Path) -> dict[str, str]:
    """Return the variables of ``collector-config/backends/NAME.yaml``: JAEGER_HTTP_PORT, JAEGER_DATA ..."""
    variables = {f"{name}_data": str(data / name)}
    for listener in _LISTENS[name]:
        what = listener.removeprefix(f"{name}-") if listener != name else "http"
        variables[f"{name}_{what}_port"] = str(ports[listener])
    return {variable.upper(): value for variable, value in variables.items()}


def collector_environment(ports: Ports) -> dict[str, str]:
    """Return the variables of ``collector-config/*.yaml`` for these ports."""
    shard = f"{LOOPBACK}:{ports['shard']}"
    return {
        "OTEL_STREAM_GRPC": f"{LOOPBACK}:{ports['grpc']}",
        "OTEL_STREAM_HTTP": f"{LOOPBACK}:{ports['http']}",
        "OTEL_STREAM_HEALTH": f"{LOOPBACK}:{ports['health']}",
        "OTEL_STREAM_METRICS_PORT": str(ports["metrics"]),
        "OTEL_STREAM_SHARD": shard,
        "OTEL_STREAM_SHARDS": f"[{shard}]",
        "OTEL_STREAM_JAEGER": f"{LOOPBACK}:{ports['jaeger-otlp']}",
        "OTEL_STREAM_VICTORIALOGS": url(ports["victorialogs"]),
        "OTEL_STREAM_PROMETHEUS": url(ports["prometheus"]),
    }
