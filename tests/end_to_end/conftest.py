"""Programs in a process of their own, observed at an OTLP endpoint that the test serves."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.otlp_servers import Endpoint, grpc_server, http_server

ROOT = Path(__file__).parents[2]
SERVERS = {"grpc": grpc_server, "http/protobuf": http_server}
FILES = {
    "a.py": "import os\n\ndef f(a=[]):\n    os.system(a)\n",
    "broken.py": "def f(:\n",
    "pkg/busy.py": "def busy(x):\n" + "".join(f"    if x == {n}:\n        return {n}\n" for n in range(25)),
    "pkg/plain.py": "def one(): return 1\n\ndef two(): return 2\n",
}

Program = Callable[..., subprocess.CompletedProcess[str]]


class Arrived:
    """What an endpoint was sent, as trees and paths."""

    def __init__(self, endpoint: Endpoint, protocol: str) -> None:
        self.endpoint = endpoint
        self.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }

    def path(self, span_id: bytes) -> tuple[str, ...]:
        """Return the names from the root of the trace down to a span."""
        spans = {span.span_id: span for span in self.endpoint.spans()}
        names: list[str] = []
        span = spans[span_id]
        while span is not None:
            names.insert(0, span.name)
            assert span.parent_span_id in spans or not span.parent_span_id, f"{span.name} has no parent"
            span = spans.get(span.parent_span_id)
        return tuple(names)

    def paths(self) -> Counter[tuple[str, ...]]:
        return Counter(self.path(span.span_id) for span in self.endpoint.spans())

    def one(self, name: str) -> Any:
        (span,) = (span for span in self.endpoint.spans() if span.name == name)
        return span


@pytest.fixture(params=SERVERS)
def arrived(request: pytest.FixtureRequest) -> Iterator[Arrived]:
    with SERVERS[request.param]() as endpoint:
        yield Arrived(endpoint, request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run a Python program, or with ``-m`` a module, and return what it printed."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run
