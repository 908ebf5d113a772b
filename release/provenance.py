"""Where a release comes from: a statement in in-toto's form, with SLSA's predicate. It is not signed.

Take it for what it is: the digests, the commit, and what it was built with, to compare with a build of one's
own. Who builds on a service that signs what it has built can say more, since that says who.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from release.artefacts import ROOT, digest, git

_REPOSITORY: Final = "https://github.com/otel-stream/otel-stream"


def statement(files: Sequence[Path], commit: str) -> dict[str, Any]:
    """Return the statement about ``files``, built from ``commit``."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": file.name, "digest": {"sha256": digest(file)}} for file in files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{_REPOSITORY}/blob/main/release/provenance.py",
                "externalParameters": {"repository": _REPOSITORY, "commit": commit},
                "internalParameters": {
                    "python": platform.python_version(),
                    "sourceDateEpoch": git("show", "--no-patch", "--format=%ct", commit),
                },
                "resolvedDependencies": [
                    {"uri": f"git+{_REPOSITORY}", "digest": {"gitCommit": git("rev-parse", commit)}},
                    {"name": "constraints.txt", "digest": {"sha256": digest(ROOT / "constraints.txt")}},
                ],
            },
            "runDetails": {"builder": {"id": f"{_REPOSITORY}/blob/main/Makefile"}},
        },
    }


def write(files: Sequence[Path], commit: str, place: Path) -> Path:
    """Write the statement into ``place``."""
    written = place / "provenance.unsigned.intoto.json"
    written.write_text(json.dumps(statement(files, commit), indent=2) + "\n", encoding="utf-8")
    return written
