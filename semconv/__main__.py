"""Write what the registry says to where it is used, or, with ``--check``, see whether it is there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from yaml import YAMLError

from semconv import page, python
from semconv.resolve import Registry, RegistryError

ROOT: Final = Path(__file__).parent.parent

#: What is generated, by its path from the root.
GENERATED: Final = {"otel_stream/semconv.py": python.write, "docs/reference/telemetry.md": page.write}


def main(arguments: Sequence[str] = (), root: Path = ROOT) -> int:
    """Return 0 if all is well, 1 if a file is out of date, 2 if the registry itself is wrong."""
    try:
        registry = Registry()
        texts = {path: write(registry) for path, write in GENERATED.items()}
    except (RegistryError, ValidationError, YAMLError, ValueError) as error:
        print(f"semconv/registry: {error}", file=sys.stderr)  # noqa: T201 - a program
        return 2
    stale = [path for path, text in texts.items() if not _is(root / path, text)]
    if "--check" in arguments:
        for path in stale:
            print(f"{path} is not what semconv/registry says: run make semconv", file=sys.stderr)  # noqa: T201
        return 1 if stale else 0
    for path in stale:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(texts[path])
        print(f"wrote {path}")  # noqa: T201
    return 0


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
