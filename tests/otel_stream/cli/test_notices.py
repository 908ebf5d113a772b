"""What libraries log is kept for the end, once, and nothing is left changed."""

import logging

from otel_stream.cli.notices import Notices


def test_our_warnings_are_kept_once_each_and_others_stay_quiet() -> None:
    with Notices() as notices:
        for name, text in [
            ("otel_stream.stream.receiver", "one"),
            ("opentelemetry.exporter.otlp", "noise"),
            ("engine.run.loop", "two"),
            ("otel_stream.stream.receiver", "one"),
        ]:
            logging.getLogger(name).warning(text)
        logging.getLogger("otel_stream").info("no warning")
    assert notices.texts == ["one", "two"]


def test_loggers_are_left_as_they_were() -> None:
    logger = logging.getLogger("otel_stream")
    before = (logger.propagate, list(logger.handlers))
    with Notices():
        assert (logger.propagate, list(logger.handlers)) != before
    assert (logger.propagate, list(logger.handlers)) == before
