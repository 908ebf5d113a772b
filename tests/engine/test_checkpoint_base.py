"""What all savers share: identities, metadata, and the way from sync methods to async ones."""

import itertools
import os
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint import base as langgraph

from engine.checkpoint import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    checkpoint_id,
    copy_checkpoint,
    empty_checkpoint,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)


def test_ids_are_in_the_order_they_were_made() -> None:
    ids = [checkpoint_id() for _ in range(5_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_of_many_threads_are_all_different() -> None:
    made: list[list[str]] = []

    def make() -> None:
        made.append([checkpoint_id() for _ in range(2_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ids == sorted(ids) for ids in made] == [True] * 4
    assert len({*itertools.chain(*made)}) == 8_000


def test_ids_are_uuids_and_sort_among_those_of_langgraph() -> None:
    ids = [checkpoint_id(), langgraph.empty_checkpoint()["id"], checkpoint_id(), checkpoint_id()]
    assert ids == sorted(ids)
    assert [uuid.UUID(one).version for one in ids] == [6] * 4
    assert [uuid.UUID(one).variant for one in ids] == [uuid.RFC_4122] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads, the child uses none
def test_a_forked_process_makes_ids_of_its_own() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, checkpoint_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 36)[19:] != checkpoint_id()[19:].encode()
    os.close(read)
    os.close(write)


def test_special_writes_have_the_places_langgraphs_savers_give_them() -> None:
    assert WRITES_IDX_MAP == langgraph.WRITES_IDX_MAP


def test_an_empty_checkpoint_says_that_nothing_happened() -> None:
    checkpoint = empty_checkpoint()
    assert {key: value for key, value in checkpoint.items() if key not in ("id", "ts")} == {
        "v": 4,
        "channel_values": {},
        "channel_versions": {},
        "versions_seen": {},
        "updated_channels": None,
    }


def test_a_copy_has_mappings_of_its_own() -> None:
    original = empty_checkpoint()
    original["versions_seen"]["a"] = {"x": 1}
    copy = copy_checkpoint(original)
    copy["channel_values"]["x"] = 1
    copy["channel_versions"]["x"] = 1
    copy["versions_seen"]["a"]["x"] = 2
    assert (original["channel_values"], original["channel_versions"]) == ({}, {})
    assert original["versions_seen"] == {"a": {"x": 1}}


values = (
    st.text(max_size=3) | st.integers() | st.booleans() | st.floats(allow_nan=False) | st.lists(st.none())
)
keys = st.sampled_from(
    [
        "source",
        "step",
        "user",
        "thread_id",
        "checkpoint_ns",
        "checkpoint_map",
        "langgraph_step",
        "__own",
        "n\0",
    ]
)
mappings = st.dictionaries(keys, values, max_size=5)


@given(metadata=mappings, own=mappings, configurable=mappings)
def test_metadata_is_merged_as_langgraph_merges_it(
    metadata: dict[str, Any], own: dict[str, Any], configurable: dict[str, Any]
) -> None:
    config: Any = {"metadata": own, "configurable": configurable}
    assert get_checkpoint_metadata(config, metadata) == langgraph.get_checkpoint_metadata(config, metadata)


def test_the_checkpoint_a_config_names_may_be_missing() -> None:
    assert get_checkpoint_id({"configurable": {"checkpoint_id": "1"}}) == "1"
    assert get_checkpoint_id({"configurable": {}}) is None


def test_writes_are_sorted_by_path_then_task_then_place() -> None:
    keys = [("b", "1", 0), ("a", "2", 1), ("a", "2", -1), ("a", "1", 5), ("", "9", 0)]
    assert sorted(writes_sort_key(*key) for key in keys) == [
        ("", "9", 0),
        ("a", "1", 5),
        ("a", "2", -1),
        ("a", "2", 1),
        ("b", "1", 0),
    ]


# -- a saver that only knows how to block ------------------------------------------------------------


class Blocking(BaseCheckpointSaver[int]):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()

    def note(self, *call: Any) -> None:
        self.calls.append(call)
        self.threads.add(threading.get_ident())

    def get_tuple(self, config: Any) -> CheckpointTuple:
        self.note("get_tuple", config)
        return CheckpointTuple(config, empty_checkpoint(), {"step": 7})

    def list(
        self, config: Any, *, filter: Any = None, before: Any = None, limit: Any = None
    ) -> Iterator[CheckpointTuple]:
        self.note("list", config, filter, before, limit)
        yield CheckpointTuple({"n": 1}, empty_checkpoint(), {})
        yield CheckpointTuple({"n": 2}, empty_checkpoint(), {})

    def put(self, *args: Any) -> Any:
        self.note("put", *args)
        return {"put": True}

    def put_writes(self, *args: Any) -> None:
        self.note("put_writes", *args)

    def delete_thread(self, thread_id: str) -> None:
        self.note("delete_thread", thread_id)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.note("copy_thread", source_thread_id, target_thread_id)


async def test_async_methods_run_the_blocking_ones_in_a_worker_thread() -> None:
    saver = Blocking()
    config = {"configurable": {"thread_id": "1"}}
    checkpoint = empty_checkpoint()
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.metadata == {"step": 7}
    assert (await saver.aget(config) or {}).keys() == checkpoint.keys()
    assert [t.config async for t in saver.alist(config, filter={"a": 1}, limit=3)] == [{"n": 1}, {"n": 2}]
    assert await saver.aput(config, checkpoint, {}, {"x": 1}) == {"put": True}
    await saver.aput_writes(config, [("x", 1)], "task", "path")
    await saver.adelete_thread("1")
    await saver.acopy_thread("1", "2")
    assert saver.calls == [
        ("get_tuple", config),
        ("get_tuple", config),
        ("list", config, {"a": 1}, None, 3),
        ("put", config, checkpoint, {}, {"x": 1}),
        ("put_writes", config, [("x", 1)], "task", "path"),
        ("delete_thread", "1"),
        ("copy_thread", "1", "2"),
    ]
    assert threading.get_ident() not in saver.threads


def test_versions_count_up() -> None:
    saver = Blocking()
    assert [saver.get_next_version(None, None), saver.get_next_version(1, None)] == [1, 2]
    with pytest.raises(NotImplementedError, match="Blocking got version '1'; override get_next_version"):
        saver.get_next_version("1", None)


def test_a_saver_says_which_method_it_lacks() -> None:
    with pytest.raises(NotImplementedError, match=r"BaseCheckpointSaver does not implement get_tuple\(\)"):
        BaseCheckpointSaver[int]().get({"configurable": {"thread_id": "1"}})
