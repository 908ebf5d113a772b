"""The folder above the versions: a page that lists them, and one that leads to the newest.

A version's pages are never written again: publishing is to add a folder and to write these two.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template
from typing import Final

from packaging.version import InvalidVersion, Version

_PAGE: Final = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>otel-stream: versions</title>
<style>body { font: 1.1rem/1.6 system-ui, sans-serif; margin: 3rem auto; max-width: 40rem }</style>
<h1>otel-stream</h1><ul>
$items
</ul></html>
""")
_FORWARD: Final = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>otel-stream</title>
<meta http-equiv="refresh" content="0; url=$newest/index.html"><a href="$newest/index.html">$newest</a></html>
""")


def versions(site: Path) -> list[str]:
    """Return the versions that ``site`` has a folder of, the newest first."""
    found: list[tuple[Version, str]] = []
    for place in site.iterdir():
        try:
            found.append((Version(place.name), place.name))
        except InvalidVersion:
            continue
    return [name for _, name in sorted(found, reverse=True)]


def write_index(site: Path) -> None:
    """Write ``versions.html`` and ``index.html`` of the folder of all versions."""
    known = [escape(name) for name in versions(site)]
    items = "\n".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in known)
    (site / "versions.html").write_text(_PAGE.substitute(items=items), encoding="utf-8")
    (site / "index.html").write_text(_FORWARD.substitute(newest=known[0]), encoding="utf-8")
