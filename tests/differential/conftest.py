"""LangGraph does not await all it has made when a run fails: said here, and not in some later test."""

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _unawaited_by_langgraph(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)
        if code is None or "langgraph" not in code.co_filename:
            report(unraisable)

    monkeypatch.setattr(sys, "unraisablehook", report_others)
    yield
    gc.collect()
