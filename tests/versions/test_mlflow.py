"""A run as MLflow's own server shows it, by way of ``ProductView``: types, session, tokens, what was said."""

import importlib.util
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from backends.ports import LOOPBACK, free
from otel_stream.sdk import ProductView
from otel_stream.telemetry import resolve, set_options
from tests.backends.polling import eventually
from tests.otel_stream.calls.conftest import CAPTURE, LATEST
from tests.otel_stream.sdk.products import run_an_agent

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # theirs are theirs
    pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="make test-versions installs it"),
]

#: The experiment that a new store has.
EXPERIMENT = "0"
#: Without the processes that it has jobs done by, and without a word to those who made it.
ALONE = {
    **os.environ,
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free()["http"]
    command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'store.db'}"]
    url = f"http://{LOOPBACK}:{port}"
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=ALONE, stdout=log, stderr=log) as process,
    ):
        try:
            assert eventually(lambda: _answers(url), seconds=200), (folder / "log").read_text()
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
def test_mlflow_shows_types_sessions_tokens_and_what_was_said(server: str, *, latest: bool) -> None:
    from mlflow import MlflowClient

    thread = f"thread-{latest}"
    exporter = OTLPSpanExporter(f"{server}/v1/traces", headers={"x-mlflow-experiment-id": EXPERIMENT})
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ProductView("mlflow", exporter)))
    trace.set_tracer_provider(provider)
    set_options(resolve(environ={CAPTURE: "SPAN_ONLY", **(LATEST if latest else {})}))
    run_an_agent(thread)

    def kept() -> list[Any]:
        traces = MlflowClient(server).search_traces([EXPERIMENT])
        return [one for one in traces if one.info.trace_metadata.get("mlflow.trace.session") == thread]

    (shown,) = eventually(kept, lambda traces: bool(traces) and len(traces[0].data.spans) == SPANS)
    types = {span.name.partition(" ")[0]: span.span_type for span in shown.data.spans}
    assert types == {
        "invoke_workflow": "CHAIN",
        "superstep": "CHAIN",
        "invoke_node": "CHAIN",
        "attempt": "CHAIN",
        "execute_tool": "TOOL",
        "chat": "CHAT_MODEL",
    }
    assert shown.info.token_usage["input_tokens"] == 100
    assert shown.info.token_usage["output_tokens"] == 20
    (chat,) = [span for span in shown.data.spans if span.span_type == "CHAT_MODEL"]
    assert "?" in str(chat.inputs)
    assert "It rains in Paris." in str(chat.outputs)


#: Of the run, its superstep, its node and both attempts, the tool and the model.
SPANS = 7
