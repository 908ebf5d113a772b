"""``otel-stream doctor``: one run, sent and followed; where it stops is said in plain words."""
