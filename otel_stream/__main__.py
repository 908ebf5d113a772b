"""``python -m otel_stream`` is the program ``otel-stream``."""

from otel_stream.cli import main

if __name__ == "__main__":
    main()
