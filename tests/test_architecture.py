"""The shape of the source, held by tests: sizes, purity, who imports whom, what is public."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semconv.__main__ import GENERATED
from tests.source import circles, foreign_writes, imports

ROOT = Path(__file__).parent.parent
PACKAGES = ("otel_stream", "engine")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

PUBLIC = [path.parent for path in SOURCES if path.name == "__init__.py"]

#: What only a program that uses it should wait for: the gRPC exporter alone takes 0.2 s to import.
HEAVY = (
    "aiokafka",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "grpc",
    "langchain_core",
    "langgraph",
    "pydantic",
    "trio",
    "typer",
)

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_is_longer_than_600_lines() -> None:
    # What the registry says is written by a program, a line for each name.
    written = [path for path in SOURCES if name_of(path) not in GENERATED]
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in written}
    assert {name: n for name, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {
        f"{name_of(path)}:{function.lineno} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in SOURCES
        for function in functions(path)
    }
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def outside(module: str) -> bool:
    """Whether importing it brings in an event loop, a clock, chance or I/O."""
    loops = {"anyio", "asyncio", "concurrent", "threading", "trio"}
    return module.split(".", maxsplit=1)[0] in loops | {"datetime", "random", "time"} | {
        "io",
        "os",
        "pathlib",
        "socket",
    }


def test_superstep_decides_without_waiting_a_clock_or_io() -> None:
    path = ROOT / "engine" / "core" / "superstep.py"
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"line {node.lineno}: {type(node).__name__}")
        elif isinstance(node, ast.Import):
            found += [f"line {node.lineno}: {alias.name}" for alias in node.names if outside(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and outside(node.module or ""):
            found.append(f"line {node.lineno}: {node.module}")
    assert found == []


@pytest.mark.parametrize("package", PUBLIC, ids=name_of)
def test_all_names_what_the_package_offers(package: Path) -> None:
    module = importlib.import_module(name_of(package).replace("/", "."))
    public = getattr(module, "__all__", None)
    if public is None:
        pytest.skip("says nothing about what is public")
    assert sorted(public) == sorted(set(public)), "a name stands twice"
    assert [name for name in public if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_the_package_loads_no_sdk_exporter_or_framework(package: str) -> None:
    program = f"import sys, {package}; print(*sorted(m for m in sys.modules if m.startswith({HEAVY})))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout.split() == []


# -- who imports whom ------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source to plant something in."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_the_import_contracts_hold(tree: Path) -> None:
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_files_import_each_other() -> None:
    """Directly or by way of others, annotations included."""
    assert circles(imports()) == []


def test_a_planted_circle_is_found(tree: Path) -> None:
    with (tree / "engine/core/lineage.py").open("a") as source:
        source.write("\nif TYPE_CHECKING:\n    from .task import NodeTask\n")
    with (tree / "otel_stream/stream/inbox.py").open("a") as source:
        source.write("\nif TYPE_CHECKING:\n    from otel_stream.stream.admission import Admission\n")
    assert circles(imports(tree)) == [
        ["engine.core.lineage", "engine.core.task"],
        ["otel_stream.stream.admission", "otel_stream.stream.inbox"],
    ]


def test_no_attribute_of_a_run_is_written_outside_of_its_own_file() -> None:
    assert foreign_writes() == []


def test_a_planted_write_is_found(tree: Path) -> None:
    with (tree / "engine/api/pull.py").open("a") as source:
        source.write("\ndef f(loop):\n    loop.end, loop.env.run.resumes = None, 1\n    loop.step += 1\n")
    found = [place.partition(" ")[2] for place in foreign_writes(tree)]
    assert found == ["loop.end", "loop.env.run.resumes", "loop.step"]


VIOLATIONS = [
    ("otel_stream/stream/buffer.py", "import engine", "otel_stream never imports engine"),
    (
        "otel_stream/filters.py",
        "from otel_stream.stream.modes import anything",
        "the rooms of otel_stream look one way",
    ),
    (
        "otel_stream/stream/gap.py",
        "import typing\nif typing.TYPE_CHECKING:\n    from otel_stream.stream.buffer import Buffer",
        "the stream core is a pipeline",
    ),
    (
        "otel_stream/stream/receiver.py",
        "import opentelemetry.trace",
        "the stream core knows no OpenTelemetry",
    ),
    (
        "engine/run/loop.py",
        "from otel_stream.stream import receiver",
        "the engine's core sees only the events",
    ),
    (
        "engine/core/superstep.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..run.loop import RunLoop",
        "the rooms of the engine look one way",
    ),
    (
        "engine/api/builder.py",
        "from otel_stream.stream.stream import Stream",
        "only the run stream knows the stream",
    ),
    (
        "engine/run/attempt.py",
        "from opentelemetry import trace",
        "the engine itself imports no OpenTelemetry",
    ),
    ("engine/run/attempt.py", "from engine import anything", "nobody inside imports through the front door"),
]


def contracts() -> dict[str, dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["name"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}


def test_a_new_module_must_say_where_it_belongs(tree: Path) -> None:
    (tree / "otel_stream/stray.py").write_text("")
    done = lint_imports(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the rooms of otel_stream look one way BROKEN" in done.stdout


def test_every_contract_has_a_planted_violation() -> None:
    assert set(contracts()) == {broken for _, _, broken in VIOLATIONS}


@pytest.mark.parametrize(("file", "line", "broken"), VIOLATIONS)
def test_a_planted_import_breaks_its_contract(tree: Path, file: str, line: str, broken: str) -> None:
    with (tree / file).open("a") as source:
        source.write(f"\n{line}\n")
    done = lint_imports(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{broken} BROKEN" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("otel_stream/telemetry/spans.py", "from opentelemetry import trace", True),
        ("otel_stream/telemetry/spans.py", "from opentelemetry.sdk.trace import TracerProvider", False),
        ("otel_stream/sdk/configure/setup.py", "from opentelemetry.sdk.trace import TracerProvider", True),
        ("otel_stream/cli/demo.py", "import opentelemetry.exporter.otlp", False),
        ("engine/run/attempt.py", "    from langchain_core.messages import AIMessage", False),
        ("otel_stream/adapters/langchain.py", "from langchain_core.messages import AIMessage", True),
        ("engine/api/builder.py", "import langgraph.graph", False),
    ],
)
def test_an_outsider_is_imported_in_its_one_home_only(file: str, line: str, allowed: bool) -> None:
    source = f"def late():\n    {line.strip()}\n"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select=TID251", "--stdin-filename", file, "-"],
        cwd=ROOT,
        input=source,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode == 0) is allowed, done.stdout + done.stderr
