"""What a state may be made of: types of the user's, in each other, that a saver must be told to trust."""

import operator
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, TypedDict

from pydantic import BaseModel


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    colour: Colour = Colour.RED


class Leaf(BaseModel):
    point: Point


class Tree(BaseModel):
    leaves: dict[str, Leaf]
    colours: list[Colour]


@dataclass(frozen=True)
class Question:
    about: Point
    choices: tuple[Colour, ...] = ()


@dataclass
class Answer:
    colour: Colour
    why: list[Leaf] = field(default_factory=list)


@dataclass
class Part:
    """What a Send carries: no key of the state has this type."""

    number: int
    tree: Tree


class State(TypedDict, total=False):
    tree: Tree
    asked: Question | None
    answers: Annotated[list[Answer], operator.add]
    points: Annotated[list[Point], operator.add]
    remembered: list[str]


TREE = Tree(leaves={"a": Leaf(point=Point(1))}, colours=[Colour.RED, Colour.BLUE])
ANSWER = Answer(Colour.BLUE, [Leaf(point=Point(7, Colour.BLUE))])
