"""A WSGI app whose requests are runs of a graph, as gunicorn serves it."""

import os
from collections.abc import Iterable
from typing import Any

from otel_stream import configure
from tests.programs import small

configure("web", endpoint=os.environ["SINK"])
graph = small.graph()


def app(environ: Any, start: Any) -> Iterable[bytes]:
    graph.invoke({"x": 0})
    start("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
