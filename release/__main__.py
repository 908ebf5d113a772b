"""``python -m release`` makes a release of a commit in ``dist/``; ``... cut 0.2.0`` says which one it is.

Sources and wheel, built twice and compared; what they bring along, with all licences; where they come from;
digests; and the wheel tried in clean environments on each Python that is here.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
import tempfile
from pathlib import Path

from release import contents, provenance, smoke, versions
from release.artefacts import ROOT, NotReproducibleError, build, digest, git


def main() -> int:
    """Return 0 if there is a release, or the changelog is cut."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    making = commands.add_parser("make", help="make a release of what is committed, the default")
    making.add_argument("--commit", default="HEAD")
    cutting = commands.add_parser("cut", help="say the version, and cut the changelog")
    cutting.add_argument("version")
    asked = parser.parse_args()
    try:
        if asked.command == "cut":
            today = dt.datetime.now(dt.UTC).date().isoformat()
            versions.write(asked.version, today)
            return 0
        return _make(getattr(asked, "commit", "HEAD"))
    except (NotReproducibleError, versions.CutError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", None) or b""
        print(f"release: {error}\n{told.decode('utf-8', 'replace')}".strip(), file=sys.stderr)  # noqa: T201
        return 1


def _make(commit: str) -> int:
    place = ROOT / "dist"
    if git("status", "--porcelain"):
        _say(f"what is not committed is left out: this is a release of {commit}")
    version = versions.current(git("show", f"{commit}:otel_stream/__init__.py"))
    files = build(commit, place)
    for built in files:
        _say(f"{built.name}: twice the same, {digest(built)}")
    wheel = next(file for file in files if file.suffix == ".whl")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        python = contents.environment(wheel, work)
        bill = contents.bill_of_materials(wheel, python, git("show", "--no-patch", "--format=%ct", commit))
        files += [bill, contents.licence_texts(bill, python)]
        _say(f"{bill.name}: {contents.count(bill)} components")
        statement = provenance.write(files, commit, place)
        _say(f"{statement.name}: not signed")
        sums = "".join(f"{digest(one)}  {one.name}\n" for one in [*files, statement])
        (place / "SHA256SUMS").write_text(sums, encoding="utf-8")
        answers = smoke.tried(wheel, version, work)
    for tried, answer in answers.items():
        _say(f"Python {tried}: {answer}")
    return 0 if set(answers.values()) <= {"passed", "not here"} else 1


def _say(what: str) -> None:
    print(what, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
