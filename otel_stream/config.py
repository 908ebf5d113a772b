"""What a user may ask of a stream: ``StreamConfig``, and one clear sentence when it is wrong.

A leaf: it knows the names of the modes, not what they contain, and nothing of buffers or events.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from enum import StrEnum
from inspect import Parameter, Signature, isasyncgenfunction, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, get_args

SamplePer = Literal["part", "run"]
#: The names of the overflow policies, as they are written.
OverflowName = Literal["block", "drop_oldest", "drop_newest", "coalesce", "error"]
StreamMode = Literal["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug", "tools"]

#: The modes, in the order of the documentation.
MODES: tuple[StreamMode, ...] = get_args(StreamMode)

#: Parts that are no mode's: where parts were lost, and how the run ended.
RESERVED = ("gap", "end")


class ConfigError(ValueError):
    """A setting that can't be used: one sentence that names the field, the value and the remedy."""


class OverflowPolicy(StrEnum):
    """What happens to a part when its receiver's buffer is full."""

    #: Nothing is lost: the run waits at its next superstep boundary until there is room. Until then
    #: the buffer holds more than its size, at most by what one superstep emits.
    BLOCK = "block"
    #: The oldest held part goes: a consumer that falls behind sees the newest ``buffer_size`` parts.
    DROP_OLDEST = "drop_oldest"
    #: The new part goes: a consumer that falls behind sees the beginning of what it missed.
    DROP_NEWEST = "drop_newest"
    #: The new part takes the place of the held one with the same mode, namespace, node and message
    #: id, and chunks of one message are joined. Without such a part the oldest goes.
    COALESCE = "coalesce"
    #: The receiver fails with ``ReceiverOverflowError`` once its consumer has had what is held.
    ERROR = "error"


@dataclass(frozen=True, slots=True, eq=False)
class Custom:
    """A mode of the user's own: ``fn(event)`` returns the data of a part, or None for no part.

    Two that were made alike are two modes.

    ``name`` becomes the ``type`` of the parts. ``events`` narrows what ``fn`` is called with (types
    from ``otel_stream.events``); without it, every event of the run is built for this mode.

    Raises:
        ConfigError: ``fn`` is not callable, or ``name`` is empty or already means something.
    """

    fn: Callable[[Any], Any]
    name: str
    events: tuple[type, ...] = ()

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ConfigError(f"Custom.fn: {self.fn!r} is not callable; give a function of one event")
        refuse_unusable("Custom.fn", self.fn, "an event")
        name: Any = self.name
        if not isinstance(name, str) or not name:
            raise ConfigError(f"Custom.name: {name!r} is no name; give a non-empty string")
        if name in (*MODES, *RESERVED):
            raise ConfigError(f"Custom.name: {name!r} already means something; choose another name")


def refuse_async(field: str, given: Any) -> None:
    """Refuse what is called for every part, and so can't be awaited.

    Raises:
        ConfigError: ``given`` is an async function, or an object that is called like one.
    """
    for code in (given, getattr(type(given), "__call__", None)):  # noqa: B004 - it is looked at, not for
        if iscoroutinefunction(code) or isasyncgenfunction(code):
            raise ConfigError(f"{field}: {given!r} is async, and nothing awaits it; give a plain function")


def refuse_unusable(field: str, given: Any, what: str) -> None:
    """Refuse what can't be called with one ``what``, or would have to be awaited.

    Raises:
        ConfigError: ``given`` takes another number of arguments, or is async; what does not say is believed.
    """
    refuse_async(field, given)
    try:
        taken = signature(given)
    except (TypeError, ValueError):  # builtins
        return
    try:
        taken.bind(None)
    except TypeError:
        raise ConfigError(
            f"{field}: {given!r} can't be called with {what} alone; give a function of one argument"
        ) from None


class _Accepts(Protocol):
    def accept(self, part: Any, /) -> bool: ...


#: What ``StreamConfig.filter`` takes: a ``StreamFilter``, or any predicate of a stream part.
FilterLike: TypeAlias = _Accepts | Callable[[Any], bool]


class AggregateLike(Protocol):
    """What ``StreamConfig.aggregate`` takes: an ``otel_stream.Aggregate``."""

    @property
    def every(self) -> Any:
        """Parts (a whole number), seconds, or ``"superstep"``."""


#: What ``StreamConfig.modes`` and ``stream_mode=`` take.
ModesLike: TypeAlias = (
    "StreamMode | Custom | Sequence[StreamMode | Custom] | AbstractSet[StreamMode | Custom]"
)


def parse_modes(modes: Any, field: str = "stream_mode") -> tuple[StreamMode | Custom, ...]:
    """Return ``modes`` as a tuple without duplicates, in the order given (a set: in ours).

    Raises:
        ConfigError: no mode at all, or something that is not one; ``field`` is what it blames.
    """
    if isinstance(modes, str | Custom):
        modes = (modes,)
    elif isinstance(modes, AbstractSet):
        modes = sorted(modes, key=_position)
    elif not isinstance(modes, list | tuple):
        raise ConfigError(f"{field}: {modes!r} is no stream mode; give one of {_known()}, or a list of them")
    for mode in modes:
        if not isinstance(mode, Custom) and mode not in MODES:
            raise ConfigError(f"{field}: unknown stream mode {mode!r}{_remedy(mode)}")
    if not modes:
        raise ConfigError(f"{field}: no stream mode is given; give at least one of {_known()}")
    return tuple(dict.fromkeys(modes))


@dataclass(frozen=True, init=False)
class StreamConfig:
    """What one receiver gets, and how much of it may wait for its consumer.

    Settings are given by name; ``dataclasses.replace`` makes a config that differs in some of them.

    Settings:
        ``modes``: one mode or several; each part says which one it is of.
        ``buffer_size``: parts that may wait for the consumer before ``overflow``, a policy, decides.
        ``include_metadata``: False leaves only ``type``, ``ns``, ``data`` and ``interrupts`` in a part.
        ``filter``: parts it refuses are counted as filtered. It sees the metadata in any case.
        ``sampler``: an OpenTelemetry ``Sampler``. Errors, interrupts and ends always pass.
        ``sample_per``: what it is asked about: each ``"part"``, under an id made of the run's id and ``seq``;
        or each ``"run"``, under the id of its trace, so that all parts of a run share the trace's fate.
        ``aggregate``: an ``Aggregate``, or a mapping of modes to one each: many parts become one.
        ``ttl``: seconds after which a part that nobody took is dropped; None: never.
        ``subgraphs``: True: parts of subgraphs too, told apart by ``ns``.
        ``include_end``: True: the last part of every run has type ``"end"`` and says how it ended.
        ``name``: what messages and metrics call the receiver.

    Raises:
        ConfigError: a setting is unknown or its value can't be used.
    """

    modes: tuple[StreamMode | Custom, ...] = ("updates",)
    buffer_size: int = 1024
    include_metadata: bool = True
    overflow: OverflowPolicy = OverflowPolicy.BLOCK
    filter: Any = None
    sampler: Any = None
    sample_per: SamplePer = "part"
    aggregate: Any = None
    ttl: float | None = None
    subgraphs: bool = False
    include_end: bool = False
    name: str | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            modes: ModesLike = "updates",
            buffer_size: int = 1024,
            include_metadata: bool = True,
            overflow: OverflowPolicy | OverflowName = OverflowPolicy.BLOCK,
            filter: FilterLike | None = None,
            sampler: Any = None,
            sample_per: SamplePer = "part",
            aggregate: AggregateLike | Mapping[str, AggregateLike] | None = None,
            ttl: float | None = None,
            subgraphs: bool = False,
            include_end: bool = False,
            name: str | None = None,
        ) -> None: ...

    else:

        def __init__(self, **settings: Any) -> None:
            own = vars(self)
            own["_given"] = frozenset(settings)
            for name, default in _DEFAULTS.items():
                value = settings.pop(name, default)
                own[name] = value if value is default else _checked(name, value, own)
            for name in settings:
                raise ConfigError(
                    f"StreamConfig.{name}: no such setting{_near(name, _DEFAULTS)} "
                    f"Settings: {', '.join(_DEFAULTS)}"
                )

    def gives(self, setting: str) -> bool:
        """Return whether ``setting`` was given, be it as what it is if it is not."""
        given: frozenset[str] = vars(self)["_given"]
        return setting in given


#: The settings in the order in which they are checked, each with what it is if it is not given.
_DEFAULTS: Final[dict[str, Any]] = {field.name: field.default for field in fields(StreamConfig)}

StreamConfig.__signature__ = Signature(  # type: ignore[attr-defined] # what help() shows
    [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=field.type,
        )
        for field in fields(StreamConfig)
    ]
)


def as_config(given: Any) -> StreamConfig:
    """Return ``given``, which should be a ``StreamConfig``.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(given, StreamConfig):
        return given
    if isinstance(given, Mapping):
        settings = all(name in _SETTINGS for name in given)
        remedy = f"StreamConfig({', '.join(f'{name}=...' for name in given)})" if settings else "config=..."
    elif isinstance(given, str | Custom):
        modes = given in MODES or isinstance(given, Custom)
        remedy = f"StreamConfig(modes={given!r})" if modes else "StreamConfig(modes=...)"
    else:
        several = isinstance(given, Iterable)
        remedy = "each StreamConfig as an argument of its own" if several else "StreamConfig(modes=...)"
    raise ConfigError(f"stream: {given!r} is no StreamConfig; give {remedy}")


_SETTINGS = frozenset(field.name for field in fields(StreamConfig))


def as_configs(given: Any) -> tuple[StreamConfig, ...]:
    """Return one config, or an iterable of them, as a tuple.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(given, StreamConfig | str | Mapping | Custom) or not isinstance(given, Iterable):
        return (as_config(given),)
    return tuple(as_config(one) for one in given)


def _checked(name: str, value: Any, before: Mapping[str, Any]) -> Any:
    """Return what ``value`` means as the setting ``name``, which may depend on those ``before`` it."""
    if name == "aggregate":
        return _aggregate(value, before["modes"], before["buffer_size"])
    check = _CHECKS.get(name)
    return _flag(value, name) if check is None else check(value)


def _modes(value: Any) -> tuple[StreamMode | Custom, ...]:
    return parse_modes(value, "StreamConfig.modes")


def _buffer_size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"StreamConfig.buffer_size: {value!r} is no size; give a whole number, 1 or more")
    return value


def _overflow(value: Any) -> OverflowPolicy:
    policies = [policy.value for policy in OverflowPolicy]
    if not isinstance(value, str) or value not in policies:
        near = _near(value, policies)
        raise ConfigError(
            f"StreamConfig.overflow: unknown overflow policy {value!r}{near} "
            f"Known policies: {', '.join(policies)}"
        )
    return OverflowPolicy(value)


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"StreamConfig.{name}: {value!r} is neither True nor False; give one")
    return value


def _filter(value: Any) -> Any:
    accept = getattr(value, "accept", value)
    if value is None or callable(accept):
        if accept is not None:
            refuse_unusable("StreamConfig.filter", accept, "a part")
        return value
    raise ConfigError(
        f"StreamConfig.filter: {value!r} can't filter; give a StreamFilter or a function of one part"
    )


def _sampler(value: Any) -> Any:
    decide = getattr(value, "should_sample", None)
    if value is None or callable(decide):
        refuse_async("StreamConfig.sampler", decide)
        return value
    raise ConfigError(
        f"StreamConfig.sampler: {value!r} has no should_sample method; give an OpenTelemetry Sampler"
    )


def _sample_per(value: Any) -> Any:
    if value in ("part", "run"):
        return value
    raise ConfigError(f"StreamConfig.sample_per: {value!r} can't be sampled; give 'part' or 'run'")


def _aggregate(value: Any, modes: tuple[StreamMode | Custom, ...], size: int) -> Any:
    if value is None:
        return None
    names = [mode.name if isinstance(mode, Custom) else mode for mode in modes]
    for mode, one in value.items() if isinstance(value, Mapping) else ((None, value),):
        if mode is not None and mode not in names:
            raise ConfigError(
                f"StreamConfig.aggregate: {mode!r} is none of the receiver's modes; "
                f"choose from: {', '.join(names)}"
            )
        if not hasattr(one, "every"):
            raise ConfigError(
                f"StreamConfig.aggregate: {one!r} can't aggregate; give an Aggregate, or one per mode"
            )
        if isinstance(one.every, int) and one.every > size:
            raise ConfigError(
                f"StreamConfig.aggregate: {one.every} parts are more than buffer_size ({size}), which "
                "bounds open windows, too; raise buffer_size, or aggregate fewer"
            )
    return dict(value) if isinstance(value, Mapping) else value


def _ttl(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(
            f"StreamConfig.ttl: {value!r} is no time to live; give seconds, more than 0, or leave it out"
        )
    return float(value)


def _name(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ConfigError(f"StreamConfig.name: {value!r} is no name; give a non-empty string, or leave it out")


#: Those that stand for themselves; the other settings are flags, but for ``aggregate``.
_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "modes": _modes,
    "buffer_size": _buffer_size,
    "overflow": _overflow,
    "filter": _filter,
    "sampler": _sampler,
    "sample_per": _sample_per,
    "ttl": _ttl,
    "name": _name,
}


def _known() -> str:
    return ", ".join(MODES)


def _remedy(mode: Any) -> str:
    return f"{_near(mode, MODES)} Known modes: {_known()}"


def _near(word: Any, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5) if isinstance(word, str) else []
    return f"; did you mean {close[0]!r}?" if close else "."


def _position(mode: Any) -> tuple[int, str]:
    known = isinstance(mode, str) and mode in MODES
    return (MODES.index(mode), "") if known else (len(MODES), getattr(mode, "name", repr(mode)))
