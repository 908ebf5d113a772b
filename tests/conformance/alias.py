"""Lets LangGraph's own tests import our engine under LangGraph's names.

Runs inside the process that runs those tests, never in ours. A finder in front of all others answers every
``import langgraph...``:

1. A module in ``KEPT`` stays LangGraph's own: constants, serializers and what is built *on* an engine. None
   of them runs a graph.
2. So do a few names of other modules, ``OWN``: helpers that we have no use for.
3. Every other module is a stand-in whose names are looked up in ``engine``: first among its flat public
   names, then in all its modules.
4. A name that the engine does not have is a placeholder: the test module can be imported, and a test that
   uses the name fails with a sentence that says which one it missed.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

#: What stays LangGraph's, with everything below it.
KEPT = (
    "langgraph._internal",
    "langgraph.checkpoint.postgres",
    "langgraph.checkpoint.serde",
    "langgraph.checkpoint.sqlite",
    "langgraph.pregel._checkpoint",
    "langgraph.prebuilt",
    "langgraph.store.postgres",
    "langgraph.stream",
    "langgraph.pregel._tools",
    "langgraph.stream",
    "langgraph.typing",
    "langgraph.utils",
    "langgraph.version",
    "langgraph.warnings",
)

#: Names that stay LangGraph's, of modules that do not: they only say or hold something.
OWN = frozenset(
    {
        ("langgraph.checkpoint.memory", "PersistentDict"),
        ("langgraph.errors", "create_error_message"),
    }
)

#: Where our engine says it with another word.
RENAMED: dict[tuple[str, str], str] = {
    ("langgraph.graph.message", "_messages_delta_reducer"): "add_message_writes",
}


TYPES = "langgraph.types"
#: What of it is found in checkpoints.
SERIALIZED = (
    "Command", "Interrupt", "Overwrite", "PregelTask", "Send", "StateSnapshot", "TimeoutPolicy"
)  # fmt: skip


class Missing(type):
    """The type of placeholders: they can be imported, annotated with and inherited from, but not used."""

    #: Until the tests are collected: what a module makes at its top must not keep its other tests away.
    collecting = True

    def __call__(cls, *args: object, **kwargs: object) -> Any:
        if Missing.collecting:
            return missing(f"{cls.__name__}()")
        raise NotImplementedError(f"the engine has no {cls.__name__}")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return missing(f"{cls.__name__}.{name}")

    def __getitem__(cls, _: object) -> Any:
        return cls

    def __or__(cls, _: object) -> Any:
        return Any

    __ror__ = __or__


def missing(name: str) -> Missing:
    return Missing(name, (), {})


def engine_modules(target: str) -> list[ModuleType]:
    root = importlib.import_module(target)
    found = pkgutil.walk_packages(root.__path__, f"{target}.")
    # The demo is a program; nodes elsewhere need Ray.
    names = [module.name for module in found if not {"demo", "remote"} & set(module.name.split("."))]
    return [root, *map(importlib.import_module, names)]


class StandIn(ModuleType):
    """A module of LangGraph's name with the engine's content."""

    def __init__(self, name: str, engine: list[ModuleType]) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if (self.__name__, name) in OWN:
            return getattr(own_module(self.__name__), name)
        if (self.__name__, name) in MADE:
            return MADE[self.__name__, name](self._engine[0])
        wanted = RENAMED.get((self.__name__, name), name)
        for module in self._engine:
            value = getattr(module, wanted, None)
            if value is not None and not isinstance(value, ModuleType):
                setattr(self, name, value)
                return value
        return missing(f"{self.__name__}.{name}")


def saver_with_factory(engine: ModuleType) -> type:
    """Return our saver for those who tell LangGraph's where to keep things: in memory, all the same."""

    class InMemorySaver(engine.InMemorySaver):
        def __init__(self, *, serde: object = None, factory: object = None) -> None:
            # Ours needs no serializer, but theirs always has one.
            json_plus = importlib.import_module("langgraph.checkpoint.serde.jsonplus")
            super().__init__(serde=serde or json_plus.JsonPlusSerializer())
            self.stack = ExitStack()

    return InMemorySaver


#: Where LangGraph's own form takes an argument that is about how it does things.
MADE: dict[tuple[str, str], Callable[[ModuleType], Any]] = {
    ("langgraph.checkpoint.memory", "InMemorySaver"): cache(saver_with_factory),
    ("langgraph.checkpoint.memory", "MemorySaver"): cache(saver_with_factory),
}


@cache
def own_module(name: str) -> ModuleType:
    """Return LangGraph's own module beside its stand-in; what it imports itself is answered as ever."""
    finder = next(finder for finder in sys.meta_path if isinstance(finder, EngineFinder))
    spec = finder.own_spec(name)
    assert spec is not None, name
    assert spec.loader is not None, name
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class EngineFinder(MetaPathFinder, Loader):
    def __init__(self, target: str) -> None:
        own = PathFinder.find_spec("langgraph")
        if own is None or own.submodule_search_locations is None:
            raise RuntimeError("LangGraph is not installed: its tests need what alias.KEPT names of it")
        self._folders = [Path(folder) for folder in own.submodule_search_locations]
        self._engine = engine_modules(target)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "langgraph":
            return None
        return self.own_spec(fullname) if is_kept(fullname) else ModuleSpec(fullname, self, is_package=True)

    def own_spec(self, fullname: str) -> ModuleSpec | None:
        """Return where LangGraph's own module is."""
        between = fullname.split(".")[1:-1]
        return PathFinder.find_spec(fullname, [str(folder.joinpath(*between)) for folder in self._folders])

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name, self._engine)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: names are found when they are asked for."""


def is_kept(module: str) -> bool:
    """Whether a module of LangGraph stays its own."""
    return any(module == kept or module.startswith(f"{kept}.") for kept in KEPT)


def lacking(target: str, names: Iterable[tuple[str, str]]) -> list[str]:
    """Of ``names``, pairs of a module of LangGraph and a name in it, those that ``target`` does not have."""
    engine = engine_modules(target)
    wanted = sorted({(module, name) for module, name in names if not is_kept(module)})
    return [
        f"{module}.{name}"
        for module, name in wanted
        if isinstance(getattr(StandIn(module, engine), name), Missing)
    ]


def install(target: str) -> None:
    """Answer imports of langgraph with the package ``target`` from now on; twice is once."""
    if target == "langgraph" or any(isinstance(finder, EngineFinder) for finder in sys.meta_path):
        return
    loaded = [name for name in sys.modules if name.partition(".")[0] == "langgraph"]
    if loaded:
        raise RuntimeError(f"LangGraph is loaded already ({loaded[0]}): its tests would not test {target}")
    finder = EngineFinder(target)
    sys.meta_path.insert(0, finder)
    for name in SERIALIZED:
        # LangGraph's serializers write where a class says it is, and read nothing from elsewhere.
        getattr(finder.create_module(ModuleSpec(TYPES, finder)), name).__module__ = TYPES
