"""The built site in real Chromium: ``make docs`` builds it."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import otel_stream
from tests.page.conftest import ROOT
from tests.page.test_page import drive

BUILT = ROOT / "build" / "site"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    assert (BUILT / otel_stream.__version__ / "index.html").exists(), "make docs builds the site"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BUILT)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{otel_stream.__version__}"
    server.shutdown()
    thread.join()
    server.server_close()


PAGES = {"front": "index.html", "how-to": "how-to/overflow.html", "reference": "reference/otel_stream.html"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_light_and_dark_narrow_and_without_scripts_and_the_site_is_searched(
    site: str, chromium: str, pictures: Path, name: str
) -> None:
    drive("site.mjs", site, chromium, pictures, name, PAGES[name])
