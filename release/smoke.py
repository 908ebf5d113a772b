"""The wheel as a user gets it: in a clean environment, outside of the repository, on each Python."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from release.artefacts import ROOT
from release.environments import made
from release.pythons import ADVERTISED, found

#: What must work with nothing but the wheel: a graph, a stream, and the names.
_BARE: Final = """
import asyncio, importlib.metadata, sys
import engine, otel_stream
from engine import START, StateGraph

assert otel_stream.__version__ == importlib.metadata.version("otel-stream") == {version!r}
graph = StateGraph(dict).add_node("one", lambda state: {{"n": 1}}).add_edge(START, "one")
graph = graph.compile(name="smoke")
assert graph.invoke({{}}) == {{"n": 1}}, graph.invoke({{}})

async def main():
    async with graph.open_stream({{}}) as stream:
        assert [part.data async for part in stream] == [{{"one": {{"n": 1}}}}]

asyncio.run(main())
assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "langgraph", "starlette"))]
"""


def shown(page: str) -> list[str]:
    """Return the programs that a page shows, not those in comments, which may need more than the wheel."""
    visible = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", visible, re.MULTILINE | re.DOTALL)


def tried(wheel: Path, version: str, work: Path) -> dict[str, str]:
    """Return, by Python, how it went: "passed", "not here", or what went wrong."""
    return {python: _tried(wheel, version, python, work / python) for python in ADVERTISED}


def _tried(wheel: Path, version: str, python: str, work: Path) -> str:
    interpreter = found(python)
    if interpreter is None:
        return "not here"
    bare = made(work / "bare", interpreter, str(wheel))
    whole = made(work / "whole", interpreter, f"{wheel}[otlp,view,web]")
    samples = shown((ROOT / "README.md").read_text(encoding="utf-8"))
    commands = [
        [str(bare), "-W", "error", "-c", _BARE.format(version=version)],
        [str(bare.parent / "otel-stream"), "--version"],
        *([str(whole), "-c", sample] for sample in samples),
        [str(whole.parent / "otel-stream"), "demo", "--limit", "3"],
    ]
    for command in commands:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(  # noqa: S603
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
            )
        if done.returncode:
            return f"{' '.join(command)[:200]} ended with {done.returncode}: {done.stderr[-2000:]}"
    return "passed"
