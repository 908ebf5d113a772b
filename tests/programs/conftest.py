"""Small programs in processes of their own, and what they export to a file."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Seconds after which a program hangs; far more than any of them takes.
PATIENCE = 50


class Exported:
    """The spans and log events in a file of OTLP JSON lines, each of them a whole line."""

    def __init__(self, path):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.spans = list(self._all(lines, "Spans", "spans"))
        self.logs = list(self._all(lines, "Logs", "logRecords"))

    def _all(self, lines, kind, items):
        for line in lines:
            for resource in line.get(f"resource{kind}", ()):
                for scope in resource[f"scope{kind}"]:
                    yield from scope[items]

    @property
    def names(self):
        return sorted(span["name"] for span in self.spans)

    @property
    def traces(self):
        """Trace id -> names of its spans, sorted; each span has its parent in its trace, or is a root."""
        found = {}
        for span in self.spans:
            found.setdefault(span["traceId"], []).append(span["name"])
            above = span.get("parentSpanId")
            assert not above or (span["traceId"], above) in {(s["traceId"], s["spanId"]) for s in self.spans}
        return {trace: sorted(names) for trace, names in found.items()}

    def ends(self, key):
        """What every span says of its end under ``key``."""
        return [
            attribute["value"]["stringValue"]
            for span in self.spans
            for attribute in span["attributes"]
            if attribute["key"] == key
        ]

    def parts(self):
        """Names of the log events that are stream parts, in their order."""
        return [
            log["eventName"] for log in self.logs if log["eventName"] in ("graph.custom", "graph.updates")
        ]


class Programs:
    """Runs programs in ``folder``."""

    def __init__(self, folder):
        self.folder = folder

    def environment(self, **more):
        quiet = {"OTEL_METRICS_EXPORTER": "none", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **quiet, **more}

    def start(self, *arguments, **settings):
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(**settings.pop("environment", {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )

    def run(self, source, *, code=0, warnings="error", **environment):
        """Run ``source`` to its end, which must be ``code``; return what it printed on both channels."""
        with self.start("-W", warnings, "-c", textwrap.dedent(source), environment=environment) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert process.returncode == code, err
        return out, err

    def exported(self, name="t.jsonl"):
        return Exported(self.folder / name)


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)
