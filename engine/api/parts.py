"""The shapes of what streams yield, for type checkers and readers: LangGraph's names of plain mappings."""

from __future__ import annotations

from typing import Any, Generic, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict, TypeVar

from ..types import Config, Interrupt

StateT = TypeVar("StateT", default=Any)
OutputT = TypeVar("OutputT", default=Any)


class TaskPayload(TypedDict):
    """A task starts: *tasks* and *debug*.

    ``id`` is the task's, ``name`` its node's; ``triggers`` are the channels that scheduled it; ``input`` is
    what it is given, ``metadata`` the node's.
    """

    id: str
    name: str
    input: Any
    triggers: tuple[str, ...]
    metadata: NotRequired[dict[str, Any]]


class TaskResultPayload(TypedDict):
    """A task has ended. ``error`` is the exception itself.

    ``id`` is the task's, ``name`` its node's; ``result`` is what it wrote, ``interrupts`` what it asks.
    """

    id: str
    name: str
    error: BaseException | None
    result: dict[str, Any]
    interrupts: list[dict[str, Any]]


class CheckpointTask(TypedDict):
    """A task of the superstep after a checkpoint. ``state`` tells where a subgraph keeps its own."""

    id: str
    name: str
    error: NotRequired[str]
    result: NotRequired[Any]
    interrupts: NotRequired[tuple[dict[str, Any], ...]]
    state: Config | None


class CheckpointPayload(TypedDict, Generic[StateT]):
    """A checkpoint was saved: *checkpoints* and *debug*. ``next`` names the nodes that come now.

    ``config`` finds it again, ``parent_config`` the one before. ``metadata`` and ``values`` are what is
    stored, ``tasks`` what comes next.
    """

    config: Config | None
    parent_config: Config | None
    metadata: dict[str, Any]
    values: StateT
    next: list[str]
    tasks: list[CheckpointTask]


class DebugCheckpoint(TypedDict, Generic[StateT]):
    """A checkpoint in *debug*; ``timestamp`` is ISO 8601."""

    step: int
    timestamp: str
    type: Literal["checkpoint"]
    payload: CheckpointPayload[StateT]


class DebugTask(TypedDict):
    """The start of a task in *debug*."""

    step: int
    timestamp: str
    type: Literal["task"]
    payload: TaskPayload


class DebugTaskResult(TypedDict):
    """The end of a task in *debug*."""

    step: int
    timestamp: str
    type: Literal["task_result"]
    payload: TaskResultPayload


DebugPayload: TypeAlias = DebugCheckpoint[StateT] | DebugTask | DebugTaskResult


class ValuesStreamPart(TypedDict, Generic[OutputT]):
    """The state after a superstep, and what the run waits for.

    ``type`` is the mode, ``ns`` the path to the subgraph, ``()`` at the root, ``data`` what it shows.
    ``interrupts``: what the run waits for.
    """

    type: Literal["values"]
    ns: tuple[str, ...]
    data: OutputT
    interrupts: tuple[Interrupt, ...]


class UpdatesStreamPart(TypedDict):
    """What one task wrote, by node.

    ``type`` is the mode, ``ns`` the path to the subgraph, ``()`` at the root, ``data`` what it shows.
    """

    type: Literal["updates"]
    ns: tuple[str, ...]
    data: dict[str, Any]


class MessagesStreamPart(TypedDict):
    """A message, or a chunk of one, and where it comes from.

    ``type`` is the mode, ``ns`` the path to the subgraph, ``()`` at the root, ``data`` what it shows.
    """

    type: Literal["messages"]
    ns: tuple[str, ...]
    data: tuple[Any, dict[str, Any]]


class CustomStreamPart(TypedDict):
    """What a node gave its stream writer.

    ``type`` is the mode, ``ns`` the path to the subgraph, ``()`` at the root, ``data`` what it shows.
    """

    type: Literal["custom"]
    ns: tuple[str, ...]
    data: Any


class CheckpointStreamPart(TypedDict, Generic[StateT]):
    """A checkpoint.

    ``type`` is the mode, ``ns`` the path to the subgraph, ``()`` at the root, ``data`` what it shows.
    """

    type: Literal["checkpoints"]
    ns: tuple[str, ...]
    data: CheckpointPayload[StateT]


class TasksStreamPart(TypedDict):
    """The start or the end of a task.

    ``type`` is the mode, ``ns`` the path to the subgraph, ``()`` at the root, ``data`` what it shows.
    """

    type: Literal["tasks"]
    ns: tuple[str, ...]
    data: TaskPayload | TaskResultPayload


class DebugStreamPart(TypedDict, Generic[StateT]):
    """A checkpoint, or the start or end of a task, with step and time.

    ``type`` is the mode, ``ns`` the path to the subgraph, ``()`` at the root, ``data`` what it shows.
    """

    type: Literal["debug"]
    ns: tuple[str, ...]
    data: DebugPayload[StateT]


#: What ``stream(version="v2")`` yields; ``part["type"]`` tells which it is.
StreamPart: TypeAlias = (
    ValuesStreamPart[OutputT]
    | UpdatesStreamPart
    | MessagesStreamPart
    | CustomStreamPart
    | CheckpointStreamPart[StateT]
    | TasksStreamPart
    | DebugStreamPart[StateT]
)
