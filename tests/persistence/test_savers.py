"""Threads on LangGraph's savers and stores, on real databases, in other processes and in LangGraph."""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys

import pytest

from tests.persistence.graphs import THREADS, Thread, asynchronously, synchronously

pytestmark = [pytest.mark.xdist_group("postgres"), pytest.mark.timeout(300)]


def _run(library, action, places):
    """Start, or resume, threads in a process of its own; savers rebuild only what they are told to trust."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.persistence.graphs", library, action, json.dumps(places)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # nothing was blocked, nor was anything dropped
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def started(places):
    return {**_run("engine", "start", places), **_run("langgraph", "start", places)}


@pytest.fixture(scope="module")
def resumed(places, started):
    return {**_run("engine", "resume", places), **_run("langgraph", "resume", places)}


def _like(said, reader):
    """Return what was seen, whichever ids the questions have; each library shows its own words."""
    text = re.sub("[0-9a-f]{32}", "id", json.dumps(said))
    return json.loads(text.replace({"engine": "engine.types", "langgraph": "langgraph.types"}[reader], "own"))


def _of_langgraph(found, thread):
    return found[Thread(thread.database, thread.started, thread.resumed, "langgraph", "langgraph").name]


@pytest.mark.parametrize("thread", THREADS, ids=lambda thread: thread.name)
def test_a_thread_is_started_and_asks_as_in_langgraph(started, thread):
    assert _like(started[thread.name], thread.writer) == _like(_of_langgraph(started, thread), "langgraph")


@pytest.mark.parametrize("thread", THREADS, ids=lambda thread: thread.name)
def test_what_either_has_written_the_other_reads_with_the_same_types_and_goes_on_with(resumed, thread):
    assert _like(resumed[thread.name], thread.reader) == _like(_of_langgraph(resumed, thread), "langgraph")


def test_a_resumed_thread_has_all_types_of_the_users(resumed):
    for before, result, _ in resumed.values():
        assert "'tree': Tree(leaves={'a': Leaf(point=Point(x=1, colour=<Colour.RED: 'red'>))}" in before[0]
        assert "Interrupt(value=Question(about=Point(x=1, colour=<Colour.RED: 'red'>), choices=[" in before[2]
        assert "('answers', [Answer(colour=<Colour.BLUE: 'blue'>, why=[Leaf(point=Point(x=7," in result
        assert "('remembered', ['blue'])" in result


@pytest.mark.parametrize("writer", ["engine", "langgraph"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_without_strict_mode_a_thread_moves_over_as_well(tmp_path, caplog, writer, mode):
    reader = {"engine": "langgraph", "langgraph": "engine"}[writer]
    thread = Thread("sqlite", mode, mode, writer, reader)
    place = str(tmp_path / "threads.db")

    def run(library, action):
        if mode == "sync":
            return synchronously(library, action, place, "sqlite", [thread])
        return asyncio.run(asynchronously(library, action, place, "sqlite", [thread]))

    run(writer, "start")
    before, result, after = run(reader, "resume")[thread.name]
    assert "Interrupt(value=Question(about=Point(x=1, colour=<Colour.RED: 'red'>)" in before[2]
    assert "('answers', [Answer(colour=<Colour.BLUE: 'blue'>, why=[Leaf(" in result
    assert after[1:] == ["()", "[]", "[]"]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [text for text in said if "engine." in text or "Ignoring" in text] == []
