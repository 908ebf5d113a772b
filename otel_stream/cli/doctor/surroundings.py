"""What can be wrong before anything is sent: packages, variables, and a module that hides ours."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Final

import otel_stream
from otel_stream.adapters.langgraph.names import missing
from otel_stream.cli.doctor.findings import Verdict

#: Packages of OpenTelemetry that are released together, with one version for all.
_TOGETHER: Final = (
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-proto",
    "opentelemetry-exporter-otlp-proto-common",
    "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry-exporter-otlp-proto-http",
)

_OURS: Final = Path(otel_stream.__file__).parents[1] / "engine" / "__init__.py"


def packages() -> Verdict:
    """Compare the versions of OpenTelemetry's packages."""
    tried = "versions of OpenTelemetry's packages"
    found: dict[str, str] = {}
    for name in _TOGETHER:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    versions = sorted(set(found.values()))
    if len(versions) == 1:
        return Verdict("ok", tried, versions[0])
    api = found.get("opentelemetry-api", "")
    others = ", ".join(f"{name} {number}" for name, number in found.items() if number != api)
    return Verdict(
        "note",
        tried,
        ", ".join(versions) or "none installed",
        f"OpenTelemetry's packages belong together, and these differ from opentelemetry-api {api}: {others}.",
        "Install one version of all of them: pip install --upgrade --force-reinstall otel-stream.",
    )


def engine_module(folder: Path) -> Verdict:
    """Find out which ``engine`` a program that is started in ``folder`` would import."""
    tried = "import engine"
    if not _OURS.is_file():
        return Verdict(
            "note",
            tried,
            "not there",
            "otel-stream's package engine is not installed beside otel_stream.",
            "Install otel-stream again: pip install --force-reinstall otel-stream.",
        )
    theirs = next((path for path in _candidates(folder) if path.resolve() != _OURS.resolve()), None)
    if theirs is None:
        return Verdict("ok", tried, str(_OURS.parent))
    return Verdict(
        "note",
        tried,
        str(theirs),
        f"{theirs} hides otel-stream's own package engine, so that `from engine import StateGraph` fails.",
        "Rename that file if the program uses otel-stream's engine; without it, nothing need be changed.",
    )


def _candidates(folder: Path) -> Iterator[Path]:
    # A program's own folder comes first in its path; ours may be another one.
    for spec in (PathFinder.find_spec("engine", [str(folder)]), importlib.util.find_spec("engine")):
        # A folder without __init__.py hides nothing.
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin)


def our_engine() -> ModuleType:
    """Return our engine, whatever else is called so; its modules find each other under any name.

    Raises:
        ImportError: it is not there.
    """
    name = "_otel_stream_engine"
    spec = importlib.util.spec_from_file_location(name, _OURS, submodule_search_locations=[str(_OURS.parent)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{_OURS} is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def langgraph(environ: Mapping[str, str]) -> Verdict | None:
    """Say whether the runs of LangGraph's own graphs can be observed, if LangGraph is there."""
    try:
        found = version("langgraph")
    except PackageNotFoundError:
        return None
    tried = "runs of LangGraph"
    if importlib.util.find_spec("opentelemetry.instrumentation") is None:
        return Verdict(
            "note",
            tried,
            f"LangGraph {found}",
            "What observes LangGraph is not installed as a whole: configure(langgraph=True) will fail.",
            "Install it: pip install 'otel-stream[langgraph]'.",
        )
    lacking = missing()
    if lacking:
        return Verdict(
            "note",
            tried,
            f"LangGraph {found}",
            f"This version of LangGraph has no {', '.join(lacking)}: only its runs and nodes are told of.",
            "Update otel-stream, or install a version of LangGraph that it knows.",
        )
    left_out = environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    if {"langgraph", "*"} & {name.strip() for name in left_out.split(",")}:
        return Verdict(
            "note",
            tried,
            "left out",
            f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={left_out} has opentelemetry-instrument leave it out.",
            "Take langgraph out of it, or call configure(langgraph=True).",
        )
    return Verdict("ok", tried, f"LangGraph {found}, every step of them")


# -- variables -------------------------------------------------------------------------------------


def disabled(environ: Mapping[str, str]) -> Verdict | None:
    """Look for what switches everything off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
        return None
    return Verdict(
        "stop",
        "OTEL_SDK_DISABLED",
        "true",
        "OTEL_SDK_DISABLED=true switches all telemetry off.",
        "Unset it.",
    )


def overruled(name: str) -> Verdict:
    """Say that an endpoint of the environment is not the one that is tried."""
    return Verdict(
        "note",
        name,
        "is set, too",
        f"{name} is set, and a program uses that; only ENDPOINT is tried here.",
        f"Unset {name}, or run otel-stream doctor without ENDPOINT to try it.",
    )


def configuration_file(environ: Mapping[str, str]) -> Verdict | None:
    """Look for a file of declarative configuration, which ``configure()`` does not read."""
    if not environ.get("OTEL_CONFIG_FILE"):
        return None
    return Verdict(
        "note",
        "OTEL_CONFIG_FILE",
        "is set",
        "OTEL_CONFIG_FILE is not read by configure().",
        "Start the program with opentelemetry-instrument, or use variables instead.",
    )


def headers(environ: Mapping[str, str]) -> Verdict | None:
    """Look for headers that are left out because they can't be read; their values are not shown."""
    names = ["OTEL_EXPORTER_OTLP_HEADERS"]
    names += [f"OTEL_EXPORTER_OTLP_{signal}_HEADERS" for signal in ("TRACES", "LOGS", "METRICS")]
    for name in names:
        entries = [entry for entry in environ.get(name, "").split(",") if entry.strip()]
        if any("=" not in entry for entry in entries):
            return Verdict(
                "note",
                name,
                "an entry without =",
                f"{name} has an entry without an equals sign, which is left out.",
                "Write name=value,name=value, with %2C for a comma in a value.",
            )
    return None


def sampler(environ: Mapping[str, str]) -> Verdict | None:
    """Say what share of runs the sampler keeps, if it is not all."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    shown = f"OTEL_TRACES_SAMPLER={name}"
    share = _share(name, environ.get("OTEL_TRACES_SAMPLER_ARG", ""))
    if share == 0:
        return Verdict(
            "stop",
            "OTEL_TRACES_SAMPLER",
            name,
            f"{shown} keeps no run: its spans are not exported, and log events follow them.",
            "Unset it, or set it to parentbased_always_on.",
        )
    if share is not None and share < 1:
        return Verdict(
            "note",
            "OTEL_TRACES_SAMPLER",
            name,
            f"{shown} keeps {share * 100:g} % of the runs; the rest is sampled away, with its log events.",
            "Raise OTEL_TRACES_SAMPLER_ARG if runs are missing; the doctor's own run is sent in any case.",
        )
    return None


def _share(name: str, argument: str) -> float | None:
    if name.endswith("always_off"):
        return 0.0
    if not name.endswith("traceidratio"):
        return None
    try:
        return min(max(float(argument or 1), 0.0), 1.0)
    except ValueError:
        return None  # OpenTelemetry keeps all then


def modes(environ: Mapping[str, str]) -> Verdict | None:
    """Look for log events being switched off at their source."""
    if environ.get("OTEL_STREAM_RECORD_AS", "").strip().lower() == "span_events":
        return Verdict(
            "stop",
            "OTEL_STREAM_RECORD_AS",
            "span_events",
            "OTEL_STREAM_RECORD_AS=span_events puts stream parts on spans, so there are no log events.",
            "Unset it, or set it to both, if log events are wanted.",
        )
    if environ.get("OTEL_STREAM_EXPORT_MODES", "all").strip().lower() not in {"none", ""}:
        return None
    return Verdict(
        "stop",
        "OTEL_STREAM_EXPORT_MODES",
        "none",
        "OTEL_STREAM_EXPORT_MODES names no modes, so runs make no log events.",
        "Unset it, or name modes, such as updates,messages.",
    )


def switched_off(signal: str, words: list[str]) -> Verdict:
    """Look at the exporters of a signal: ``words`` of ``OTEL_*_EXPORTER`` that are not OTLP."""
    name = f"OTEL_{signal.upper()}_EXPORTER"
    if words in (["none"], []):
        return Verdict(
            "stop",
            name,
            "none",
            f"{name}=none switches {signal} off.",
            "Unset it, or set it to otlp.",
        )
    shown = ",".join(words)
    return Verdict(
        "stop",
        name,
        shown,
        f"{name}={shown} sends {signal} to no OTLP endpoint.",
        "Unset it, or add otlp to it.",
    )
