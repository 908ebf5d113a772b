"""The store in memory: it does what LangGraph's does, and hands out nothing that reaches inside."""

import inspect
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langgraph.store import base as langgraph
from langgraph.store.memory import InMemoryStore as LangGraphStore

from engine import store as ours
from engine.store import (
    BaseStore,
    GetOp,
    InMemoryStore,
    InvalidNamespaceError,
    Item,
    PutOp,
    SearchItem,
    SearchOp,
)

# -- by meaning, beside LangGraph's ------------------------------------------------------------------


def vectors(texts: list[str]) -> list[list[float]]:
    """Embed texts by the letters in them."""
    return [[float(text.count(letter)) for letter in "abcdefgh"] for text in texts]


async def avectors(texts: list[str]) -> list[list[float]]:
    return vectors(texts)


class Letters(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return vectors(texts)

    def embed_query(self, text: str) -> list[float]:
        return vectors([text])[0]


DOCUMENTS: dict[str, dict[str, Any]] = {
    "bee": {"text": "abba", "tags": ["bee", "fed"], "more": {"deep": "cab", "n": 3}},
    "cab": {"text": "cage", "tags": [], "list": [{"a": "beef"}, {"a": "dead"}]},
    "dad": {"text": "dad", "none": None, "flag": True},
    "egg": {"text": "egg"},
}
INDEXED: dict[str, Any] = {
    "all": None,
    "text": ["text"],
    "list": ["tags[*]", "list[-1].a", "list[0].a", "tags[7]"],
    "deep": ["more.deep", "more", "more.n", "flag"],
    "several": ["{text, more.deep}", "none", "nowhere.at.all"],
}


def searched(store: Any, per_item: Any) -> list[Any]:
    for key, value in DOCUMENTS.items():
        store.put(("docs", key), key, value, index=per_item)
    store.put(("docs", "bee"), "hidden", {"text": "abba"}, index=False)
    store.put(("docs", "dad"), "gone", {"text": "bad"})
    store.delete(("docs", "dad"), "gone")
    asked: list[dict[str, Any]] = [
        {"query": "abb"},
        {"query": "dd", "limit": 2},
        {"query": "gg", "offset": 1, "limit": 1},
        {"query": "abb", "filter": {"text": "cage"}},
        {"limit": 3},
    ]
    return [
        [(item.key, item.score and round(item.score, 6)) for item in store.search(("docs",), **one)]
        for one in asked
    ]


@pytest.mark.parametrize("fields", INDEXED)
@pytest.mark.parametrize("embed", [vectors, Letters()], ids=["function", "embeddings"])
@pytest.mark.parametrize("per_item", [None, ["text", "tags[*]"]], ids=["default", "per item"])
def test_a_search_by_meaning_finds_what_langgraphs_finds(fields: str, embed: Any, per_item: Any) -> None:
    index: Any = {"embed": embed, "dims": 8, "fields": INDEXED[fields]}
    assert searched(InMemoryStore(index=index), per_item) == searched(LangGraphStore(index=index), per_item)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("embed", [vectors, avectors, Letters()], ids=["sync", "async", "embeddings"])
async def test_a_search_by_meaning_finds_the_same_on_an_event_loop(embed: Any) -> None:
    store = InMemoryStore(index={"embed": embed, "dims": 8})
    await store.aput(("docs",), "bee", DOCUMENTS["bee"])
    await store.aput(("docs",), "egg", DOCUMENTS["egg"])
    assert [item.key for item in await store.asearch(("docs",), query="gge")] == ["egg", "bee"]


def test_an_async_function_can_not_embed_for_a_sync_call() -> None:
    with pytest.raises(TypeError, match="embed is async: use aput and asearch, or give a sync function"):
        InMemoryStore(index={"embed": avectors, "dims": 8}).put(("a",), "k", {"text": "a"})


# -- beside LangGraph's store ------------------------------------------------------------------------

labels = st.sampled_from(["a", "b", "c"])
namespaces = st.lists(labels, min_size=1, max_size=3).map(tuple)
prefixes = st.lists(labels, max_size=2).map(tuple)
patterns = st.none() | st.lists(labels | st.just("*"), min_size=1, max_size=2).map(tuple)
keys = st.sampled_from(["k1", "k2", "k3"])
fields = st.sampled_from(["x", "y"])
numbers = st.integers(0, 3)
values = st.dictionaries(
    fields, numbers | st.dictionaries(fields, numbers) | st.lists(numbers, max_size=2), max_size=2
)
wants = (
    numbers
    | st.dictionaries(fields, numbers, max_size=2)
    | st.lists(numbers, max_size=2)
    | st.dictionaries(st.sampled_from(["$eq", "$ne"]), numbers, min_size=1)
)
filters = st.none() | st.dictionaries(fields, wants, max_size=2)
pages = {"limit": st.integers(0, 4), "offset": st.integers(0, 3)}

calls = st.one_of(
    st.tuples(st.just("put"), st.tuples(namespaces, keys, values), st.just({})),
    st.tuples(st.just("delete"), st.tuples(namespaces, keys), st.just({})),
    st.tuples(st.just("get"), st.tuples(namespaces, keys), st.just({})),
    st.tuples(st.just("search"), st.tuples(prefixes), st.fixed_dictionaries({"filter": filters, **pages})),
    st.tuples(
        st.just("list_namespaces"),
        st.just(()),
        st.fixed_dictionaries(
            {"prefix": patterns, "suffix": patterns, "max_depth": st.none() | st.integers(1, 3), **pages}
        ),
    ),
)


def shown(result: Any) -> Any:
    """What two stores must agree on: all but the time."""
    if isinstance(result, list):
        return [shown(item) for item in result]
    if hasattr(result, "dict"):
        return {name: value for name, value in result.dict().items() if not name.endswith("_at")}
    return result


def without_empty_namespaces(store: LangGraphStore) -> LangGraphStore:
    """LangGraph's store goes on listing a namespace that was only ever read, or that has been emptied."""
    copy = LangGraphStore()
    for items in store._data.values():
        for item in items.values():
            copy.put(item.namespace, item.key, item.value)
    return copy


@settings(max_examples=100, deadline=None)
@given(st.lists(calls, max_size=15))
def test_every_call_answers_what_langgraphs_store_answers(
    made: list[tuple[str, tuple[Any, ...], dict[str, Any]]],
) -> None:
    mine, theirs = InMemoryStore(), LangGraphStore()
    for name, args, options in made:
        expected = shown(getattr(theirs, name)(*args, **options))
        assert shown(getattr(mine, name)(*args, **options)) == expected, name
        theirs = without_empty_namespaces(theirs)


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"])
@pytest.mark.parametrize("operand", [1, 2, 2.5])
def test_numbers_are_compared_as_langgraph_compares_them(operator: str, operand: float) -> None:
    found = []
    for store in (InMemoryStore(), LangGraphStore()):
        for n in (1, 2, 3):
            store.put(("a",), str(n), {"n": n})
        found.append([item.key for item in store.search(("a",), filter={"n": {operator: operand}})])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["get", "put", "search", "delete", "list_namespaces", "batch"])
def test_methods_take_what_langgraphs_take(name: str) -> None:
    for method in (name, f"a{name}"):
        mine, theirs = (inspect.signature(getattr(base, method)) for base in (BaseStore, langgraph.BaseStore))
        assert [(p.name, p.kind) for p in mine.parameters.values()] == [
            (p.name, p.kind) for p in theirs.parameters.values()
        ]


@pytest.mark.parametrize("name", ["GetOp", "PutOp", "SearchOp", "ListNamespacesOp", "MatchCondition"])
def test_operations_have_the_fields_and_defaults_of_langgraphs(name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(langgraph, name)
    assert mine._fields == theirs._fields
    assert mine._field_defaults == theirs._field_defaults


# -- what LangGraph's store does otherwise -----------------------------------------------------------


def test_no_change_from_outside_reaches_an_item() -> None:
    store = InMemoryStore()
    value: dict[str, Any] = {"list": [1]}
    store.put(("a",), "k", value)
    value["list"].append(2)
    for read in (lambda: store.get(("a",), "k"), lambda: store.search(("a",))[0]):
        item = read()
        assert item is not None
        item.value["list"].append(3)
        assert read().value == {"list": [1]}


def test_an_item_that_is_replaced_keeps_the_time_it_was_created() -> None:
    store = InMemoryStore()
    store.put(("a",), "k", {"n": 1})
    first = store.get(("a",), "k")
    store.put(("a",), "k", {"n": 2})
    second = store.get(("a",), "k")
    assert first is not None
    assert second is not None
    assert second.value == {"n": 2}
    assert second.created_at == first.created_at
    assert second.updated_at >= first.updated_at


def test_a_missing_field_is_less_than_nothing_and_more_than_nothing_neither() -> None:
    store = InMemoryStore()
    store.put(("a",), "k", {})
    assert store.search(("a",), filter={"n": {"$gt": 0}}) == []
    assert store.search(("a",), filter={"n": {"$lt": 0}}) == []


# -- batches, threads, event loops -------------------------------------------------------------------


def test_reads_of_a_batch_see_what_was_there_before_its_writes() -> None:
    store = InMemoryStore()
    store.put(("a",), "k", {"n": 1})
    ops: list[Any] = [
        PutOp(("a",), "k", {"n": 2}),
        GetOp(("a",), "k"),
        SearchOp(("a",)),
        PutOp(("a",), "k", {"n": 3}),
    ]
    written, got, found, again = store.batch(iter(ops))
    assert (written, got.value, [item.value for item in found], again) == (None, {"n": 1}, [{"n": 1}], None)
    assert store.batch([GetOp(("a",), "k")])[0].value == {"n": 3}


async def test_async_methods_do_the_same() -> None:
    store = InMemoryStore()
    await store.aput(("a", "b"), "k", {"n": 1})
    item = await store.aget(("a", "b"), "k")
    assert item is not None
    assert item.value == {"n": 1}
    assert [found.key for found in await store.asearch(("a",), filter={"n": 1})] == ["k"]
    assert await store.alist_namespaces(prefix=("a",)) == [("a", "b")]
    await store.adelete(("a", "b"), "k")
    assert await store.aget(("a", "b"), "k") is None


def test_threads_that_write_at_once_lose_nothing() -> None:
    store = InMemoryStore()

    def write(name: str) -> None:
        for n in range(300):
            store.put((name,), str(n), {"n": n})
            store.search((), limit=1)

    workers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [len(store.search((name,), limit=1_000)) for name in "abcd"] == [300] * 4


# -- items -------------------------------------------------------------------------------------------


def test_an_item_can_be_made_from_its_own_plain_data() -> None:
    store = InMemoryStore()
    store.put(("a", "b"), "k", {"n": 1})
    item = store.get(("a", "b"), "k")
    [found] = store.search(("a",))
    assert item is not None
    assert Item(**item.dict()) == item
    assert SearchItem(**found.dict()) == found
    assert hash(item) == hash(found)
    assert item != "item"
    assert repr(item).startswith("Item(namespace=['a', 'b'], key='k', value={'n': 1}, created_at='2")


# -- mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        ((), "namespace: () is empty; give it a label, as in ('memories',)"),
        (("langgraph", "a"), "namespace: ('langgraph', 'a') is reserved; begin with another label"),
        (("a", 1), "namespace: ('a', 1) is no namespace: the label 1 is a int; labels are strings"),
        (
            ("a.b",),
            "namespace: ('a.b',) is no namespace: the label 'a.b' has a '.' or NUL in it; choose another name",  # noqa: E501
        ),
        (
            ("",),
            "namespace: ('',) is no namespace: one label is an empty string; give it a name or leave it out",
        ),
    ],
)
def test_a_namespace_that_is_none_is_refused(namespace: Any, message: str) -> None:
    with pytest.raises(InvalidNamespaceError) as caught:
        InMemoryStore().put(namespace, "k", {})
    assert str(caught.value) == message


def test_a_query_without_embeddings_chooses_nothing_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = InMemoryStore()
    store.put(("a",), "k", {"text": "cats"})
    for query in ("dogs", "cats"):
        assert [item.key for item in store.search(("a",), query=query)] == ["k"]
    assert [one.message.partition(",")[0] for one in caplog.records] == ["query: 'dogs' is ignored"]


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (
            lambda: InMemoryStore(index={"dims": 3}),
            TypeError,
            (
                "index: embed is None; give LangChain's embeddings, their name, or a function from texts to "
                "vectors"
            ),
        ),
        (
            lambda: InMemoryStore().put(("a",), "k", {}, ttl=5),
            NotImplementedError,
            "ttl: items of InMemoryStore do not expire; leave it out, or take another store",
        ),
        (
            lambda: InMemoryStore().batch(["what"]),  # type: ignore[list-item]
            ValueError,
            "op: 'what' is no operation; give a GetOp, SearchOp, PutOp or ListNamespacesOp",
        ),
    ],
)
def test_what_it_cannot_do_it_says(use: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        use()
    assert str(caught.value) == message


def test_an_unknown_operator_is_an_error_that_lists_them() -> None:
    store = InMemoryStore()
    store.put(("a",), "k", {"n": 1})
    with pytest.raises(ValueError) as caught:
        store.search(("a",), filter={"n": {"$in": [1]}})
    assert str(caught.value) == "filter: '$in' is no operator; choose from $eq, $ne, $gt, $gte, $lt, $lte"
