"""Mistakes get one sentence that names field, value and remedy, and get it before anything runs."""

import operator
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, TypedDict

import pytest

from engine import (
    END,
    START,
    Command,
    EmptyInputError,
    GraphRecursionError,
    InMemorySaver,
    InvalidUpdateError,
    RetryPolicy,
    Send,
    StateGraph,
    TimeoutPolicy,
)
from otel_stream.config import ConfigError, StreamConfig

MODES = "values, updates, messages, custom, tasks, checkpoints, debug, tools"


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    x: int


def ok(state: Any) -> dict[str, Any]:
    return {"log": ["ok"]}


def graph(**nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    made = StateGraph(State)
    for name, node in nodes.items():
        made.add_node(name, node).add_edge(START, name)
    return made


def one(node: Any = ok) -> Any:
    return graph(a=node).compile()


def said(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the error's sentence, without the notes that say where it happened."""
    error = caught.value
    return str(error.args[0] if isinstance(error, KeyError) else error)


# -- what is asked of a stream ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "sentence"),
    [
        ("nope", f"stream_mode: unknown stream mode 'nope'. Known modes: {MODES}"),
        (
            "update",
            f"stream_mode: unknown stream mode 'update'; did you mean 'updates'? Known modes: {MODES}",
        ),
        (["values", "nope"], f"stream_mode: unknown stream mode 'nope'. Known modes: {MODES}"),
        (("values", "nope"), f"stream_mode: unknown stream mode 'nope'. Known modes: {MODES}"),
        ([], f"stream_mode: no stream mode is given; give at least one of {MODES}"),
        (3, f"stream_mode: 3 is no stream mode; give one of {MODES}, or a list of them"),
    ],
)
async def test_an_unknown_stream_mode_is_an_error_and_no_node_runs(modes: Any, sentence: str) -> None:
    ran: list[str] = []

    def node(state: Any) -> None:
        ran.append("a")

    compiled = one(node)

    async def aiterate() -> AsyncIterator[Any]:
        async for part in compiled.astream({}, stream_mode=modes):
            yield part

    def iterate() -> Iterator[Any]:
        yield from compiled.stream({}, stream_mode=modes)

    with pytest.raises(ConfigError) as caught:
        _ = [part async for part in aiterate()]
    assert said(caught) == sentence
    with pytest.raises(ConfigError) as caught:
        list(iterate())
    assert said(caught) == sentence
    with pytest.raises(ConfigError) as caught:
        await compiled.ainvoke({}, stream_mode=modes)
    assert said(caught) == sentence
    assert ran == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"modes": "nope"}, f"StreamConfig.modes: unknown stream mode 'nope'. Known modes: {MODES}"),
        (
            {"modes": "values", "overflow": "drop"},
            (
                "StreamConfig.overflow: unknown overflow policy 'drop'; did you mean 'drop_newest'? "
                "Known policies: block, drop_oldest, drop_newest, coalesce, error"
            ),
        ),
        (
            {"modes": "values", "buffer_size": 0},
            "StreamConfig.buffer_size: 0 is no size; give a whole number, 1 or more",
        ),
        (
            {"modes": "values", "buffer_size": -3},
            "StreamConfig.buffer_size: -3 is no size; give a whole number, 1 or more",
        ),
    ],
)
def test_a_stream_config_that_cannot_be_meant_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StreamConfig(**settings)
    # difflib may find another near one; what it proposes must exist.
    assert said(caught).split("; did you mean")[0] == sentence.split("; did you mean", maxsplit=1)[0]
    assert said(caught).split("Known")[-1] == sentence.rsplit("Known", maxsplit=1)[-1]


@pytest.mark.parametrize("version", ["v3", "", None])
async def test_an_unknown_version_is_an_error(version: Any) -> None:
    with pytest.raises(ValueError) as caught:
        _ = [part async for part in one().astream({}, version=version)]
    assert said(caught) == f"version: {version!r} is unknown; choose 'v1' or 'v2'"


# -- how a graph is built --------------------------------------------------------------------------


def _edge_to_nowhere() -> Any:
    return graph(a=ok).add_edge("a", "nowhere").compile()


def _edge_from_nowhere() -> Any:
    return graph(a=ok).add_edge("nowhere", "a").compile()


def _nothing_to_start_with() -> Any:
    return StateGraph(State).add_node("a", ok).compile()


def _branch_to_nowhere() -> Any:
    return graph(a=ok).add_conditional_edges("a", lambda s: "b", ["b"]).compile()


def _branch_twice() -> Any:
    def pick(state: Any) -> str:
        return END

    return graph(a=ok).add_conditional_edges("a", pick).add_conditional_edges("a", pick)


def _join_of_nobody() -> Any:
    return graph(a=ok).add_edge(["a", "nobody"], "a").compile()


def _sync_with_timeout() -> Any:
    return graph().add_node("a", ok, timeout=1).add_edge(START, "a").compile()


def _three_armed_reducer() -> Any:
    def merge(a: Any, b: Any, c: Any) -> Any: ...

    class Bad(TypedDict):
        x: Annotated[int, merge]

    return StateGraph(Bad)


def _two_reducers() -> Any:
    class Other(TypedDict):
        log: Annotated[list[str], operator.mul]

    return StateGraph(State, input_schema=Other)


BUILDING: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (_edge_to_nowhere, ValueError, "Found edge ending at unknown node `nowhere`; known nodes: a"),
    (_edge_from_nowhere, ValueError, "Found edge starting at unknown node 'nowhere'; known nodes: a"),
    (
        _nothing_to_start_with,
        ValueError,
        "Graph must have an entrypoint: add at least one edge from START to another node",
    ),
    (_branch_to_nowhere, ValueError, "At 'a' node, '<lambda>' branch found unknown target 'b'"),
    (_branch_twice, ValueError, "Branch with name `pick` already exists for node `a`"),
    (_join_of_nobody, ValueError, "Found edge starting at unknown node 'nobody'; known nodes: a"),
    (lambda: graph(a=ok).add_edge(END, "a"), ValueError, "END cannot be a start node"),
    (lambda: graph(a=ok).add_edge("a", START), ValueError, "START cannot be an end node"),
    (lambda: graph(a=ok).add_node("a", ok), ValueError, "Node `a` already present."),
    (lambda: graph(__start__=ok), ValueError, "Node `__start__` is reserved."),
    (
        lambda: StateGraph(State).add_node("a:b", ok),
        ValueError,
        "':' is a reserved character and is not allowed in the node names.",
    ),
    (
        lambda: StateGraph(State).add_node("a"),
        ValueError,
        "add_node('a'): the node's function is missing; pass it as second argument",
    ),
    (
        lambda: StateGraph(State).add_node("a", 3),
        TypeError,
        "node 'a': expected a function, a compiled graph or a runnable, got int",
    ),
    (lambda: StateGraph(State).add_sequence([]), ValueError, "Sequence requires at least one node."),
    (
        lambda: graph(a=ok).compile(interrupt_before=["b"]),
        ValueError,
        "Interrupt node `b` not found",
    ),
    (
        _sync_with_timeout,
        ValueError,
        (
            "Node timeouts are only supported for async nodes: 'a' is sync, and a thread can't be stopped; "
            "make it async or drop the timeout"
        ),
    ),
    (
        _three_armed_reducer,
        ValueError,
        (
            "Invalid reducer signature. Expected (a, b) -> c. Got (a: Any, b: Any, c: Any) -> Any for key "
            "'x'; annotate the key with a function of the current and the written value"
        ),
    ),
    (
        _two_reducers,
        ValueError,
        (
            "Channel 'log' already exists with a different type: two schemas of the graph give it different "
            "reducers; annotate it alike in both"
        ),
    ),
    (
        lambda: TimeoutPolicy(run_timeout=0),
        ValueError,
        "run_timeout must be greater than 0 seconds, not 0; None is no limit",
    ),
    (
        lambda: StateGraph(State).add_node("a", ok, timeout="soon"),  # type: ignore[arg-type]
        ValueError,
        "timeout: 'soon' is none; give seconds, a timedelta or a TimeoutPolicy",
    ),
    (
        lambda: TimeoutPolicy(refresh_on="never"),  # type: ignore[arg-type]
        ValueError,
        "refresh_on: 'never' is unknown; choose 'auto' or 'heartbeat'",
    ),
    (
        lambda: RetryPolicy(retry_on=3).matches(KeyError()),  # type: ignore[arg-type]
        TypeError,
        "RetryPolicy.retry_on: 3 is not an exception class, a sequence of them, or a callable",
    ),
]


@pytest.mark.parametrize(("build", "kind", "sentence"), BUILDING)
def test_a_graph_that_makes_no_sense_is_refused_when_it_is_built(
    build: Callable[[], Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert said(caught) == sentence


# -- how a run is called ---------------------------------------------------------------------------


def _thread(**more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": "1", **more}}


CALLING: list[tuple[Callable[[], Any], Any, Any, type[Exception], str]] = [
    (
        one,
        None,
        {},
        EmptyInputError,
        "Received no input for __start__: pass the graph's input, or the thread_id of a run to go on with",
    ),
    (
        lambda: graph(a=ok).compile(InMemorySaver()),
        None,
        _thread(),
        EmptyInputError,
        "Received no input for __start__: pass the graph's input, or the thread_id of a run to go on with",
    ),
    (
        lambda: graph(a=ok).compile(InMemorySaver()),
        {},
        {},
        ValueError,
        (
            "Checkpointer requires one or more of the following 'configurable' keys: thread_id, "
            'checkpoint_ns, checkpoint_id; pass config={"configurable": {"thread_id": "..."}}'
        ),
    ),
    (
        one,
        Command(resume=1),
        {},
        RuntimeError,
        (
            "Cannot use Command(resume=...) without checkpointer: compile the graph with one and pass the "
            "thread_id"
        ),
    ),
    (
        one,
        {},
        {"recursion_limit": 0},
        ValueError,
        (
            "recursion_limit must be at least 1: 0 is not; set config['recursion_limit'] to the most "
            "supersteps a run may take"
        ),
    ),
    *(
        (
            one,
            {},
            {"max_concurrency": limit},
            ValueError,
            (
                f"max_concurrency must be a whole number of tasks: {limit!r} is none; set "
                "config['max_concurrency'] to how many may run at a time, or leave it out"
            ),
        )
        for limit in (-1, "2", 1.5)
    ),
    (
        lambda: graph(a=ok).add_edge("a", "a").compile(),
        {},
        {"recursion_limit": 3},
        GraphRecursionError,
        (
            "Recursion limit of 3 reached without hitting a stop condition. You can increase the limit "
            "by setting the `recursion_limit` config key. [GRAPH_RECURSION_LIMIT]"
        ),
    ),
]


@pytest.mark.parametrize(("make", "input", "config", "kind", "sentence"), CALLING)
async def test_a_run_that_cannot_start_or_end_says_why(
    make: Callable[[], Any], input: Any, config: Any, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        await make().ainvoke(input, config)
    assert said(caught) == sentence
    with pytest.raises(kind) as caught:
        make().invoke(input, config)
    assert said(caught) == sentence


# -- what nodes return -----------------------------------------------------------------------------


def _route(answer: Any, path_map: Any = None) -> Any:
    return graph(a=ok).add_conditional_edges("a", lambda state: answer, path_map).compile()


RETURNED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    *(
        (
            lambda answer=answer: one(lambda state: answer),
            InvalidUpdateError,
            (
                f"Expected dict, got {answer!r}: node 'a' must return a mapping of state keys to values, a "
                "Command, or None. [INVALID_GRAPH_NODE_RETURN_VALUE]"
            ),
        )
        for answer in (3, "text", ["list"], {"set"})
    ),
    (
        lambda: graph(a=lambda s: {"x": 1}, b=lambda s: {"x": 2}).compile(),
        InvalidUpdateError,
        (
            "At key 'x': Can receive only one value per step, got 2. Annotate the key with a reducer "
            "(Annotated[T, fn]) to merge several writes. [INVALID_CONCURRENT_GRAPH_UPDATE]"
        ),
    ),
    (lambda: _route(Send(END, 1)), InvalidUpdateError, "Cannot send a packet to the END node"),
    (
        lambda: _route(None),
        ValueError,
        (
            "Branch did not return a valid destination: conditional edge '<lambda>' returned None; "
            "return a node name, a Send, END, or a list of them"
        ),
    ),
    (
        lambda: _route("b", {"x": "a"}),
        KeyError,
        "conditional edge '<lambda>' returned 'b', which its path_map does not know; known: 'x'",
    ),
]


@pytest.mark.parametrize(("make", "kind", "sentence"), RETURNED)
async def test_an_answer_that_names_nothing_says_whose_it_was(
    make: Callable[[], Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        await make().ainvoke({})
    assert said(caught) == sentence
    with pytest.raises(kind) as caught:
        make().invoke({})
    assert said(caught) == sentence


async def test_an_error_in_a_node_says_which_node_and_task_it_was() -> None:
    def boom(state: Any) -> None:
        raise ValueError("kaboom")

    with pytest.raises(ValueError, match="kaboom") as caught:
        await one(boom).ainvoke({})
    assert caught.value.args == ("kaboom",)
    (note,) = caught.value.__notes__
    assert note.startswith("During task with name 'a' and id '")


async def test_an_async_node_without_an_event_loop_says_what_to_do() -> None:
    async def node(state: Any) -> None: ...

    with pytest.raises(TypeError) as caught:
        one(node).invoke({})
    assert said(caught) == (
        'No synchronous function provided to "a": it is async; use ainvoke or astream, or give the node '
        "a sync function"
    )


async def test_an_empty_mapping_is_input_enough() -> None:
    assert await one().ainvoke({}) == {"log": ["ok"]}
