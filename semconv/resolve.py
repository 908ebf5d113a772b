"""The registry as a whole: every reference resolved, every rule that spans files checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import yaml

from semconv.model import (
    AnyGroup,
    Attribute,
    AttributeGroup,
    EventGroup,
    File,
    Manifest,
    MetricGroup,
    Ref,
    SpanGroup,
)

FOLDER: Final = Path(__file__).parent / "registry"

#: The files in reading order; a file that is not named here comes after them.
_ORDER: Final = (
    "general",
    "gen_ai",
    "calls",
    "run",
    "superstep",
    "node",
    "checkpoint",
    "part",
    "log",
    "receiver",
    "export",
    "tail",
)

#: What a metric may have besides enumerations: as many values as a program has graphs, nodes, models, tools,
#: modes of its own and classes of exceptions. Ids, threads, tags and receivers grow with use, so they are
#: refused.
_BOUNDED: Final = frozenset(
    {
        "error.type",
        "gen_ai.agent.name",
        "gen_ai.node.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.tool.name",
        "gen_ai.workflow.name",
        "openai.response.service_tier",
        "graph.edge.from",
        "graph.edge.to",
        "graph.name",
        "graph.stream.mode",
        "server.address",
        "server.port",
    }
)

#: A name that is also the namespace of others, which OpenTelemetry advises against; it was first.
_ALSO_NAMESPACES: Final = frozenset({"graph.superstep"})


@dataclass(frozen=True)
class Use:
    """An attribute as one signal uses it."""

    attribute: Attribute
    ref: Ref

    @property
    def is_template(self) -> bool:
        """Whether it stands for all names that begin with its own."""
        return self.attribute.type_name == "template[string]"

    @property
    def side(self) -> str | None:
        """Which side of the change of GenAI names it is on; None if both."""
        return self.ref.annotations.otel_stream.genai or self.attribute.ours.genai


G = TypeVar("G", bound=AnyGroup)


@dataclass(frozen=True)
class Signal(Generic[G]):
    """A span, an event, a metric or a link with all its attributes, inherited ones first, by name."""

    group: G
    uses: dict[str, Use]


class RegistryError(Exception):
    """The registry contradicts itself."""


class Registry:
    """All groups of a folder.

    Raises:
        RegistryError: what one file says does not fit what another one says.
        pydantic.ValidationError: a file is not in Weaver's form, or not in the part of it used here.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.manifest = Manifest.model_validate(yaml.safe_load((folder / "manifest.yaml").read_text()))
        #: By file; theirs is the order of everything that is generated.
        self.files: dict[str, tuple[AnyGroup, ...]] = {
            path.stem: File.model_validate(yaml.safe_load(path.read_text())).groups
            for path in sorted(folder.glob("*.yaml"), key=_place)
            if path.name != "manifest.yaml"
        }
        groups = [group for file in self.files.values() for group in file]
        self.groups = _by("group", ((group.id, group) for group in groups))
        self.attributes = _by("attribute", ((a.id, a) for group in groups for a in _defined(group)))
        self.spans = {
            group.id: Signal(group, self.uses(group)) for group in groups if isinstance(group, SpanGroup)
        }
        self.events = {
            s.group.name: s
            for s in (Signal(group, self.uses(group)) for group in groups if isinstance(group, EventGroup))
        }
        self.metrics = {
            s.group.metric_name: s
            for s in (Signal(group, self.uses(group)) for group in groups if isinstance(group, MetricGroup))
        }
        #: By ``graph.link.kind``.
        self.links = {
            group.ours.kind: Signal(group, self.uses(group))
            for group in groups
            if isinstance(group, AttributeGroup) and group.ours.kind is not None
        }
        self._check(groups)

    def signals(self) -> Iterator[Signal[Any]]:
        """Give every span, event, metric and link."""
        for table in (self.spans, self.events, self.metrics, self.links):
            yield from table.values()

    def uses(self, group: AnyGroup, *, inherited: bool = True) -> dict[str, Use]:
        """Return the attributes of ``group`` by name, with or without those of the groups it extends."""
        found: dict[str, Use] = {}
        if inherited and group.extends is not None:
            parent = self.groups.get(group.extends)
            if parent is None:
                raise RegistryError(f"{group.id} extends {group.extends}, which is not in the registry")
            found = self.uses(parent)
        for ref in group.attributes:
            if isinstance(ref, Ref):
                attribute = self.attributes.get(ref.ref)
                if attribute is None:
                    raise RegistryError(f"{group.id} refers to {ref.ref}, which no registry group defines")
                found[ref.ref] = Use(attribute, ref)
        return found

    def _check(self, groups: list[AnyGroup]) -> None:
        for kind, named in (("event", EventGroup), ("metric", MetricGroup)):
            _by(kind, ((getattr(g, _NAME_FIELD[kind]), g) for g in groups if isinstance(g, named)))
        for group in groups:
            is_home = group.id.startswith("registry.")
            if any(isinstance(a, Ref) is is_home for a in group.attributes):
                raise RegistryError(f"{group.id}: attributes are defined in registry.* groups and only there")
            span = group.ours.link_of
            if span is not None and span not in self.spans:
                raise RegistryError(f"{group.id} is a link of {span}, which is no span")
        for name, metric in self.metrics.items():
            grown = [use for use in metric.uses.values() if not use.attribute.values]
            if unbounded := sorted({use.attribute.id for use in grown} - _BOUNDED):
                raise RegistryError(f"{name} has {', '.join(unbounded)}, which has no bound")
        used = {name for signal in self.signals() for name in signal.uses}
        if unused := sorted(set(self.attributes) - used):
            raise RegistryError(f"no signal has {', '.join(unused)}: remove it, or say what has it")
        names = {part for name in self.attributes for part in _namespaces(name)} & set(self.attributes)
        if names - _ALSO_NAMESPACES:
            raise RegistryError(
                f"{', '.join(sorted(names - _ALSO_NAMESPACES))} is a namespace of others, too"
            )


def _place(path: Path) -> tuple[int, str]:
    return (_ORDER.index(path.stem) if path.stem in _ORDER else len(_ORDER), path.stem)


_NAME_FIELD: Final = {"event": "name", "metric": "metric_name"}


def _defined(group: AnyGroup) -> Iterator[Attribute]:
    return (one for one in group.attributes if isinstance(one, Attribute))


def _namespaces(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:n]) for n in range(1, len(parts)))


def _by(kind: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found = list(pairs)
    twice = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
    if twice:
        raise RegistryError(f"the {kind} {', '.join(twice)} is defined more than once")
    return dict(found)
