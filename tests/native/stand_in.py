"""Answers 200 on the port that a backend would be ready on, given that backend's arguments and variables."""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

WHERE = {
    "prometheus": next((a.rpartition(":")[2] for a in sys.argv if a.startswith("--web.listen-address=")), ""),
    "jaeger": os.environ.get("JAEGER_HEALTH_PORT", ""),
    "victorialogs": next((a.rpartition(":")[2] for a in sys.argv if a.startswith("-httpListenAddr=")), ""),
    "otelcol": os.environ.get("OTEL_STREAM_HEALTH", "").rpartition(":")[2],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


name = Path(sys.argv[0]).name
if name in os.environ.get("BROKEN", ""):
    sys.exit(f"{name}: the configuration is no good")
HTTPServer(("127.0.0.1", int(WHERE[name])), Handler).serve_forever()
