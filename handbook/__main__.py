"""Build the site into ``build/site/<version>``, and look at what came out: ``make docs``.

Whatever the generator warns of is a failure, and so is a public name without a page, a link within the site
that leads nowhere, and anything that a page fetches from elsewhere.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from sphinx.cmd.build import build_main

import otel_stream
from handbook import commands
from handbook.gate import problems
from handbook.versions import write_index

_ROOT: Final = Path(__file__).parents[1]
_SITE: Final = _ROOT / "build" / "site"


def main() -> int:
    """Return 0 if the site is built and as it must be."""
    place = _SITE / otel_stream.__version__
    shutil.rmtree(place, ignore_errors=True)
    commands.PAGE.write_text(commands.page(), encoding="utf-8")
    doctrees = str(_ROOT / "build" / "doctrees")
    options = ["--quiet", "--fail-on-warning", "--fresh-env", "-b", "html", "-d", doctrees]
    if failed := build_main([*options, str(_ROOT / "docs"), str(place)]):
        return failed
    write_index(_SITE)
    wrong = problems(place)
    for sentence in wrong:
        print(sentence, file=sys.stderr)  # noqa: T201
    print(f"{len(list(place.rglob('*.html')))} pages in {place.relative_to(_ROOT)}/index.html")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
