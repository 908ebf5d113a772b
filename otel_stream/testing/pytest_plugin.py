"""A fixture for pytest: ``run_telemetry`` is what the runs of one test export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_stream.testing.memory import RunTelemetry


@pytest.fixture
def run_telemetry() -> Iterator[RunTelemetry]:
    """Collect the spans, log events and metrics of the runs of this test, with their content."""
    # Late: a plugin is loaded in every test session of whoever has this package installed.
    from otel_stream.testing.memory import telemetry

    with telemetry(capture_content=True) as seen:
        yield seen
