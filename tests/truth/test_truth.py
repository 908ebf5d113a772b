"""What can be read off the exported spans, links and log events is the run that happened."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given

from tests.truth.execution import differences
from tests.truth.exported import pipeline
from tests.truth.generate import Case, cases, drawn
from tests.truth.rebuild import Rebuilder
from tests.truth.run import told

EXAMPLES = int(os.environ.get("OTEL_STREAM_EXAMPLES", "60"))


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell whether telemetry complains: of a context that can't be detached, or a span that has ended."""
    return record.levelno >= logging.WARNING and record.name.startswith(("opentelemetry", "otel_stream"))


@pytest.mark.timeout(600 + EXAMPLES)
@pytest.mark.parametrize("content", [True, False], ids=["with content", "without content"])
@pytest.mark.parametrize("kind", ["configured", "plain"])
def test_the_exported_run_is_the_run_that_happened(
    kind: str, content: bool, tmp_path: Path, otel_globals: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pipeline(kind, tmp_path, content=content) as pipe:

        @drawn(EXAMPLES)
        @given(cases())
        def check(case: Case) -> None:
            happened, documents, contradictions = told(case, pipe)
            rebuilt = Rebuilder(documents).execution()
            if not content:
                happened, rebuilt = happened.without_content(), rebuilt.without_content()
            assert [*differences(happened, rebuilt), *contradictions] == []
            assert [one.getMessage() for one in caplog.records if _is_ours(one)] == []

        check()
