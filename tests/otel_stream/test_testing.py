"""Recording runs, and what a test says about them: failures that can be read, telemetry, the page."""

import operator
import os
import re
import subprocess
import sys
from inspect import iscoroutinefunction
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypedDict

import anyio
import pytest
from opentelemetry import trace

from engine import START, ExecutionEngine, InMemorySaver, StateGraph, StreamWriter, interrupt
from otel_stream import StreamConfig, StreamPart
from otel_stream.testing import Recorder, arecord, check, expect, record, telemetry

ROOT = Path(__file__).parents[2]


def letters(word: str) -> list[StreamPart]:
    return [StreamPart("custom", (), letter, seq=i, node="n") for i, letter in enumerate(word)]


# -- whole streams -------------------------------------------------------------------------------------


class State(TypedDict, total=False):
    n: int
    log: Annotated[list[str], operator.add]


def graph(checkpointer: Any = None) -> Any:
    def plan(state: State) -> Any:
        return {"n": state["n"] + 1}

    async def left(state: State, writer: StreamWriter) -> Any:
        writer("l1")
        await writer.write("l2")  # type: ignore[attr-defined]
        return {"log": ["left"]}

    def right(state: State, writer: StreamWriter) -> Any:
        writer("r1")
        return {"log": ["right"]}

    built = StateGraph(State).add_node(plan).add_node(left).add_node(right)
    built.add_edge(START, "plan").add_edge("plan", "left").add_edge("plan", "right")
    return built.compile(checkpointer, name="g")


def failing(state: State, writer: StreamWriter) -> Any:
    writer("on the way")
    raise ValueError("no")


def of_one(node: Any) -> Any:
    return StateGraph(State).add_node("one", node).add_edge(START, "one").compile(InMemorySaver(), name="g")


async def test_a_recording_has_the_parts_the_result_and_the_account() -> None:
    recording = await arecord(graph(), {"n": 1}, ["updates", "custom"])
    recording.expect(
        expect.updates("plan", {"n": 2}),
        expect.per_node(
            left=[expect.custom("l1"), expect.custom("l2"), expect.updates()],
            right=[expect.custom(expect.regex("^r")), expect.updates(update={"log": ["right"]})],
        ),
    )
    recording.expect_nothing_lost()
    assert recording.result == {"n": 2, "log": ["left", "right"]}
    assert (recording.end, recording.error, recording.statistics.offered) == (recording.end.OK, None, 7)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_test_without_an_event_loop_records_in_either(backend: Any) -> None:
    recording = record(graph(), {"n": 1}, "values", backend=backend)
    recording.expect(
        expect.values({"n": 1, "log": []}),
        expect.values(expect.subset({"n": 2})),
        expect.values(recording.result),
    )


async def test_what_a_run_raises_is_kept_and_has_to_be_expected() -> None:
    recording = await arecord(
        of_one(failing), {"n": 1}, "custom", config={"configurable": {"thread_id": "1"}}
    )
    recording.expect(expect.custom("on the way"), expect.end("error", error=ValueError))
    with pytest.raises(ValueError, match="no"):
        recording.result  # noqa: B018
    with pytest.raises(AssertionError) as caught:
        recording.expect(expect.custom("on the way"))
    assert str(caught.value) == (
        "part 1 of 2 is not what was expected\n"
        "  expected  end 'ok'\n"
        "  or        the end of the stream\n"
        "  got       end         -          {'end': 'error', 'error': ValueError('no'), 'interrupts': ()}\n"
        "            - data['end']: expected 'ok', got 'error'\n"
        "            - data['error']: expected None, got ValueError('no')\n"
        "\n"
        "     0 custom      one        'on the way'\n"
        ">    1 end         -          {'end': 'error', 'error': ValueError('no'), 'interrupts': ()}\n"
        "\n"
        "the run raised ValueError('no')"
    )


async def test_a_run_that_waits_is_expected_to() -> None:
    recording = await arecord(
        of_one(lambda state: {"n": interrupt("sure?")}),
        {"n": 1},
        "updates",
        config={"configurable": {"thread_id": "1"}},
    )
    recording.expect(expect.interrupt("sure?"), expect.end("interrupted"))
    assert [one.value for one in recording.interrupts] == ["sure?"]


def test_a_failure_shows_the_part_what_was_expected_there_and_its_neighbours() -> None:
    with pytest.raises(AssertionError) as caught:
        check(
            letters("abcdefghijk"),
            *[expect.custom(letter) for letter in "abcde"],
            expect.any_order(expect.custom("x"), expect.custom("y", "m")),
        )
    assert str(caught.value) == (
        "part 5 of 11 is not what was expected\n"
        "  expected  custom of 'm': 'y'\n"
        "  or        custom: 'x'\n"
        "  got       custom      n          'f'\n"
        "            - data: expected 'x', got 'f'\n"
        "\n"
        "  ... 1 parts before\n"
        "     1 custom      n          'b'\n"
        "     2 custom      n          'c'\n"
        "     3 custom      n          'd'\n"
        "     4 custom      n          'e'\n"
        ">    5 custom      n          'f'\n"
        "     6 custom      n          'g'\n"
        "     7 custom      n          'h'\n"
        "     8 custom      n          'i'\n"
        "     9 custom      n          'j'\n"
        "  ... 1 parts after"
    )


def test_a_stream_that_is_too_short_says_what_is_missing() -> None:
    with pytest.raises(AssertionError) as caught:
        check(letters("a"), expect.custom("a"), expect.custom("b", step=2))
    assert str(caught.value) == (
        "the stream ends after 1 parts, where more was expected\n"
        "  expected  custom: 'b' (step=2)\n"
        "  got       nothing more\n"
        "\n"
        "     0 custom      n          'a'\n"
        "> the stream ends here"
    )


async def test_a_run_that_does_not_end_is_cancelled_and_its_parts_are_shown() -> None:
    async def endless(state: State, writer: StreamWriter) -> Any:
        writer("before")
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError) as caught:
        await arecord(
            of_one(endless), {"n": 1}, "custom", config={"configurable": {"thread_id": "1"}}, seconds=1
        )
    assert str(caught.value) == (
        "the run did not end within 1 s; its parts so far:\n   0 custom      one        'before'"
    )


async def test_among_others_parts_are_found_in_order_and_forbidden_ones_named() -> None:
    recording = await arecord(graph(), {"n": 1})
    recording.expect_among(expect.custom("l1"), expect.custom("l2"), expect.values())
    recording.expect_none(expect.gap(), expect.custom("l3"))
    with pytest.raises(AssertionError, match=r"^custom: 'l1' is not there after custom: 'l2', among"):
        recording.expect_among(expect.custom("l2"), expect.custom("l1"))
    with pytest.raises(AssertionError, match=r"^custom: 'r1' was not expected, and is part \d+:\n"):
        recording.expect_none(expect.custom("r1"))
    recording.expect_none(expect.in_order(expect.custom("l2"), expect.custom("l1")))
    with pytest.raises(AssertionError, match=r"was not expected, and is part 0:\n"):
        recording.expect_none(expect.in_order(expect.values(), expect.task("plan")))


async def test_a_part_that_was_lost_is_seen_in_the_account_and_in_the_stream() -> None:
    def node(state: State, writer: StreamWriter) -> Any:
        for letter in "abcd":
            writer(letter)

    async def slow(state: State, writer: StreamWriter) -> Any:  # it never awaits: nobody takes anything
        node(state, writer)

    small = {"buffer_size": 2, "overflow": "drop_newest", "include_end": False}
    recording = await arecord(
        of_one(slow), {"n": 1}, "custom", settings=small, config={"configurable": {"thread_id": "1"}}
    )
    recording.expect(expect.gap(2), expect.custom("a"), expect.custom("b"))
    with pytest.raises(AssertionError) as caught:
        recording.expect_nothing_lost()
    assert str(caught.value) == (
        "of 4 parts 2 were delivered: 2 dropped {'drop_newest': 2}, 0 filtered, 0 sampled out, 0 still held"
    )


async def test_a_recorder_keeps_what_any_receiver_is_given() -> None:
    async with ExecutionEngine() as engine:
        recorder = Recorder(await engine.stream(StreamConfig(modes=("updates", "custom"), include_end=True)))
        for n in (1, 2):
            await engine.execute(graph(), {"n": n})
        recording = recorder.take()
    assert [part.data for part in recording.only("updates", node="plan").parts if part.type != "end"] == [
        {"plan": {"n": 2}},
        {"plan": {"n": 3}},
    ]
    assert [part.type for part in recording].count("end") == 2


# -- telemetry -----------------------------------------------------------------------------------------


PARTS = {"graph.custom", "graph.updates", "graph.values"}


def test_the_spans_log_events_and_metrics_of_the_runs_inside_are_collected_and_no_others() -> None:
    before = trace.get_tracer_provider()
    record(graph(), {"n": 0})
    with telemetry(capture_content=True, modes=["updates", "custom"]) as seen:
        assert trace.get_tracer_provider() is before
        record(graph(), {"n": 1})
        with telemetry(modes=["updates"]) as inner:
            record(of_one(failing), {"n": 1}, config={"configurable": {"thread_id": "1"}})
    record(graph(), {"n": 2})
    outline = seen.outline()
    assert outline[:4] == ["invoke_workflow g", "  superstep", "    invoke_node plan", "  superstep"]
    assert sorted(outline[4:]) == ["    invoke_node left", "    invoke_node right"]
    assert (
        sorted(name for name in seen.events if name in PARTS) == ["graph.custom"] * 3 + ["graph.updates"] * 3
    )
    assert [point.measurements for point in seen.metrics()["gen_ai.invoke_workflow.duration"]] == [1]
    assert inner.outline() == ["invoke_workflow g", "  superstep", "    invoke_node one"]
    assert PARTS.isdisjoint(inner.events), "the update never came to be"
    with pytest.raises(
        AssertionError, match=r"^0 spans are called 'superstep 1', among:\ninvoke_workflow g\n"
    ):
        inner.span("superstep 1")


def test_spans_that_a_node_opens_are_its_children() -> None:
    with telemetry() as seen:
        tracer = seen.tracer_provider.get_tracer("the program")

        def node(state: State) -> Any:
            with tracer.start_as_current_span("ask the database"):
                return {"n": 1}

        record(of_one(node), {"n": 1}, config={"configurable": {"thread_id": "1"}})
    assert seen.outline() == [
        "invoke_workflow g",
        "  superstep",
        "    invoke_node one",
        "      ask the database",
    ]


def run(*arguments: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_importing_it_loads_no_sdk_and_no_framework() -> None:
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "langchain_core", "langgraph", "trio", "pytest")
    program = (
        f"import sys, otel_stream.testing; print(*sorted(m for m in sys.modules if m.startswith({heavy})))"
    )
    assert run("-c", program).split() == []


def test_the_fixture_gives_a_pytest_test_the_telemetry_of_its_runs(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from engine import START, StateGraph\n"
        "def test_it(run_telemetry):\n"
        "    graph = StateGraph(dict).add_node('a', dict).add_edge(START, 'a').compile(name='g')\n"
        "    graph.invoke({'n': 1})\n"
        "    assert run_telemetry.outline()[0] == 'invoke_workflow g'\n"
    )
    done = run("-m", "pytest", "-q", "-p", "otel_stream.testing.pytest_plugin", str(tmp_path), cwd=tmp_path)
    assert "1 passed" in done


# -- the page ------------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "testing.md").read_text()


def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All the code of the page, as one module."""
    module = ModuleType("the_page")
    monkeypatch.setitem(sys.modules, "the_page", module)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    exec(compile(code, "docs/testing.md", "exec"), module.__dict__)
    return module.__dict__


def test_every_test_on_the_page_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = {name: test for name, test in example(monkeypatch).items() if name.startswith("test_")}
    for test in tests.values():
        if iscoroutinefunction(test):
            anyio.run(test)
        else:
            test()
    assert len(tests) == 6


def test_the_failure_on_the_page_is_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    graph = example(monkeypatch)["graph"]
    recording = record(graph, {"n": 1}, "updates")
    parts = sorted(recording, key=lambda part: (part.type == "end", part.node != "plan", part.node or ""))
    with pytest.raises(AssertionError) as caught:
        check(
            parts, expect.updates("plan"), expect.updates("left", {"log": ["wrong"]}), expect.updates("right")
        )
    assert [str(caught.value) + "\n"] == shown


def test_every_word_of_the_page_exists_and_every_word_is_on_the_page() -> None:
    listed = set(re.findall(r"`(\w+)\(", PAGE)) | set(re.findall(r"· `(\w+)\(", PAGE))
    words = {name for name in expect.__all__ if name not in {"Matcher", "Pattern"}}
    assert words - listed == {"anything"}
