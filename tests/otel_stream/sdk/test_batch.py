"""A batch loses nothing unseen, whoever offers, however the exporter behaves."""

import os
import threading

import pytest
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_stream.sdk.export.accounting import Account, CountedSpanExporter, Counts
from otel_stream.sdk.export.batch import Batch
from otel_stream.sdk.export.limits import DEFAULT_QUEUE, BatchLimits, batch_limits

NEVER = 3600.0


class Exporter(SpanExporter):
    """Keeps what it is given; ``gate`` lets a test hold an export up, ``outcome`` make it fail."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.outcome = SpanExportResult.SUCCESS
        self.suppressed = []
        self.closed = 0

    def export(self, spans):
        self.entered.set()
        assert self.gate.wait(30)
        self.batches.append(list(spans))
        self.suppressed.append(get_value(_SUPPRESS_INSTRUMENTATION_KEY))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def shutdown(self):
        self.closed += 1


@pytest.fixture
def make():
    made = []

    def make(rank=lambda _: 1.0, **limits):
        exporter, lost = Exporter(), []
        account = Account(lambda size, reason: lost.append((size, reason)))
        settings = BatchLimits(**{"queue": 8, "batch": 4, "delay": NEVER, **limits})
        batch = Batch(CountedSpanExporter(exporter, account), account, settings, "test", rank=rank)
        made.append((batch, exporter))
        return batch, exporter, account, lost

    yield make
    for batch, exporter in made:
        exporter.gate.set()
        assert batch.close(30)


def test_a_full_batch_is_exported_at_once_and_a_partial_one_when_asked(make):
    batch, exporter, account, _ = make()
    for item in range(5):
        batch.offer(item)
    assert batch.flush(30)
    assert [item for one in exporter.batches for item in one] == [0, 1, 2, 3, 4]
    assert account.counts() == Counts(5, 5, 0, 0)


def test_what_a_full_queue_has_no_room_for_is_counted_and_the_rest_arrives(make):
    batch, exporter, account, _ = make()
    exporter.gate.clear()
    for item in range(4):
        batch.offer(item)
    assert exporter.entered.wait(30)  # four are in the exporter's hands: the queue is empty again
    for item in range(4, 15):
        batch.offer(item)
    assert account.counts() == Counts(15, 0, 3, 12)
    exporter.gate.set()
    assert batch.flush(30)
    assert [item for one in exporter.batches for item in one] == list(range(12))
    assert account.counts() == Counts(15, 12, 3, 0)


def test_many_threads_lose_nothing_unseen(make):
    batch, exporter, account, _ = make(queue=50, batch=10)
    threads = [threading.Thread(target=lambda: [batch.offer(n) for n in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert batch.flush(30)
    arrived = sum(len(one) for one in exporter.batches)
    assert account.counts() == Counts(2000, arrived, 2000 - arrived, 0)


@pytest.mark.parametrize("outcome", [SpanExportResult.FAILURE, ValueError("no")])
def test_an_export_that_fails_is_a_loss_and_the_next_one_goes_on(make, outcome):
    batch, exporter, account, lost = make()
    exporter.outcome = outcome
    batch.offer(1)
    assert batch.flush(30)
    exporter.outcome = SpanExportResult.SUCCESS
    batch.offer(2)
    assert batch.flush(30)
    assert account.counts() == Counts(2, 1, 1, 0)
    assert [size for size, _ in lost] == [1]


def test_a_flush_keeps_to_its_time_and_says_that_it_failed(make):
    batch, exporter, _, _ = make()
    exporter.gate.clear()
    batch.offer(1)
    assert batch.flush(0.01) is False
    exporter.gate.set()
    assert batch.flush(30) is True


def test_closing_exports_what_waits_refuses_what_comes_and_closes_the_exporter_once(make):
    batch, exporter, account, _ = make()
    batch.offer(1)
    assert batch.close(30)
    batch.offer(2)
    assert batch.close(30)
    assert exporter.batches == [[1]]
    assert account.counts() == Counts(2, 1, 1, 0)
    assert exporter.closed == 1


def test_an_exporter_is_not_observed_itself(make):
    batch, exporter, _, _ = make()
    batch.offer(1)
    assert batch.flush(30)
    assert exporter.suppressed == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_exports_its_own_items_and_none_of_its_parents(make):
    batch, exporter, account, _ = make()
    batch.offer("parent's")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = sum(one.name.startswith("otel-stream") for one in threading.enumerate())
        batch.offer("child's")
        batch.flush(30)
        os.write(writing, repr((before, exporter.batches, tuple(account.counts().__reduce__()[1]))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    assert told == repr((0, [["child's"]], (1, 1, 0, 0)))
    assert batch.flush(30)
    assert exporter.batches == [["parent's"]]


def test_the_variables_of_the_specification_are_read():
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_SCHEDULE_DELAY": "250"}
    assert batch_limits("OTEL_BSP", environ, 5000) == BatchLimits(100, 100, 0.25)
    assert batch_limits("OTEL_BLRP", environ, 1000) == BatchLimits(DEFAULT_QUEUE, 512, 1.0)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_size_that_is_none_is_told_with_its_name_and_ignored(value, caplog):
    limits = batch_limits("OTEL_BSP", {"OTEL_BSP_MAX_QUEUE_SIZE": value}, 5000)
    assert limits == BatchLimits()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        f"OTEL_BSP_MAX_QUEUE_SIZE='{value}' is ignored and {DEFAULT_QUEUE} is used: "
        "give a whole number, 1 or more."
    )


def test_an_overflow_is_told_while_the_program_runs_with_the_number_and_the_remedy(make):
    batch, exporter, _, lost = make()
    exporter.gate.clear()
    for item in range(4):
        batch.offer(item)
    assert exporter.entered.wait(30)
    for item in range(11):
        batch.offer(item)
    exporter.gate.set()
    assert batch.flush(30)
    number, reason = lost[0]
    assert (number, "OTEL_BLRP_MAX_QUEUE_SIZE" in reason) == (3, True)


def test_long_items_are_bounded_by_their_bytes_and_room_is_made_again():
    exporter, lost = Exporter(), []
    account = Account(lambda size, reason: lost.append(size))
    settings = BatchLimits(queue=100, batch=1000, delay=NEVER, bytes=5000)
    batch = Batch(CountedSpanExporter(exporter, account), account, settings, "logs", len)
    for _ in range(4):
        batch.offer("x" * 2000)
    batch.offer("short")
    assert batch.flush(30)
    batch.offer("x" * 5000)
    assert batch.close(30)
    assert [len(one) for one in exporter.batches] == [3, 1]
    assert account.counts().lost == 2


def test_what_tells_of_a_whole_run_finds_room_where_the_rest_is_lost(make):
    batch, exporter, account, _ = make(rank=lambda item: 2.0 if item == "end" else 1.0)
    exporter.gate.clear()
    for item in range(4):
        batch.offer(item)
    assert exporter.entered.wait(30)
    for item in range(20):
        batch.offer(item)
        batch.offer("end")
    exporter.gate.set()
    assert batch.flush(30)
    arrived = [item for one in exporter.batches for item in one]
    assert (arrived.count("end"), account.counts()) == (12, Counts(44, 20, 24, 0))
