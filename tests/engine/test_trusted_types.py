"""Which types a graph's schemas name: a saver that rebuilds only what it is told to trust is told these."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import pydantic
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from engine import START, Command, Send, StateGraph, entrypoint, interrupt
from engine.graph.trusted import types_in

T = TypeVar("T")
CONFIG = {"configurable": {"thread_id": "1"}}


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    colour: Colour


class Model(pydantic.BaseModel):
    point: Point | None = None


class Pair(NamedTuple):
    left: int
    right: Model


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


@dataclasses.dataclass
class Chain:
    next: "Chain | None" = None
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Unresolved:
    other: "Nowhere"  # noqa: F821 - that is the point
    point: Point


class Inner(TypedDict):
    point: Point


class Plain:
    colour: Colour


Many = NewType("Many", list[Point])
Bound = TypeVar("Bound", bound=Point)

COLOUR, POINT, MODEL = (__name__, "Colour"), (__name__, "Point"), (__name__, "Model")


@pytest.mark.parametrize(
    ("hint", "found"),
    [
        (Colour, {COLOUR}),
        (Point, {POINT, COLOUR}),
        (Model, {MODEL, POINT, COLOUR}),
        (Pair, {(__name__, "Pair"), MODEL, POINT, COLOUR}),
        (Chain, {(__name__, "Chain"), COLOUR}),
        (Inner, {POINT, COLOUR}),
        (dict[str, list[Colour | None]], {COLOUR}),
        (Mapping[str, Sequence[Point]], {POINT, COLOUR}),
        (Annotated[tuple[Point, ...], "reducer"], {POINT, COLOUR}),
        (Box[Point], {(__name__, "Box"), POINT, COLOUR}),
        (Literal[Colour.RED, "x"], {COLOUR}),
        (Many, {POINT, COLOUR}),
        (list[Bound], {POINT, COLOUR}),
        (Plain, set()),
        (int, set()),
        ("a name", set()),
        (None, set()),
    ],
    ids=range(17),
)
def test_every_type_that_is_stored_by_its_name_is_found_however_deep_it_is(hint, found):
    assert types_in([hint]) == found


def test_a_field_whose_type_cannot_be_resolved_names_none():
    assert types_in([Unresolved]) >= {(__name__, "Unresolved")}


class State(TypedDict, total=False):
    points: list[Point]
    answer: Model


@dataclasses.dataclass
class Work:
    box: Box[Point]


def build(saver):
    def split(state: State) -> list[Send]:
        return [Send("work", Work(Box(state["points"][0])))]

    def work(state: Work):
        assert type(state.box.content.colour) is Colour
        return {"answer": interrupt(state.box)}

    graph = StateGraph(State).add_node("plan", lambda state: None).add_node("work", work)
    return graph.add_edge(START, "plan").add_conditional_edges("plan", split).compile(checkpointer=saver)


class Cipher:
    def encrypt(self, plaintext):
        return "none", plaintext

    def decrypt(self, ciphername, ciphertext):
        return ciphertext


@pytest.mark.parametrize("encrypts", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_a_saver_that_trusts_no_type_of_the_users_is_told_which_to_rebuild(
    otel_globals, caplog, encrypts, measured
):
    if measured:  # the sizes of checkpoints are counted on their way
        provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
        metrics.set_meter_provider(provider)
    serde = JsonPlusSerializer(allowed_msgpack_modules=None)
    graph = build(InMemorySaver(serde=EncryptedSerializer(Cipher(), serde) if encrypts else serde))
    graph.invoke({"points": [Point(Colour.RED)]}, CONFIG)
    assert graph.get_state(CONFIG).interrupts[0].value == Box(Point(Colour.RED))
    answer = Model(point=Point(Colour.RED))
    assert graph.invoke(Command(resume=answer), CONFIG) == {"points": [Point(Colour.RED)], "answer": answer}
    assert graph.get_state(CONFIG).values == {"points": [Point(Colour.RED)], "answer": answer}
    assert next(graph.get_state_history(CONFIG)).values["answer"] == answer
    assert caplog.messages == []


def test_what_a_graph_around_names_is_rebuilt_for_a_subgraph_too():
    class Outer(TypedDict, total=False):
        point: Point
        answer: object

    class Any(TypedDict, total=False):
        point: object
        answer: object

    def ask(state: Any):
        return {"answer": interrupt(state["point"])}

    inside = StateGraph(Any).add_node("ask", ask).add_edge(START, "ask").compile()
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    graph = StateGraph(Outer).add_node("inside", inside).add_edge(START, "inside").compile(saver)
    graph.invoke({"point": Point(Colour.RED)}, CONFIG)
    (task,) = graph.get_state(CONFIG, subgraphs=True).tasks
    assert task.state.values == {"point": Point(Colour.RED)}
    assert task.state.interrupts[0].value == Point(Colour.RED)
    assert graph.invoke(Command(resume=Point(Colour.RED)), CONFIG)["answer"] == Point(Colour.RED)


def test_what_an_entrypoint_remembers_is_rebuilt():
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))

    @entrypoint(checkpointer=saver)
    def flow(given: Point, *, previous: Model | None = None) -> entrypoint.final[Point | Model, Model]:
        return entrypoint.final(value=previous or given, save=Model(point=given))

    assert flow.invoke(Point(Colour.RED), CONFIG) == Point(Colour.RED)
    assert flow.invoke(Point(Colour.RED), CONFIG) == Model(point=Point(Colour.RED))


class Own:
    """A serialiser of somebody's own, which keeps things as they are."""

    def dumps_typed(self, obj):
        return "own", obj

    def loads_typed(self, data):
        return data[1]


def test_a_serialiser_of_ones_own_is_left_alone(caplog):
    graph = build(InMemorySaver(serde=Own()))
    graph.invoke({"points": [Point(Colour.RED)]}, CONFIG)
    assert graph.invoke(Command(resume=Model()), CONFIG)["answer"] == Model()
    assert caplog.messages == []
