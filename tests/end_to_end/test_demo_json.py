"""``otel-stream demo --json``: one seed, one story; and the story ends with the result."""

import json
from pathlib import Path
from typing import Any

from engine.demo.chaos import Chaos
from engine.demo.graph import build, config, request
from engine.demo.sources import target
from engine.demo.writer import DeterministicAuthor
from otel_stream.config import MODES, StreamConfig

#: What identifies a run or a moment, by name: everything else is the same in every run with one seed.
IDENTITY = {
    "checkpoint_id", "checkpoint_map", "checkpoint_ns", "id", "langgraph_checkpoint_ns", "parents", "run_id",
    "seq", "span_id", "task_id", "time_unix_nano", "timestamp", "trace_id",
}  # fmt: skip

Part = dict[str, Any]
Key = tuple[tuple[str, ...], str]


def parts_of(program: Any, *arguments: object) -> list[Part]:
    done = program("-m", "otel_stream.cli", "demo", *arguments, "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def places(parts: list[Part]) -> dict[str, str]:
    """Return what each task id stands for: the node, and for a task of a fan-out the number of its packet."""
    return {
        part["data"]["id"]: f"{part['node']}[{part['data']['input'].get('number', '')}]"
        for part in parts
        if part["type"] == "tasks" and "triggers" in part["data"]
    }


def stories(parts: list[Part]) -> dict[Key, list[Any]]:
    """Split parts by where they come from: path and superstep of their run, and its task. That is the key.

    What has the same key happens one after the other, so its order counts. What has another key may run side
    by side with it, and then the order of the two is anybody's.
    """
    where = places(parts)
    told: dict[Key, list[Any]] = {}
    for part in parts:
        path = tuple(where[level.partition(":")[2]] for level in part["ns"])
        task = where[part["task_id"]] if "task_id" in part else "run"
        told.setdefault((path, f"{part.get('step')} {task}"), []).append(anonymous(part))
    return told


def anonymous(value: Any) -> Any:
    if isinstance(value, dict):
        shown = {key: anonymous(item) for key, item in value.items() if key not in IDENTITY}
        if "ns" in value:
            shown["ns"] = [level.partition(":")[0] for level in value["ns"]]
        return shown
    return [anonymous(item) for item in value] if isinstance(value, list) else value


def test_one_seed_tells_the_same_story_of_every_task_in_the_same_order(program: Any, tree: Path) -> None:
    first, second = (parts_of(program, tree, "--chaos", "0.4", "--seed", 7, "--budget", 2) for _ in range(2))
    one, other = stories(first), stories(second)
    assert one.keys() == other.keys()
    assert [key for key in one if one[key] != other[key]] == []
    assert {part["type"] for part in first} == set(MODES) - {"tools"}
    assert any(part.get("attempt", 1) > 1 for part in first)


def test_another_seed_fails_elsewhere_and_ends_alike(program: Any, tree: Path) -> None:
    seven, eight = (parts_of(program, tree, "--chaos", "0.4", "--seed", seed) for seed in (7, 8))

    def attempts(parts: list[Part]) -> dict[str, int]:
        where = places(parts)
        return {
            "/".join(
                [*(where[level.partition(":")[2]] for level in part["ns"]), str(part["step"]), part["node"]]
            ): part["attempt"]
            for part in parts
            if part["type"] == "updates"
        }

    assert attempts(seven).keys() == attempts(eight).keys()
    assert attempts(seven) != attempts(eight)
    assert last_values(seven) == last_values(eight)


def last_values(parts: list[Part]) -> Any:
    return [part["data"] for part in parts if part["type"] == "values" and not part["ns"]][-1]


async def test_the_last_values_part_is_the_result_with_and_without_failures(program: Any, tree: Path) -> None:
    asked = request(target(str(tree)), limit=300, budget=2)
    graph = build(chaos=Chaos(0.4, 7), writer=DeterministicAuthor())
    async with graph.open_stream(asked, StreamConfig(modes="values"), config=config(2)) as stream:
        parts = [part async for part in stream]
    assert parts[-1].data == stream.result
    assert last_values(parts_of(program, tree, "--modes", "values", "--budget", 2)) == stream.result


def test_parts_are_numbered_without_a_gap(program: Any, tree: Path) -> None:
    parts = parts_of(program, tree, "--chaos", "0.2")
    assert [part["seq"] for part in parts] == list(range(len(parts)))
    assert len({part["run_id"] for part in parts}) == 1
