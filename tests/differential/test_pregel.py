"""Graphs of nodes that subscribe to channels by hand: generated ones stream what LangGraph's do."""

import operator
import os
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import langgraph.channels
import langgraph.pregel
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel._write import ChannelWriteEntry

import engine
from tests.differential.compare import Plain, parts_of
from tests.differential.specs import Case, Graph

CHANNELS = ("LastValue", "Topic", "Tally", "EphemeralValue", "AnyValue")
LANGGRAPH = SimpleNamespace(
    NodeBuilder=langgraph.pregel.NodeBuilder,
    Pregel=langgraph.pregel.Pregel,
    ChannelWriteEntry=ChannelWriteEntry,
    InMemorySaver=InMemorySaver,
    **{name: getattr(langgraph.channels, name) for name in CHANNELS if name != "Tally"},
    Tally=lambda typ: langgraph.channels.BinaryOperatorAggregate(typ, operator.add),
)
OURS = SimpleNamespace(
    **{name: getattr(engine, name) for name in vars(LANGGRAPH) if name != "Tally"},
    Tally=lambda typ: engine.BinaryOperatorAggregate(typ, operator.add),
)
THREAD = {"configurable": {"thread_id": "1"}, "recursion_limit": 6, "max_concurrency": 1}
NAMES = ("a", "b", "c", "d")
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)


class Spec(NamedTuple):
    """A node: what it is triggered by, reads beside that, and writes; how it writes the last of it."""

    triggers: list[str]
    single: bool
    reads: list[str]
    silent: bool
    targets: list[str]
    how: str
    enough: int


class Shape(NamedTuple):
    channels: list[str]
    nodes: list[Spec]
    inputs: Any
    outputs: Any
    before: bool


specs = st.builds(
    Spec,
    names,
    st.booleans(),
    st.lists(st.sampled_from(NAMES), max_size=1),
    st.booleans(),
    names,
    st.sampled_from(["answer", "value", "mapper", "skip_none"]),
    st.integers(2, 9),
)
either = st.one_of(st.sampled_from(NAMES), names)
shapes = st.builds(
    Shape,
    st.lists(st.sampled_from(CHANNELS), min_size=4, max_size=4),
    st.lists(specs, min_size=1, max_size=3),
    either,
    either,
    st.booleans(),
)


def size(value: Any) -> int:
    """Make a number of whatever a node is given."""
    if isinstance(value, dict):
        return sum(size(one) for one in value.values())
    return sum(map(size, value)) if isinstance(value, list) else int(value or 0)


def node(api: Any, spec: Spec) -> Any:
    made = api.NodeBuilder()
    if spec.single:
        made.subscribe_only(spec.triggers[0])
    else:
        made.subscribe_to(*spec.triggers, read=not spec.silent).read_from(*spec.reads)
    made.do(size).do(lambda x: x + 1 if x < spec.enough else None)
    *plain, last = spec.targets
    made.write_to(*plain)
    if spec.how == "skip_none":
        return made.write_to(api.ChannelWriteEntry(last, skip_none=True))
    values = {"value": 1, "mapper": lambda x: 2 * (x or 1)}
    return made.write_to(**{last: values[spec.how]}) if spec.how in values else made.write_to(last)


def graph(api: Any, shape: Shape) -> Any:
    return api.Pregel(
        nodes={f"n{count}": node(api, spec) for count, spec in enumerate(shape.nodes)},
        channels={name: getattr(api, kind)(int) for name, kind in zip(NAMES, shape.channels, strict=True)},
        input_channels=shape.inputs,
        output_channels=shape.outputs,
        interrupt_before_nodes=["n0"] if shape.before else [],
        checkpointer=api.InMemorySaver(),
    )


def starts_by_itself(shape: Shape) -> bool:
    """Whether LangGraph may run a node for a channel that nobody has written: docs/differences.md, 32."""
    tallies = {name for name, kind in zip(NAMES, shape.channels, strict=True) if kind == "Tally"}
    return any(not tallies.isdisjoint(spec.triggers) for spec in shape.nodes)


def shares_its_input(shape: Shape) -> bool:
    """Whether LangGraph gives a node what another one reads of the same channel: docs/differences.md, 35."""
    read = [
        (
            spec.single,
            tuple(spec.triggers[:1] if spec.single else [*spec.triggers * (not spec.silent), *spec.reads]),
        )
        for spec in shape.nodes
    ]
    return len(set(read)) > len({keys for _, keys in read})


def outcome(call: Any) -> Any:
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def legs(api: Any, shape: Shape, case: Case) -> list[Any]:
    """Run it, go on, run it again from outside, and look at what is stored."""
    made = outcome(lambda: graph(api, shape))
    if isinstance(made, str):
        return [made]
    given_to = 1 if isinstance(shape.inputs, str) else dict.fromkeys(shape.inputs, 1)
    plain, found = Plain(ordered_ids=False), []

    def streamed(input: Any) -> Any:
        options = {"stream_mode": case.modes, "version": case.version}
        parts = parts_of(case, list(made.stream(input, THREAD, **options)))
        return [plain(part) for part in parts]

    for input in (given_to, None, given_to):
        found.append(outcome(partial(streamed, input)))
        found.append(plain(outcome(lambda: made.get_state(THREAD))))
    found.append(outcome(lambda: made.invoke(given_to, {**THREAD, "configurable": {"thread_id": "2"}})))
    found.append(outcome(lambda: made.update_state(THREAD, 3, as_node="n0")) is not None)
    found.append(plain(outcome(lambda: made.get_state(THREAD))))
    return found


@given(shapes, st.sampled_from(["values", "updates", "tasks", ["values", "updates", "debug"]]))
@settings(max_examples=int(os.environ.get("OTEL_STREAM_EXAMPLES", "60")), deadline=None)
def test_nodes_that_subscribe_to_channels_stream_what_langgraph_streams(shape: Shape, modes: Any) -> None:
    assume(not starts_by_itself(shape) and not shares_its_input(shape))
    case = Case(Graph(()), modes=modes, version="v2", saver=True)
    assert legs(OURS, shape, case) == legs(LANGGRAPH, shape, case)
