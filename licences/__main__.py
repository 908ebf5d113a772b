"""Print which licence everything has, and fail on what may not be used; ``extras`` names the wheel's."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from packaging.dependency_groups import DependencyGroupResolver

from backends import places
from backends.build import Builder
from licences import distributions, jars, modules, packages
from licences.policy import Dependency, refused

_ROOT: Final = Path(__file__).parents[1]
_WHEEL: Final = "otel-stream"
_KAFKA: Final = _ROOT / "tests" / "scale" / "kafka" / "libs"


def _extras() -> list[str]:
    return sorted(distribution(_WHEEL).metadata.get_all("Provides-Extra") or [])


def sections() -> Iterator[tuple[str, list[Dependency]]]:
    """Yield a title and the dependencies that belong to it: the wheel's first."""
    wheel = list(distributions.needed([f"{_WHEEL}[{','.join(_extras())}]"], _WHEEL))
    yield "the wheel, with all extras", distributions.dependencies(wheel)
    groups = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    wanted = [str(requirement) for requirement in DependencyGroupResolver(groups).resolve("dev")]
    names = {one.name for one in wheel}
    more = (one for one in distributions.needed(wanted, _WHEEL) if one.name not in names)
    yield "for developers", distributions.dependencies(more)
    builder = Builder(places.pins(), places.cache(), print)
    for name, pin in builder.pins.items():
        linked = modules.linked(builder.sources(name), pin.package, pin.tags)
        yield f"linked into {name}", modules.dependencies(linked)
    yield "Kafka, which tests start", jars.dependencies(_KAFKA)
    for lock in packages.locks(_ROOT):
        yield str(lock.parent.relative_to(_ROOT)), packages.dependencies(lock)


def _shown(title: str, dependencies: Sequence[Dependency]) -> Iterator[str]:
    """Yield lines: for each licence, who has it."""
    yield f"{title}: {len(dependencies)}"
    by_licence: dict[str, list[str]] = {}
    for one in dependencies:
        by_licence.setdefault(one.licence, []).append(f"{one.name} {one.version}")
    for licence, names in sorted(by_licence.items()):
        listed = f"{licence} ({len(names)}): {', '.join(names)}"
        yield from textwrap.wrap(listed, 110, initial_indent="  ", subsequent_indent="      ")


def main(found: Iterable[tuple[str, Sequence[Dependency]]]) -> int:
    """Print all that was found; return 1 if something of it may not be used."""
    wrong: list[str] = []
    for title, dependencies in found:
        print("\n".join(_shown(title, dependencies)), flush=True)  # noqa: T201
        wrong += [f"{title}: {sentence}" for sentence in refused(dependencies)]
    for sentence in wrong:
        print(sentence, file=sys.stderr)  # noqa: T201
    return 1 if wrong else 0


def _program() -> int:
    if sys.argv[1:] == ["extras"]:
        print(",".join(_extras()))  # noqa: T201
        return 0
    try:
        return main(sections())
    except (distributions.NotInstalledError, OSError, subprocess.CalledProcessError) as error:
        print(f"licences: {error}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(_program())
