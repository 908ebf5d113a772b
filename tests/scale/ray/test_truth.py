"""What can be read off the telemetry of a run whose nodes run elsewhere is the run that happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given

from engine import Remote
from tests.differential.build import OURS
from tests.truth.elsewhere import Exports, SharedNotes, TracerHere
from tests.truth.execution import differences
from tests.truth.exported import pipeline
from tests.truth.generate import Case, cases, drawn
from tests.truth.rebuild import Rebuilder
from tests.truth.run import Program, told

EXAMPLES = int(os.environ.get("OTEL_STREAM_EXAMPLES", "40"))


class _Place:
    """Where the workers of all examples bring their notes and their spans."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exports = Exports(str(folder / "spans"))
        self._read = self._made = 0
        self.api = SimpleNamespace(**vars(OURS), on=Remote(num_cpus=0, concurrency=32, setup=self._exports))

    def notes(self) -> SharedNotes:
        self._made += 1
        return SharedNotes(str(self._folder / str(self._made)))

    def take(self) -> list[Any]:
        found, self._read = self._exports.take(self._read)
        return found


@contextmanager
def _place() -> Iterator[_Place]:
    # Where the path is short: a socket's can't be long.
    with TemporaryDirectory() as folder:
        yield _Place(Path(folder))


def _program(place: _Place) -> type[Program]:
    class RemoteProgram(Program):
        api = place.api

        def made_notes(self) -> Any:
            return place.notes()

        def tracer(self) -> Any:
            return TracerHere(self.pipeline.tracer)

        def run(self) -> Any:
            with self.notes.open():  # type: ignore[attr-defined]
                return super().run()

    return RemoteProgram


@pytest.mark.timeout(300 + 10 * EXAMPLES)
@pytest.mark.parametrize(
    ("kind", "content"),
    [("configured", True), ("plain", False)],
    ids=["configured, with content", "plain, without content"],
)
def test_the_exported_run_is_the_run_that_happened(
    kind: str, content: bool, tmp_path: Path, otel_globals: None
) -> None:
    with pipeline(kind, tmp_path, content=content) as pipe, _place() as place:
        program = _program(place)

        @drawn(EXAMPLES)
        @given(cases())
        def check(case: Case) -> None:
            happened, documents, contradictions = told(case, pipe, program)
            rebuilt = Rebuilder([*documents, *place.take()]).execution()
            if not content:
                happened, rebuilt = happened.without_content(), rebuilt.without_content()
            assert [*differences(happened, rebuilt), *contradictions] == []

        check()
