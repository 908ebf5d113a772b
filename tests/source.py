"""What the source says of itself: who imports whom, who writes whose attributes, and how much there is of it.

``python -m tests.source`` prints the circles of files, the imports of annotations included, and the
attributes of runs that are written outside of their own file. ``--lines COMMIT`` prints the lines of each
room then and now instead, without what generators write.
"""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("otel_stream", "engine")
#: What a run is made of → the names it goes by, and the file that may write to it.
OWNERS = {
    "engine/run/loop.py": {"loop", "running_loop"},
    "engine/core/task.py": {"env", "run"},
    "engine/run/checkpointing.py": {"checkpoints", "persist", "memory"},
    "engine/core/continuation.py": {"continuation"},
    "engine/core/lineage.py": {"lineage"},
}


#: What files were added for since there are rooms, so that lines can be counted with and without them.
FEATURES = {
    "engine and streams that hold (issue 12)": (
        "engine/api/printing.py",
        "engine/graph/injection.py",
        "engine/langgraph.py",
        "engine/run/langgraph_keys.py",
        "engine/run/showing.py",
        "otel_stream/adapters/chains.py",
        "otel_stream/adapters/runnable.py",
        "otel_stream/encoding/",
        "otel_stream/stream/coalescing.py",
        "otel_stream/stream/copying.py",
        "otel_stream/stream/guard.py",
        "otel_stream/stream/inbox.py",
    ),
    "telemetry that arrives (issue 13)": (
        "otel_stream/sdk/configure/losses.py",
        "otel_stream/sdk/configure/termination.py",
        "otel_stream/sdk/export/answers.py",
        "otel_stream/sdk/export/delivery.py",
        "otel_stream/sdk/export/encoding.py",
        "otel_stream/sdk/export/over_",
        "otel_stream/sdk/export/otlp.py",
        "otel_stream/sdk/export/repair.py",
        "otel_stream/sdk/export/shortening.py",
        "otel_stream/sdk/logs/python_logging.py",
        "otel_stream/telemetry/variables.py",
    ),
    "LangGraph's runs (issue 14)": ("otel_stream/adapters/langgraph/",),
    "ranges and backends (issue 10)": (
        "otel_stream/cli/backends.py",
        "otel_stream/sdk/lean/rehearsal.py",
        "otel_stream/sdk/versions.py",
        "otel_stream/telemetry/logs/older.py",
    ),
}


def module_of(path: Path, root: Path = ROOT) -> str:
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(root: Path = ROOT) -> dict[str, set[str]]:
    """Return, by module, the modules of ours that it names in an import, wherever that stands."""
    files = {module_of(path, root): path for name in PACKAGES for path in (root / name).rglob("*.py")}
    return {name: set(_imported(path, name, files)) - {name} for name, path in files.items()}


def _imported(path: Path, name: str, known: dict[str, Path]) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            for alias in node.names:
                found = f"{base}.{alias.name}"
                if found in known or base in known:
                    yield found if found in known else base


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or by way of others."""
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in graph
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def foreign_writes(root: Path = ROOT) -> list[str]:
    """Return where an attribute of a run's values is written in another file than their own."""
    return [
        f"{path.relative_to(root).as_posix()}:{target.lineno} {ast.unparse(target)}"
        for path in sorted((root / "engine").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete)
        for target in _targets(node)
        if _owner(target) not in (None, path.relative_to(root).as_posix())
    ]


def _targets(node: ast.stmt) -> Iterator[ast.Attribute]:
    whole = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]  # type: ignore[attr-defined]
    for target in whole:
        for one in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(one, ast.Attribute):
                yield one


def _owner(target: ast.Attribute) -> str | None:
    """Return the file that may write ``target``, None if that is anybody's."""
    of = target.value
    name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
    return next((file for file, names in OWNERS.items() if name.lstrip("_") in names), None)


# --- Lines ------------------------------------------------------------------------------------------


def lines_now(root: Path = ROOT) -> dict[str, int]:
    """Return the lines of each file of ours that nobody has generated."""
    files = (path for name in PACKAGES for path in (root / name).rglob("*.py"))
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in files}
    return {name: text.count("\n") for name, text in texts.items() if not _is_generated(text)}


def lines_then(commit: str, root: Path = ROOT) -> dict[str, int]:
    """Return the same of a commit."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout

    names = [
        name
        for name in git("ls-tree", "-r", "--name-only", commit, *PACKAGES).split()
        if name.endswith(".py")
    ]
    texts = {name: git("show", f"{commit}:{name}") for name in names}
    return {name: text.count("\n") for name, text in texts.items() if not _is_generated(text)}


def _is_generated(text: str) -> bool:
    return "\nGenerated from" in text[:400]


def print_lines(then: dict[str, int], now: dict[str, int]) -> None:
    """Print the lines of each room, what was added for another purpose behind."""
    for name in PACKAGES:
        mine = [
            {file: count for file, count in one.items() if file.startswith(f"{name}/")} for one in (then, now)
        ]
        rooms = [_summed(one, _room) for one in mine]
        for room in sorted(rooms[0] | rooms[1]):
            _print(room, rooms[0][room], rooms[1][room])
        _print(f"{name}: all", *(sum(one.values()) for one in mine))
        added = [{file: count for file, count in one.items() if _added(file)} for one in mine]
        features = [_summed(one, _added) for one in added]
        for feature in sorted(features[0] | features[1]):
            _print(f"  for {feature}", features[0][feature], features[1][feature])
        _print(
            f"{name}: the rest",
            *(sum(one.values()) - sum(more.values()) for one, more in zip(mine, added, strict=True)),
        )
        print()


def _print(what: str, then: int, now: int) -> None:
    print(f"{what:<60}{then:>8}{now:>8}{now - then:>+8}")


def _summed(lines: dict[str, int], key: Callable[[str], str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for file, count in lines.items():
        found[key(file)] += count
    return found


def _room(file: str) -> str:
    parts = file.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def _added(file: str) -> str:
    """Return which feature a file, or its folder, was added for; "" if it is of the house."""
    return next((feature for feature, places in FEATURES.items() if file.startswith(places)), "")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--lines"]:
        print_lines(lines_then(sys.argv[2]), lines_now())
        sys.exit()
    found = circles(imports())
    print(f"{len(found)} circles of files")
    for circle in found:
        print("  " + " ".join(circle))
    written = foreign_writes()
    print(f"{len(written)} attributes of runs written outside of their own file")
    for place in written:
        print("  " + place)
    sys.exit(bool(found or written))
