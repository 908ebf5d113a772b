"""``otel-stream doctor`` before real backends: what it finds, and what it says when something is missing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from backends import places
from backends.ports import Ports, free
from backends.programs import url
from tests.backends.collectors import Collector
from tests.backends.conftest import ROOT
from tests.backends.polling import eventually
from tests.backends.stores import Stack

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(tmp_path: Path, stack: Stack) -> Doctor:
    """Run the doctor, which is told where the stores of the test are."""
    asked = {f"OTEL_STREAM_DOCTOR_{name.upper()}": where for name, where in stack.urls.items()}

    def run(endpoint: str, wait: float, **variables: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "otel_stream.cli", "doctor", endpoint, "--json", "--wait", str(wait)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                **asked,
                "OTEL_SERVICE_NAME": "doctor-test",
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture
def beside(stack: Stack) -> Ports:
    """Ports of another Collector in front of the same stores."""
    return free()


def troubles(whole: dict[str, Any]) -> list[tuple[str, str, list[str], str]]:
    return [
        (one["check"], one["state"], one["signals"], f"{one['means']} {one['change']}")
        for one in whole["findings"]
        # Other stores than those of the test are not there.
        if one["state"] not in {"ok", "skipped"}
    ]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_run_is_found_in_every_store(doctor: Doctor, stack: Stack, protocol: str) -> None:
    endpoint = url(stack.ports["grpc"]) if protocol == "grpc" else stack.endpoint
    code, whole = doctor(endpoint, 60, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    assert (code, troubles(whole)) == (0, [])
    signals = whole["signals"]
    assert {name: signal["found_in"] for name, signal in signals.items()} == {
        "traces": [stack.traces_in],
        "logs": [stack.logs_in],
        "metrics": ["prometheus"],
    }
    # Its run is found as soon as something of it is; the stores show the rest in a moment.
    for name, asked in (("traces", stack.traces), ("logs", stack.logs)):
        exported = signals[name]["exported"]
        found = eventually(partial(asked, whole["trace_id"]), lambda rows, most=exported: len(rows) == most)
        assert len(found) == exported > 0


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("missing", ["logs", "metrics"])
def test_a_collector_without_a_pipeline(
    doctor: Doctor, beside: Ports, tmp_path: Path, stack: Stack, protocol: str, missing: str
) -> None:
    configuration = yaml.safe_load((places.configurations() / stack.name / "local.yaml").read_text())
    del configuration["service"]["pipelines"][missing]
    file = tmp_path / "collector.yaml"
    file.write_text(yaml.safe_dump(configuration))
    collector = Collector(file, beside, tmp_path / "collector", stack.variables).start()
    port = beside["grpc" if protocol == "grpc" else "http"]
    try:
        code, whole = doctor(url(port), 60, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    finally:
        collector.stop()
    others = " and ".join(name for name in ("traces", "logs", "metrics") if name != missing)
    assert (code, troubles(whole)) == (
        1,
        [
            (
                "answer",
                "stop",
                [missing],
                (
                    f"The Collector at 127.0.0.1:{port} has no pipeline for {missing}, "
                    f"though it takes {others}. "
                    f"Add {missing} with its OTLP receiver to service.pipelines of its configuration, "
                    f"or set OTEL_{missing.upper()}_EXPORTER=none."
                ),
            )
        ],
    )
    assert {name for name, signal in whole["signals"].items() if signal["arrived"]} == {
        "traces",
        "logs",
        "metrics",
    } - {missing}


def test_a_sampler_that_keeps_nothing(doctor: Doctor, stack: Stack) -> None:
    code, whole = doctor(stack.endpoint, 60, OTEL_TRACES_SAMPLER="always_off")
    assert (code, troubles(whole)) == (
        1,
        [
            (
                "sampler",
                "stop",
                ["traces", "logs"],
                (
                    "OTEL_TRACES_SAMPLER=always_off keeps no run: its spans are not "
                    "exported, and log events follow "
                    "them. Unset it, or set it to parentbased_always_on."
                ),
            )
        ],
    )
    assert whole["signals"]["metrics"]["found_in"] == ["prometheus"]


def test_a_gateway_that_samples_the_run_away(
    doctor: Doctor, beside: Ports, collector: Any, stack: Stack
) -> None:
    nothing = {"OTEL_STREAM_KEEP_FROM": "g", "OTEL_STREAM_KEEP_LOGS_FROM": "g"}
    collector(f"{stack.name}/gateway", beside, **stack.variables, **nothing).start()
    code, whole = doctor(url(beside["http"]), 12)
    assert code == 1
    by_sampler = "a sampler dropped them (tail_sampling, OTEL_STREAM_KEEP_FROM)"
    dropped = [
        (stack.traces_in, "traces", "spans", by_sampler),
        (stack.logs_in, "logs", "log events", "a filter dropped them (OTEL_STREAM_KEEP_LOGS_FROM)"),
    ]
    assert troubles(whole) == [
        (
            name,
            "stop",
            [signal],
            (
                f"The endpoint took the run's {words}, but {name} has none of them: "
                f"the Collector does not send them there, or {why}. "
                f"Give the Collector's {signal} pipeline an exporter to {name}, keep more there, "
                "or wait longer (--wait)."
            ),
        )
        for name, signal, words, why in dropped
    ]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_with_tls(
    doctor: Doctor, beside: Ports, tmp_path: Path, stack: Stack, protocol: str
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("authority", "certificate", "key")}
    authority.cert_pem.write_to_path(str(files["authority"]))
    issued.cert_chain_pems[0].write_to_path(str(files["certificate"]))
    issued.private_key_pem.write_to_path(str(files["key"]))
    configuration = yaml.safe_load((places.configurations() / stack.name / "local.yaml").read_text())
    for listener in configuration["receivers"]["otlp"]["protocols"].values():
        listener["tls"] = {"cert_file": str(files["certificate"]), "key_file": str(files["key"])}
    file = tmp_path / "collector.yaml"
    file.write_text(yaml.safe_dump(configuration))
    collector = Collector(file, beside, tmp_path / "collector", stack.variables).start()
    place = f"127.0.0.1:{beside['grpc' if protocol == 'grpc' else 'http']}"
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}
    try:
        without = doctor(f"http://{place}", 60, **variables)
        distrusted = doctor(f"https://{place}", 60, **variables)
        variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(files["authority"])
        trusted = doctor(f"https://{place}", 60, **variables)
    finally:
        collector.stop()
    assert {message for *_, message in troubles(without[1])} == {
        f"{place} expects TLS, and is spoken to without. Write https://{place} into ENDPOINT."
    }
    assert [message for *_, message in troubles(distrusted[1])] == [
        (
            f"The certificate of {place} comes from an authority that is not trusted here. "
            "Set OTEL_EXPORTER_OTLP_CERTIFICATE to a file with the certificate of that authority."
        )
    ]
    assert (trusted[0], troubles(trusted[1])) == (0, [])


@pytest.mark.parametrize(
    ("listener", "protocol", "spoken", "remedy"),
    [
        ("grpc", "http/protobuf", ("gRPC", "HTTP"), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc,"),
        ("http", "grpc", ("HTTP", "gRPC"), "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf,"),
    ],
)
def test_the_wrong_protocol_for_a_collector(
    doctor: Doctor, stack: Stack, listener: str, protocol: str, spoken: tuple[str, str], remedy: str
) -> None:
    endpoint = url(stack.ports[listener])
    code, whole = doctor(endpoint, 60, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    place = endpoint.removeprefix("http://")
    assert code == 1
    (message,) = {message for *_, message in troubles(whole)}
    assert message.startswith(f"{place} speaks {spoken[0]}, and is spoken to over {spoken[1]}. Set {remedy}")
