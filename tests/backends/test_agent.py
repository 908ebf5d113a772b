"""The Collector beside the app: killed, cut off, full. What is lost is nothing, or what the counters say."""

from typing import Any

import pytest

from backends.ports import free
from tests.backends.collectors import Collector
from tests.backends.conftest import Demo
from tests.backends.polling import eventually
from tests.backends.stores import Stack

#: Small batches, sent often: there is always something on its way.
EAGER = {
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
    "OTEL_BLRP_SCHEDULE_DELAY": "50",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "64",
}


def on_this_host(port: int) -> dict[str, str]:
    """Return what an agent is told of a gateway that nobody is between: TLS is its default."""
    return {"OTEL_STREAM_GATEWAY": f"127.0.0.1:{port}", "OTEL_STREAM_GATEWAY_INSECURE": "true"}


@pytest.fixture
def agent(collector: Any, stack: Stack) -> Collector:
    return collector("agent", **on_this_host(stack.ports["grpc"])).start()


def arrived(stack: Stack, run: Demo, wanted: dict[str, int]) -> dict[str, int]:
    """Return how many different spans and log events of a run there are, once they are as many as wanted."""

    def ask() -> dict[str, int]:
        return {
            "spans": len({span.span_id for span in stack.traces(run.trace_id)}),
            "logs": len(set(stack.logs(run.trace_id))),
        }

    return eventually(ask, lambda got: got == wanted, seconds=60)


def test_a_kill_in_the_middle_of_a_run_loses_nothing(stack: Stack, agent: Collector, demo: Any) -> None:
    run = demo(agent.endpoint, "--limit", 160, **EAGER)
    # Killed while it holds what it has taken and not handed on; the run goes on meanwhile.
    held = eventually(lambda: on_hand(agent), lambda number: number >= 64)
    agent.kill()
    assert run.process.poll() is None, "the run was over before the Collector was killed"
    agent.start()
    run.finish()
    assert held >= 64
    assert run.lost == {"spans": 0, "logs": 0}
    assert arrived(stack, run, run.exported) == run.exported


def on_hand(agent: Collector) -> float:
    sent = agent.counter("otelcol_exporter_sent_log_records")
    return agent.counter("otelcol_receiver_accepted_log_records") - sent


def test_a_gateway_that_is_away_costs_nothing(stack: Stack, collector: Any, demo: Any) -> None:
    agent, gateway = behind(stack, collector)
    agent.start()
    run = demo(agent.endpoint, "--limit", 20, **EAGER).finish()
    assert run.lost == {"spans": 0, "logs": 0}
    waiting = eventually(lambda: agent.counter("otelcol_exporter_queue_size"))
    agent.kill()  # what waits is on disk, so it outlives the Collector, too
    gateway.start()
    agent.start()
    assert waiting > 0
    assert arrived(stack, run, run.exported) == run.exported


def test_a_full_disk_queue_loses_exactly_what_the_counters_say(
    stack: Stack, collector: Any, demo: Any
) -> None:
    agent, gateway = behind(stack, collector, OTEL_STREAM_QUEUE_ITEMS="600")
    agent.start()
    run = demo(agent.endpoint, "--limit", 100, **EAGER).finish()
    refused = agent.counter("otelcol_exporter_enqueue_failed_log_records")  # each attempt is counted
    taken = {
        "spans": int(agent.counter("otelcol_receiver_accepted_spans")),
        "logs": int(agent.counter("otelcol_receiver_accepted_log_records")),
    }
    assert run.lost["spans"] > 0
    assert run.lost["logs"] > 0
    assert refused > 0
    assert run.exported == taken
    gateway.start()
    assert arrived(stack, run, taken) == taken


def behind(stack: Stack, collector: Any, **environment: str) -> tuple[Collector, Collector]:
    """Make an agent and a gateway of its own, neither started yet, with the stack's stores behind them."""
    ports = free()
    gateway = collector(f"{stack.name}/gateway", ports, **stack.variables)
    return collector("agent", **on_this_host(ports["grpc"]), **environment), gateway
