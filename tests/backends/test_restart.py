"""What was stored outlives the processes that store it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.native import Native
from backends.ports import free
from backends.programs import url
from tests.backends.polling import eventually
from tests.backends.stores import Stack


@pytest.fixture
def native(tmp_path: Path) -> Iterator[Native]:
    made = Native(tmp_path / "native")
    yield made
    made.stop(delete_data=True)


def test_traces_and_log_events_are_there_after_a_restart(native: Native, demo: Any) -> None:
    ports = free()
    urls = {name: url(ports[name]) for name in ("jaeger", "victorialogs", "prometheus")}
    stack = Stack("jaeger-victorialogs", ports, urls, {})

    def there() -> tuple[int, int]:
        return len(stack.traces(run.trace_id)), len(stack.logs(run.trace_id))

    native.start(ports, "local", 60, lambda _: None)
    run = demo(stack.endpoint, "--limit", 3).finish()
    sent = (run.exported["spans"], run.exported["logs"])
    assert eventually(there, lambda got: got == sent) == sent
    assert native.stop() == ["prometheus", "jaeger", "victorialogs", "otelcol"]
    native.start(ports, "local", 60, lambda _: None)
    assert eventually(there, lambda got: got == sent) == sent
