"""``python -m otel_stream.cli`` for where the program is not on the path."""

from otel_stream.cli import main

main()
