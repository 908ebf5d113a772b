"""Other versions of OpenTelemetry, and its distributions, beside us: ``make test-versions``.

The oldest OpenTelemetry of the range, two between, and the distributions that most people have. Each gets an
environment, made once. The newest OpenTelemetry is where the whole suite runs. One more has models' clients,
and what instruments them, one a notebook's kernel, one MLflow's server, and one Kubernetes' schemas.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import NamedTuple

from tests.environments import ROOT, made

HOME = ROOT / ".venv" / "versions"
#: What the tests themselves need.
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "langchain-core")
TELEMETRY = ("tests/versions/test_both_ways.py",)
TELEMETRY_IN_FULL = (*TELEMETRY, "tests/otel_stream/telemetry")
BESIDE = ("tests/versions/test_beside.py", *TELEMETRY)
LANGGRAPH = ("tests/versions/test_beside_langgraph.py", "tests/versions/test_models_once.py")
AGENT = "tests/versions/test_agent_once.py"
#: What others tell of, and what an agent calls that they do.
TOLD = ("langchain", "openai", "anthropic")
TALKING = ("openai", "anthropic", "langgraph>=1,<2", "pyyaml")


class Environment(NamedTuple):
    """What is installed beside us, and what is run there."""

    packages: tuple[str, ...]
    tests: tuple[str, ...]


def _release(version: str) -> tuple[str, ...]:
    names = ("api", "sdk", "exporter-otlp-proto-http", "exporter-otlp-proto-grpc")
    return tuple(f"opentelemetry-{name}=={version}" for name in names)


ENVIRONMENTS = {
    "1.37": Environment(_release("1.37.0"), TELEMETRY_IN_FULL),
    "1.40": Environment(_release("1.40.0"), TELEMETRY_IN_FULL),
    "1.44": Environment(_release("1.44.0"), TELEMETRY_IN_FULL),
    "azure": Environment(("azure-monitor-opentelemetry",), BESIDE),
    "logfire": Environment(("logfire", *TALKING), (*BESIDE, AGENT)),
    "openinference": Environment(
        (*(f"openinference-instrumentation-{name}" for name in TOLD), *TALKING), (*BESIDE, *LANGGRAPH, AGENT)
    ),
    "openllmetry": Environment(
        (*(f"opentelemetry-instrumentation-{name}" for name in TOLD), *TALKING), (*LANGGRAPH, AGENT)
    ),
    # Without langchain it refuses to instrument.
    "genai": Environment(
        (*(f"opentelemetry-instrumentation-genai-{name}==1.3b0" for name in TOLD), "langchain", *TALKING),
        (*LANGGRAPH, AGENT),
    ),
    "langsmith": Environment(
        ("langsmith[otel]", "langgraph>=1,<2", "opentelemetry-instrumentation"), LANGGRAPH
    ),
    "mlflow": Environment(("mlflow", "genai-prices", *TALKING), ("tests/versions/test_mlflow.py",)),
    "distro": Environment(("opentelemetry-distro",), BESIDE),
    "kubernetes": Environment(("kubernetes-validate", "pyyaml"), ("tests/versions/test_manifests.py",)),
    "notebook": Environment(
        ("ipykernel", "nbclient", "langgraph>=1,<2", "opentelemetry-instrumentation"),
        ("tests/versions/test_notebook.py",),
    ),
    "clients": Environment(
        (
            *("anthropic", "litellm", "openai"),
            *(f"openinference-instrumentation-{name}" for name in ("anthropic", "litellm", "openai")),
            *(f"opentelemetry-instrumentation-{name}" for name in ("anthropic", "openai")),
            # Newer ones want what no release of opentelemetry-util-genai has; and older ones wrapt 1.
            *("opentelemetry-instrumentation-openai-v2<2.4", "wrapt<2"),
        ),
        ("tests/versions/test_clients.py",),
    ),
}


def main() -> int:
    """Run the tests of the environments that are asked for; all of them without arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(ENVIRONMENTS)}")
    names = parser.parse_args().names or list(ENVIRONMENTS)
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"{unknown[0]!r} is no environment; choose from {', '.join(ENVIRONMENTS)}")
    failed = [name for name in names if not _passes(name, ENVIRONMENTS[name])]
    print(f"{len(names) - len(failed)} of {len(names)} environments passed", *failed, flush=True)
    return 1 if failed else 0


def _passes(name: str, environment: Environment) -> bool:
    print(f"== {name}: {' '.join(environment.packages)}", flush=True)
    python = made(HOME / name, "--editable", f"{ROOT}[otlp,grpc]", *TOOLS, *environment.packages)
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *environment.tests]
    return all(
        subprocess.run(
            command, cwd=ROOT, check=False, env={**os.environ, "OTEL_STREAM_BESIDE": name}
        ).returncode
        == 0
        for command in ([python, "-m", "pip", "check"], tests)
    )


if __name__ == "__main__":
    sys.exit(main())
