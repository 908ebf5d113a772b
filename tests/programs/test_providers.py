"""Who sets which provider, and when."""

import textwrap

import pytest

TREE = ["invoke_node act", "invoke_node plan", "invoke_workflow triage", "superstep", "superstep"]

ORDERS = {
    "before": """
        from tests.programs import small
        spans = small.memory()
        graph = small.graph()
        graph.invoke({"x": 0})
    """,
    "before the import": """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        spans = InMemorySpanExporter()
        trace.set_tracer_provider(TracerProvider())
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))
        from tests.programs import small
        small.graph().invoke({"x": 0})
    """,
    "after the graph was built": """
        from tests.programs import small
        graph = small.graph()
        spans = small.memory()
        graph.invoke({"x": 0})
    """,
    "after the first run": """
        from tests.programs import small
        graph = small.graph()
        graph.invoke({"x": 0})
        spans = small.memory()
        graph.invoke({"x": 0})
    """,
    "after configure() has found it and set the rest": """
        from tests.programs import small
        from otel_stream import configure
        spans = small.memory()
        configure(path="t.jsonl")
        small.graph().invoke({"x": 0})
    """,
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_provider_is_used_whenever_it_was_set(programs, order):
    program = textwrap.dedent(ORDERS[order]) + "print(sorted(small.names(spans)))"
    assert programs.run(program) == (f"{TREE}\n", "")


def test_engines_on_threads_and_loops_of_their_own_share_a_provider_and_no_trace(programs):
    out, err = programs.run("""
        import asyncio, threading
        from engine import ExecutionEngine
        from otel_stream import StreamConfig, configure
        from tests.programs import small

        configure(path="t.jsonl", modes="custom,updates")
        together = threading.Barrier(4)

        async def one(name):
            engine = ExecutionEngine()
            together.wait()
            for number in range(5):
                config = StreamConfig(modes="updates")
                run, receiver = await engine.execute_with_stream(small.graph(name), {"x": number}, config)
                assert [part.node async for part in receiver] == ["plan", "act"]
                assert await run == {"x": number + 2}

        threads = [threading.Thread(target=lambda name=name: asyncio.run(one(name))) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print("done")
    """)
    assert (out, err) == ("done\n", "")
    exported = programs.exported()
    assert sorted(exported.traces.values()) == sorted(
        sorted(["superstep", "superstep", "invoke_node plan", "invoke_node act", f"invoke_workflow {name}"])
        for name in "abcd"
        for _ in range(5)
    )
    assert sorted(exported.parts()) == ["graph.custom"] * 20 + ["graph.updates"] * 40


def test_spans_of_a_second_provider_are_inside_their_node_and_go_their_own_way(programs):
    out, err = programs.run("""
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from tests.programs import small

        ours = small.memory()
        theirs = InMemorySpanExporter()
        second = TracerProvider()
        second.add_span_processor(SimpleSpanProcessor(theirs))

        def calls(state):
            with second.get_tracer("a library").start_as_current_span("call"):
                return {"x": 1}

        small.graph(calls=calls).invoke({"x": 0})
        (call,) = theirs.get_finished_spans()
        (node,) = [span for span in ours.get_finished_spans() if span.name == "invoke_node calls"]
        assert call.parent.span_id == node.context.span_id
        print(sorted(small.names(ours)))
    """)
    assert (out, err) == ("['invoke_node calls', 'invoke_workflow triage', 'superstep']\n", "")
