"""A traced run beside the distributions that most people have; each is installed where it is tested."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tests.otlp_servers import http_server
from tests.versions.programs import GRAPH, OWN, run
from tests.versions.test_both_ways import SPANS


def needs(module: str) -> pytest.MarkDecorator:
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    return pytest.mark.skipif(found is None, reason=f"{module} is installed by make test-versions")


@needs("azure.monitor.opentelemetry")
def test_beside_azure_monitor(tmp_path):
    seen = run(
        "import warnings",
        GRAPH.replace('simplefilter("error")', 'simplefilter("default")'),
        OWN,
        """
        from azure.monitor.opentelemetry import configure_azure_monitor
        configure_azure_monitor(
            connection_string="InstrumentationKey=00000000-0000-0000-0000-000000000000;"
                              "IngestionEndpoint=http://127.0.0.1:9",
            disable_offline_storage=True, enable_live_metrics=False, sampling_ratio=1.0,
            span_processors=[SimpleSpanProcessor(spans)],
            log_record_processors=[export.SimpleLogRecordProcessor(logs)],
        )
        from otel_stream import configure
        handle = configure()
        assert not handle.owned, handle
        graph.invoke({"x": 1})
        show()
        import os; sys.stdout.flush(); os._exit(0)  # its exporters would try until they give up
        """,
        cwd=tmp_path,
        env={"APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true"},
    )
    assert SPANS.items() <= seen["spans"].items()
    assert ["graph.run_end", "invoke_workflow triage"] in seen["logs"]


@needs("logfire")
def test_beside_logfire(tmp_path):
    seen = run(
        GRAPH,
        OWN,
        """
        import logfire
        from otel_stream import configure
        logfire.configure(
            send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(spans)],
            metrics=logfire.MetricsOptions(additional_readers=[reader]),
        )
        handle = configure()
        assert not handle.owned, handle
        with logfire.span("theirs"):
            graph.invoke({"x": 1})
        show()
        """,
        cwd=tmp_path,
    )
    assert seen["spans"]["invoke_workflow triage"] == "theirs"
    assert seen["spans"]["invoke_node first"] == "superstep"
    assert "graph.node.duration" in seen["metrics"]


@needs("openinference.instrumentation.langchain")
def test_beside_openinference(tmp_path):
    seen = run(
        GRAPH,
        OWN,
        """
        from langchain_core.runnables import RunnableLambda
        from openinference.instrumentation.langchain import LangChainInstrumentor
        trace.set_tracer_provider(tracers := TracerProvider())
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        LangChainInstrumentor().instrument()
        RunnableLambda(lambda _: graph.invoke({"x": 1}), name="theirs").invoke(0)
        show()
        """,
        cwd=tmp_path,
    )
    assert "theirs" in seen["spans"]
    assert seen["spans"]["invoke_node first"] == "superstep"


@needs("opentelemetry.distro")
def test_beside_the_distro(tmp_path):
    with http_server() as endpoint:
        told = run(
            GRAPH,
            """
            from otel_stream import configure
            handle = configure()
            graph.invoke({"x": 1})
            print(json.dumps(handle.owned))
            """,
            cwd=tmp_path,
            start=(str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable),
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        )
        assert told is False
        names = {span.span_id: span.name for span in endpoint.spans()}
        assert {span.name: names.get(span.parent_span_id) for span in endpoint.spans()} == SPANS
        assert json.dumps(sorted({one.event_name for one in endpoint.records()})) != "[]"
