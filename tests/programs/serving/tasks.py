"""Tasks of celery that are runs of a graph; the broker is a folder, so that no other program is needed."""

import os
from typing import Any

import celery  # type: ignore[import-untyped]

from otel_stream import configure
from tests.programs import small

app = celery.Celery(
    "tasks",
    broker="filesystem://",
    backend="file://results",
    broker_transport_options={
        "data_folder_in": "queue",
        "data_folder_out": "queue",
        "control_folder": "control",
        "polling_interval": 0.02,
    },
    broker_connection_retry_on_startup=True,
)
configure("worker", endpoint=os.environ["SINK"])
graph = small.graph()


@app.task  # type: ignore[untyped-decorator]
def work(number: int) -> Any:
    graph.invoke({"x": number})
    return os.getpid()
