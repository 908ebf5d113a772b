"""Processors and exporters that raise or hang: the run does not notice, and the program ends."""

import socket

import pytest

RAISES = """
    import logging
    from opentelemetry import trace, _logs
    from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
    from opentelemetry.sdk.trace import SpanProcessor
    from tests.programs import small

    class Raises(SpanProcessor, LogRecordProcessor):
        def on_start(self, span, parent_context=None): raise RuntimeError("on_start")
        def on_end(self, span): raise RuntimeError("on_end")
        def on_emit(self, log_record): raise RuntimeError("on_emit")
        def shutdown(self): pass
        def force_flush(self, timeout_millis=30_000): return True

    spans = small.memory()
    loggers = LoggerProvider()
    _logs.set_logger_provider(loggers)
    WHICH
    for _ in range(3):
        print(small.graph().invoke({"x": 0}))
"""


@pytest.mark.parametrize(
    "which",
    [
        "trace.get_tracer_provider().add_span_processor(Raises())",
        "loggers.add_log_record_processor(Raises())",
    ],
    ids=["spans", "logs"],
)
def test_processors_that_raise_cost_no_run_its_result_and_each_run_one_warning(programs, which):
    out, err = programs.run(RAISES.replace("WHICH", which))
    assert out == "{'x': 2}\n" * 3
    assert err.count("Telemetry of a run is incomplete") == 3


HANGS = """
    import threading
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from tests.programs import small

    exporting, runs_are_over = threading.Event(), threading.Event()

    class Hangs(SpanExporter):
        def export(self, spans):
            exporting.set()
            runs_are_over.wait()
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Hangs(), max_queue_size=8, max_export_batch_size=4))
    trace.set_tracer_provider(provider)
    small.graph().invoke({"x": 0})
    exporting.wait()
    for _ in range(20):
        assert small.graph().invoke({"x": 0}) == {"x": 2}
    runs_are_over.set()
    print("done")
"""


def test_an_exporter_that_hangs_holds_up_no_run(programs):
    out, _ = programs.run(HANGS)
    assert out == "done\n"


def test_a_configured_program_ends_though_its_endpoint_never_answers(programs):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never says a word
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        out, err = programs.run(f"""
            from otel_stream import configure
            from tests.programs import small
            configure(endpoint={url!r}, modes="custom,updates", shutdown_timeout=0.3)
            print(small.graph().invoke({{"x": 0}}))
        """)
    assert out == "{'x': 2}\n"
    (line,) = err.splitlines()
    assert line.startswith(f"Telemetry was lost on its way to {url} (http/protobuf): 5 spans, 6 logs.")


def test_a_consumer_that_raises_or_leaves_costs_no_telemetry(programs):
    out, err = programs.run("""
        import asyncio
        from otel_stream import StreamConfig, configure
        from tests.programs import small

        configure(path="t.jsonl", modes="custom,updates")

        async def main():
            def broken(part):
                raise OSError("filter")
            config = StreamConfig(modes="updates", filter=broken, name="broken")
            async with small.graph().open_stream({"x": 0}, config, StreamConfig(modes="updates")) as stream:
                print([part.node async for part in stream.receivers[1]])

        asyncio.run(main())
    """)
    assert out == "['plan', 'act']\n"
    assert "receiver 'broken' is cut off from its stream: OSError in broken (" in err
    assert programs.exported().parts() == ["graph.custom", "graph.updates", "graph.updates"]
