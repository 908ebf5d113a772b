"""What may be said about one run besides its input and config: LangGraph's keywords."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from typing_extensions import TypedDict

from otel_stream.config import ModesLike, parse_modes

from ..types import All, Durability


class RunOptions(TypedDict, total=False):
    """What a run is given.

    ``context``: what nodes find as ``runtime.context``. ``interrupt_before`` and ``interrupt_after`` name
    nodes to stop at, instead of those the graph was compiled with. ``durability``: when checkpoints are
    stored.
    ``control`` is a ``RunControl``, to stop it from outside.
    """

    context: Any
    interrupt_before: All | Sequence[str] | None
    interrupt_after: All | Sequence[str] | None
    durability: Durability | None
    control: Any


class Options(RunOptions, total=False):
    """What a run is given, and what its caller is shown of it.

    ``stream_mode`` is one mode or several. Parts of ``print_mode`` are printed where they come into being;
    ``debug`` prints updates and values. ``output_keys`` choose what of the state is shown. With ``subgraphs``
    the parts of subgraphs come, too, behind their namespace. ``version="v2"`` yields mappings of ``type``,
    ``ns`` and ``data``.
    """

    stream_mode: ModesLike | None
    print_mode: ModesLike
    output_keys: str | Sequence[str] | None
    subgraphs: bool
    debug: bool | None
    version: Literal["v1", "v2"]
    #: LangGraph's word for durability, which it has retired.
    checkpoint_during: bool | None


_DEFAULTS: Final[Mapping[str, Any]] = {
    "context": None,
    "stream_mode": None,
    "print_mode": (),
    "output_keys": None,
    "interrupt_before": None,
    "interrupt_after": None,
    "durability": None,
    "control": None,
    "subgraphs": False,
    "debug": None,
    "version": "v1",
}
#: What ``debug=True`` prints.
_DEBUG = ("updates", "values")


class Asked(NamedTuple):
    """The options of one run, each with its default."""

    context: Any = None
    interrupt_before: Any = None
    interrupt_after: Any = None
    durability: str | None = None
    control: Any = None
    output_keys: str | Sequence[str] | None = None
    #: Modes whose parts go to standard output, too.
    printed: Any = ()
    #: Show the whole state instead of the graph's output.
    whole: bool = False
    modes: Any = "updates"
    subgraphs: bool = False
    version: str = "v1"

    @classmethod
    def of(
        cls, given: RunOptions | Options, *, modes: str, whole: bool = False, debug: bool = False
    ) -> Asked:
        """Take what a caller has said; ``modes`` and ``debug`` hold where that is nothing.

        Raises:
            TypeError: a keyword that nothing is known by.
            ConfigError: a mode that does not exist.
            ValueError: both ``durability`` and what came before it.
        """
        if not given and not debug:
            return _unasked(modes, whole)
        for name in given:
            if name not in _DEFAULTS and name != "checkpoint_during":
                raise TypeError(f"{name!r} is no option of a run; known: {', '.join(_DEFAULTS)}")
        said: dict[str, Any] = {**_DEFAULTS, **given}
        chosen = modes if said["stream_mode"] is None else said["stream_mode"]
        parse_modes(chosen)
        debug = debug if said["debug"] is None else bool(said["debug"])
        return cls(
            said["context"],
            said["interrupt_before"],
            said["interrupt_after"],
            _durability(said["durability"], said.get("checkpoint_during")),
            said["control"],
            said["output_keys"],
            _DEBUG if debug and whole else said["print_mode"],
            whole,
            chosen,
            said["subgraphs"],
            said["version"],
        )


@cache
def _unasked(modes: str, whole: bool) -> Asked:
    return Asked(modes=modes, whole=whole)


def _durability(durability: Durability | None, during: bool | None) -> str | None:
    if during is None:
        return durability
    if durability is not None:
        raise ValueError(
            "Cannot use both `checkpoint_during` and `durability` parameters: "
            "the former is deprecated, drop it"
        )
    return "async" if during else "exit"


F = TypeVar("F", bound=Callable[..., Any])


def spelled_out(kind: type, **defaults: Any) -> Callable[[F], F]:
    """Let ``help`` and ``inspect`` show the keywords of ``kind`` where a function takes ``**options``."""

    def decorate(function: F) -> F:
        written = inspect.signature(function)
        kept = [one for one in written.parameters.values() if one.kind is not one.VAR_KEYWORD]
        known = {**_DEFAULTS, **defaults}
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=known[name])
            for name in _DEFAULTS
            if name in kind.__annotations__
        ]
        rest = inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)
        cast("Any", function).__signature__ = written.replace(parameters=[*kept, *added, rest])
        return function

    return decorate
