"""Where telemetry went, in sentences."""

from types import SimpleNamespace
from typing import Any

import pytest

from otel_stream.cli.exported import describe
from otel_stream.sdk import Counts


def handle(counts: dict[str, Counts], owned: bool = True) -> Any:
    return SimpleNamespace(
        owned=owned, reason="OTEL_SDK_DISABLED is true.", destination="f", counts=lambda: counts
    )


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        (
            handle({"spans": Counts(1200, 1200), "logs": Counts(1, 1), "metrics": Counts()}),
            ["Exported 1,200 spans, 1 log event, 0 metric points to f"],
        ),
        (
            handle({"spans": Counts(3, 1, 2)}),
            [
                "Exported 1 span to f",
                (
                    "LOST 2 spans: f did not take them. "
                    "The run itself is not affected; `otel-stream doctor` looks for the reason."
                ),
            ],
        ),
        (handle({}, owned=False), ["No telemetry was exported: OTEL_SDK_DISABLED is true."]),
    ],
)
def test_what_was_exported_and_lost_is_said(told: Any, lines: list[str]) -> None:
    assert describe(told) == lines
