"""What the source says of itself: who imports whom, and who writes whose attributes.

``python -m tests.source`` prints the circles of files, the imports of annotations included, and the
attributes of runs that are written outside of their own file.
"""

import ast
import sys
from collections.abc import Iterator
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


if __name__ == "__main__":
    found = circles(imports())
    print(f"{len(found)} circles of files")
    for circle in found:
        print("  " + " ".join(circle))
    written = foreign_writes()
    print(f"{len(written)} attributes of runs written outside of their own file")
    for place in written:
        print("  " + place)
    sys.exit(bool(found or written))
