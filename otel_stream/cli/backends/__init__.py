"""``otel-stream backends``: a Collector with Tempo, Jaeger, Loki and Prometheus behind it, on loopback."""
