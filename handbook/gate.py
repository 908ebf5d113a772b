"""What must be true of the site, whoever wrote its pages: read off the files that a browser is given."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sphinx.util.inventory import InventoryFile

#: The modules whose ``__all__`` the reference has to have.
MODULES: Final = (
    "otel_stream",
    "engine",
    "engine.callbacks",
    "otel_stream.sdk",
    "otel_stream.telemetry",
    "otel_stream.testing",
    "otel_stream.testing.expect",
    "otel_stream.replay",
    "otel_stream.web",
    "otel_stream.kafka",
    "otel_stream.adapters.langgraph",
)
#: Modules that are public names of others.
_NO_NAMES: Final = {"otel_stream.testing.expect"}
#: What makes a browser fetch something, as against a link that a reader follows.
_FETCHING: Final = {
    ("link", "href"),
    *((tag, "src") for tag in ("script", "img", "iframe", "source", "audio", "video", "embed")),
}
#: The docstring that a NamedTuple gives to its fields.
_ALIAS: Final = re.compile(r"Alias for field number \d+")


def problems(site: Path) -> list[str]:
    """Return what is wrong with a built site, one sentence each."""
    pages = {path: _Page.read(path) for path in sorted(site.rglob("*.html"))}
    names = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    documented = {name for kind in names.data for name in names.data[kind]}
    return [*_undocumented(documented), *_unsaid(site), *_astray(pages, site), *_foreign(pages, site)]


def _undocumented(documented: set[str]) -> Iterator[str]:
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            full = f"{module}.{name}"
            if full not in documented | _NO_NAMES:
                yield f"{full} is public and has no entry in docs/reference"


def _unsaid(site: Path) -> Iterator[str]:
    """Yield the pages that show what Python says of a field about which its author said nothing."""
    for path in sorted(site.rglob("*.html")):
        if found := _ALIAS.search(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: {found[0]!r} says nothing; write above the field what it means"


def _astray(pages: dict[Path, _Page], site: Path) -> Iterator[str]:
    """Yield the links to files and places of the site that are not there."""
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_relative_to(site.resolve()):
                continue  # the list of versions, which is the folder's above
            fragment = unquote(parts.fragment)
            there = target.is_file()
            if not there or (fragment and target in pages and fragment not in pages[target].ids):
                yield f"{path.relative_to(site)}: {link} leads nowhere"


def _foreign(pages: dict[Path, _Page], site: Path) -> Iterator[str]:
    for path, page in pages.items():
        for address in sorted(page.fetched):
            if urlsplit(address).netloc:
                yield f"{path.relative_to(site)}: fetches {address} from elsewhere"
    for path in sorted(site.rglob("*.css")):
        if any(sign in path.read_text(encoding="utf-8") for sign in ("url(http", "url(//", "@import")):
            yield f"{path.relative_to(site)}: a style sheet that fetches from elsewhere"


class _Page(HTMLParser):
    """What a page has of places, links, and things that are fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = {"", "top"}
        self.links: set[str] = set()
        self.fetched: set[str] = set()

    @classmethod
    def read(cls, path: Path) -> _Page:
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if not value:
                continue
            if name == "id":
                self.ids.add(value)
            elif (tag, name) in _FETCHING:
                self.fetched.add(value)
                self.links.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.add(value)
