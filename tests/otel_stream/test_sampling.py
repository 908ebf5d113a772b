"""A sampler decides per part or per run, the same way each time, and with the trace if there is one."""

from contextvars import copy_context

import pytest
from opentelemetry.sdk.trace._sampling_experimental import composable_traceid_ratio_based, composite_sampler
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from otel_stream.config import StreamConfig
from otel_stream.events import CustomWritten, End, Run, RunEnded, RunStarted, Task
from otel_stream.sdk.sampling.samplers import RateLimitingSampler, TraceStateSampler
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream
from tests.otel_stream.telemetry.conftest import Scene

RATIOS = [TraceIdRatioBased(0.3), composite_sampler(composable_traceid_ratio_based(0.3))]


class Noting(Sampler):
    """Samples everything, and notes what it was asked."""

    def __init__(self):
        self.asked = []

    def should_sample(
        self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None
    ):
        self.asked.append((trace_id, name, dict(attributes)))
        return ALWAYS_ON.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self):
        return "Noting"


def part(seq, run="r", type="custom"):
    return StreamPart(type, (), None, seq=seq, run_id=run, graph="g", step=1)


def receiver(sampler, **settings):
    return StreamReceiver(StreamConfig(modes="custom", sampler=sampler, **settings))


def kept(one):
    return [(got.run_id, got.seq) for got in iter(one.take_nowait, None)]


def run_of(id, telemetry=None, receivers=(), parts=3):
    """Report a run with some custom parts to ``receivers``."""
    run = Run(id, "triage", context=copy_context())
    stream = Stream(receivers, telemetry)
    stream.emit(RunStarted(run, {}, False, 1))
    for n in range(parts):
        stream.emit(CustomWritten(Task(run, "a", 1, id="t"), n, 2))
    stream.emit(RunEnded(run, End.OK, None, None, (), 1, 3))
    return run


@pytest.mark.clause("S-SAM-1", "S-SAM-3")
@pytest.mark.parametrize("sampler", RATIOS, ids=["low ids", "consistent"])
def test_two_receivers_and_a_rerun_keep_the_same_parts(sampler):
    first, second, rerun = (receiver(sampler) for _ in range(3))
    for seq in range(300):
        first.offer(part(seq))
        second.offer(part(seq))
    for seq in range(300):
        rerun.offer(part(seq))
    share = kept(first)
    assert 60 < len(share) < 120
    assert share == kept(second) == kept(rerun)


@pytest.mark.clause("S-SAM-1", "S-SAM-4")
@pytest.mark.clause("S-SAM-4")
@pytest.mark.parametrize("sampler", [*RATIOS, RateLimitingSampler(5, burst=30, clock=lambda: 0)])
def test_of_a_run_all_parts_are_kept_or_none(sampler):
    one = receiver(sampler, sample_per="run")
    for seq in range(4):
        for run in range(100):
            one.offer(part(seq, f"r{run}"))
    got = kept(one)
    runs = {run for run, _ in got}
    assert 15 < len(runs) < 45
    assert got == [(f"r{run}", seq) for seq in range(4) for run in range(100) if f"r{run}" in runs]
    assert one.statistics().sampled_out == 400 - len(got)


def test_the_sampler_is_asked_once_per_run_and_sees_its_name():
    sampler = Noting()
    one = receiver(sampler, sample_per="run")
    run_of("r1", receivers=[one])
    assert len(sampler.asked) == 1
    assert sampler.asked[0][1:] == ("invoke_workflow triage", {"graph.name": "triage"})


@pytest.mark.clause("S-SAM-4")
@pytest.mark.parametrize("provided", [ALWAYS_ON, ALWAYS_OFF])
def test_a_parent_based_sampler_follows_the_trace(provided):
    scene = Scene(sampler=provided)
    follows, leads = (
        receiver(ParentBased(ALWAYS_OFF if provided is ALWAYS_ON else ALWAYS_ON), sample_per="run"),
        receiver(ParentBased(ALWAYS_ON), sample_per="run"),
    )
    run_of("r1", scene.consumer, [follows, leads])
    expected = [("r1", n) for n in range(3)] if provided is ALWAYS_ON else []
    assert kept(follows) == kept(leads) == expected


def test_without_a_trace_a_parent_based_sampler_asks_its_root():
    one, none = (receiver(ParentBased(root), sample_per="run") for root in (ALWAYS_ON, ALWAYS_OFF))
    run_of("r1", receivers=[one, none])
    assert (len(kept(one)), kept(none)) == (3, [])


@pytest.mark.clause("S-SAM-4")
@pytest.mark.parametrize("ratio", RATIOS, ids=["low ids", "consistent"])
def test_a_ratio_keeps_the_very_runs_whose_traces_the_same_ratio_keeps(ratio):
    exported, received = [], []
    for n in range(60):
        scene, one = (
            Scene(sampler=TraceStateSampler(ratio), signals=("traces",)),
            receiver(ratio, sample_per="run"),
        )
        run_of(f"r{n}", scene.consumer, [one], parts=1)
        exported += [n] if scene.spans.get_finished_spans() else []
        received += [n] if kept(one) else []
    assert 5 < len(exported) < 40
    assert received == exported


@pytest.mark.clause("S-SAM-2")
def test_structural_parts_are_kept_whatever_became_of_their_run():
    one = receiver(ALWAYS_OFF, sample_per="run", include_end=True)
    run_of("r1", receivers=[one])
    assert [got.type for got in iter(one.take_nowait, None)] == ["end"]
    assert one.statistics().sampled_out == 3


@pytest.mark.clause("S-ERR-4")
def test_a_sampler_that_raises_for_a_run_cuts_off_that_receiver_only(caplog):
    class Broken(Noting):
        def should_sample(self, *args, **kwargs):
            raise ZeroDivisionError("mine")

    broken, good = receiver(Broken(), sample_per="run"), receiver(None)
    run_of("r1", receivers=[broken, good])
    assert len(kept(good)) == 3
    assert isinstance(broken.failed, ZeroDivisionError)
    assert broken.statistics().reasons == {"failed": 1}
    assert len(caplog.records) == 1
