"""Nodes that subscribe to channels by hand, and programs of nothing else: what a graph compiles to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Self, TypeAlias, TypedDict

from anyio import to_thread

from ..channels import Channel, Topic, of_langgraph
from ..managed import ManagedValue
from ..policies import CachePolicy, RetryPolicy, TimeoutPolicy
from ..types import END, MISSING, START, Send
from .description import Description, NodeSpec
from .introspect import graph_in
from .node import TASKS, Callback, Node, Writes
from .program import Program

#: Names of channels, read or written as a mapping; a string names the one whose value stands for itself.
Names: TypeAlias = str | Sequence[str]


class ChannelWriteEntry(NamedTuple):
    """What a node writes to one channel: its answer, unless ``value`` says otherwise."""

    #: The channel to write to.
    channel: str
    #: What to write in place of the node's answer.
    value: Any = MISSING
    #: Write nothing where the value is None.
    skip_none: bool = False
    #: What makes the value to write of the answer, or of ``value``.
    mapper: Callable[[Any], Any] | None = None

    def writes(self, answer: Any) -> Writes:
        """Return what is written once the node has answered."""
        value = answer if self.value is MISSING else self.value
        if self.mapper is not None:
            value = self.mapper(value)
        return [] if value is None and self.skip_none else [(self.channel, value)]


@dataclass(slots=True)
class ChannelNode(Node):
    """A node that writes to channels what it was told to, whatever it answers."""

    entries: tuple[ChannelWriteEntry, ...] = ()

    def writes_of(self, answer: Any) -> Writes:
        return [write for entry in self.entries for write in entry.writes(answer)]


def _as_it_is(value: Any) -> Any:
    return value


class NodeBuilder:
    """Describes a node of a ``Pregel``: the channels it reads, what it does, the channels it writes.

    Each method changes the builder and returns it.
    """

    __slots__ = ("_node", "_steps")

    def __init__(self) -> None:
        self._node = ChannelNode("", Callback("", _as_it_is, None))
        self._steps: tuple[Callback, ...] = ()

    def _change(self, **changes: Any) -> Self:
        self._node = replace(self._node, **changes)
        return self

    def subscribe_only(self, channel: str) -> Self:
        """Run whenever ``channel`` was written, with its value.

        Raises:
            ValueError: it subscribes to another one already.
        """
        if self._node.keys:
            raise ValueError(
                f"subscribe_only({channel!r}): the node reads {', '.join(self._node.keys)} already, and "
                "would be given a mapping; use subscribe_to for all of them"
            )
        return self._change(keys=(channel,), triggers=(*self._node.triggers, channel), single=True)

    def subscribe_to(self, *channels: str, read: bool = True) -> Self:
        """Run whenever one of ``channels`` was written, with a mapping of what is in all that it reads.

        ``read=False``: they trigger the node, and are not in the mapping.

        Raises:
            ValueError: it subscribes to a single channel.
        """
        self._change(triggers=(*self._node.triggers, *channels))
        return self.read_from(*channels) if read else self

    def read_from(self, *channels: str) -> Self:
        """Read ``channels``, too, without being run because of them.

        Raises:
            ValueError: it subscribes to a single channel.
        """
        if self._node.single:
            raise ValueError(
                f"the node is given the value of '{self._node.keys[0]}' alone, and can't read "
                f"{', '.join(map(repr, channels))}; use subscribe_to instead of subscribe_only"
            )
        return self._change(keys=(*self._node.keys, *channels))

    def do(self, node: Any) -> Self:
        """Call ``node``, a function or runnable, with what was read, or with what the one before has given.

        Raises:
            TypeError: it can't be called.
        """
        self._steps = (*self._steps, Callback.of(node))
        return self

    def write_to(self, *channels: str | ChannelWriteEntry, **values: Any) -> Self:
        """Write the answer to ``channels``; to each of ``values`` that, or what it makes of the answer."""
        given = [ChannelWriteEntry(one) if isinstance(one, str) else one for one in channels]
        made = [
            ChannelWriteEntry(name, mapper=value) if callable(value) else ChannelWriteEntry(name, value)
            for name, value in values.items()
        ]
        return self._change(entries=(*self._node.entries, *given, *made))

    def meta(self, *tags: str, **metadata: Any) -> Self:
        """Add tags and metadata to the node."""
        known = self._node.metadata or {}
        return self._change(tags=(*self._node.tags, *tags), metadata={**known, **metadata} or None)

    def add_retry_policies(self, *policies: RetryPolicy) -> Self:
        """Try again after failures that one of ``policies`` matches."""
        return self._change(retry=(*self._node.retry, *policies))

    def add_cache_policy(self, policy: CachePolicy) -> Self:
        """Remember what the node has written for an input."""
        return self._change(cache=policy)

    def set_timeout(self, timeout: float | timedelta | TimeoutPolicy | None) -> Self:
        """Limit each attempt: seconds, or a policy; only code that is async can be limited."""
        return self._change(timeout=TimeoutPolicy.coerce(timeout))

    def build(self) -> ChannelNode:
        """Return the node."""
        steps = self._steps
        called = self._node.callback if not steps else steps[0] if len(steps) == 1 else _chain(steps)
        return replace(self._node, callback=called)


class _Steps:
    """Calls one step after another, each with the answer of the one before."""

    def __init__(self, steps: Sequence[Callback]) -> None:
        self._steps = steps

    def __call__(self, value: Any, **given: Any) -> Any:
        for step in self._steps:
            assert step.func is not None  # else a chain has no sync form
            value = step.func(value, **_own(step, given))
        return value

    async def run(self, value: Any, **given: Any) -> Any:
        for step in self._steps:
            if step.afunc is not None:
                value = await step.afunc(value, **_own(step, given))
            else:
                assert step.func is not None  # it has one form at least
                value = await to_thread.run_sync(partial(step.func, value, **_own(step, given)))
        return value


def _own(step: Callback, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in step.inject}


def _chain(callbacks: Sequence[Callback]) -> Callback:
    """Return one callback that calls several in turn."""
    steps = _Steps(callbacks)
    return Callback(
        callbacks[0].name,
        steps if all(step.func is not None for step in callbacks) else None,
        steps.run if any(step.afunc is not None for step in callbacks) else None,
        inject=tuple(dict.fromkeys(name for step in callbacks for name in step.inject)),
        original=next((s.original for s in callbacks if graph_in(s.original)), callbacks[-1].original),
    )


def channel_program(
    nodes: Mapping[str, Any],
    channels: Mapping[str, Any],
    *,
    inputs: Names,
    outputs: Names,
    shown: Names | None,
    retry: tuple[RetryPolicy, ...],
    cache: CachePolicy | None,
    context_schema: Any,
) -> tuple[Program, Description]:
    """Make a program of nodes and the channels between them, and describe it.

    Raises:
        ValueError: somebody reads or triggers on a channel that is not there, or nobody takes the input.
        TypeError: what is no channel, or no node.
    """
    cells = {name: _channel(name, one) for name, one in channels.items() if not _is_managed(one)}
    managed = {name: one for name, one in channels.items() if _is_managed(one)}
    built = {name: _node(name, one, managed, retry, cache) for name, one in nodes.items()}
    given, answered = _tuple(inputs), _tuple(outputs)
    _check(built, cells, (*given, *answered, *_tuple(shown or ())))
    triggers = {trigger for node in built.values() for trigger in node.triggers}
    if triggers.isdisjoint(given):
        raise ValueError(
            f"no node subscribes to an input channel: input_channels={inputs!r}, nodes to {sorted(triggers)}"
        )
    program = Program(
        start=None,
        nodes=dict(built),
        channels={**cells, TASKS: Topic(Send, TASKS)},
        input_keys=_asked(inputs),
        output_keys=_asked(outputs),
        state_keys=tuple(cells) if shown is None else _asked(shown),
        managed=managed,
        schemas=(context_schema,),
    )
    return program, Description(
        state_schema=_schema("State", tuple(cells), cells),
        input_schema=_schema("Input", inputs, cells),
        output_schema=_schema("Output", outputs, cells),
        context_schema=context_schema,
        nodes={name: NodeSpec(node.callback, Any, metadata=node.metadata) for name, node in built.items()},
        edges=dict.fromkeys(_edges(built, given, answered)),
        channels=cells,
        managed=managed,
    )


def _tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _asked(names: Names) -> str | tuple[str, ...]:
    return names if isinstance(names, str) else tuple(names)


def _is_managed(given: Any) -> bool:
    return inspect.isclass(given) and issubclass(given, ManagedValue)


def _channel(name: str, given: Any) -> Channel:
    foreign = None if isinstance(given, Channel) else of_langgraph(given, getattr(given, "typ", Any))
    if foreign is None and not isinstance(given, Channel):
        raise TypeError(f"channel '{name}': {given!r} is none; give a LastValue, Topic or another one")
    if name.startswith("__"):
        raise ValueError(f"channel name '{name}' is reserved: give it one without leading underscores")
    channel: Channel = given.fresh() if foreign is None else foreign
    channel.key = name
    return channel


def _node(
    name: str,
    given: Any,
    managed: Mapping[str, Any],
    retry: tuple[RetryPolicy, ...],
    cache: CachePolicy | None,
) -> ChannelNode:
    node = given.build() if isinstance(given, NodeBuilder) else given
    if not isinstance(node, ChannelNode):
        raise TypeError(f"node '{name}': expected a NodeBuilder, got {type(given).__name__}")
    return replace(
        node,
        name=name,
        triggers=tuple(sorted(node.triggers)),
        keys=tuple(key for key in node.keys if key not in managed),
        managed={key: managed[key] for key in node.keys if key in managed},
        retry=node.retry or retry,
        cache=node.cache or cache,
    )


def _check(nodes: Mapping[str, ChannelNode], channels: Mapping[str, Channel], named: Iterable[str]) -> None:
    known = ", ".join(sorted(channels))
    for name, node in nodes.items():
        for channel in (*node.triggers, *node.keys):
            if channel not in channels:
                raise ValueError(
                    f"node '{name}' reads channel '{channel}', which is not there; known: {known}"
                )
    for channel in named:
        if channel not in channels:
            raise ValueError(
                f"channel '{channel}' is named for input, output or streams, and is not there; known: {known}"
            )


def _schema(name: str, names: Names, channels: Mapping[str, Channel]) -> Any:
    """Return the type of a channel's value, or of a mapping of several, none of which need be there."""
    if isinstance(names, str):
        return channels[names].typ
    return TypedDict(name, {key: channels[key].typ for key in names}, total=False)  # type: ignore[operator]


def _edges(
    nodes: Mapping[str, ChannelNode], inputs: Sequence[str], outputs: Sequence[str]
) -> Iterable[tuple[str, str]]:
    """Yield which node may follow which, as the channels between them say."""
    written = {START: set(inputs), **{n: {e.channel for e in node.entries} for n, node in nodes.items()}}
    for source, channels in written.items():
        yield from ((source, name) for name, node in nodes.items() if not channels.isdisjoint(node.triggers))
        if source != START and not channels.isdisjoint(outputs):
            yield source, END
