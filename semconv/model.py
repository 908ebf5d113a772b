"""The registry's YAML as types: the part of OpenTelemetry Weaver's form that we use, and strictly that.

``registry/*.yaml`` holds groups; an attribute is defined once, in a ``registry.*`` group, and referred
to everywhere else. What Weaver has no field for is in ``annotations.otel_stream``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*([._][a-z0-9]+)*$")]
Brief = Annotated[str, StringConstraints(pattern=r"^[A-Z`].*[.]$")]
Stability = Literal["development", "alpha", "beta", "release_candidate", "stable"]
Primitive = Literal[
    "string",
    "int",
    "double",
    "boolean",
    "string[]",
    "int[]",
    "double[]",
    "boolean[]",
    "number",
    "any",
    "template[string]",
]
Severity = Literal["DEBUG", "INFO", "WARN", "ERROR"]

#: What a value of each type is in Python; SDKs hand sequences out as tuples.
PYTHON: dict[str, type] = {"string": str, "int": int, "double": float, "boolean": bool}
#: Types that conventions have changed, and values of any form.
OF_SEVERAL: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "any": (str, list, tuple, dict),
    "template[string]": (str, int, float, bool),
}


class Form(BaseModel):
    """A mapping of the YAML: an unknown field is a typing error, not an extension."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Member(Form):
    """One value of an enumeration."""

    id: Name
    value: str
    brief: Brief
    stability: Stability


class Members(Form):
    """An enumeration; its values are strings."""

    members: tuple[Member, ...] = Field(min_length=1, strict=False)


class Boundaries(Form):
    """Bucket boundaries of a histogram, in its unit; ``name`` is that of the shared constant."""

    name: Name
    why: Brief
    values: tuple[float, ...] = Field(min_length=2, strict=False)

    @model_validator(mode="after")
    def _ascend(self) -> Boundaries:
        if list(self.values) != sorted(set(self.values)):
            raise ValueError(f"the boundaries {self.name!r} do not ascend")
        return self


class Ours(Form):
    """What Weaver has no field for."""

    #: Which side of the change of GenAI names it is on; both, if absent.
    genai: Literal["before", "since"] | None = None
    #: Name of the constant, where it does not follow from the name.
    constant: str | None = None
    span_name: str | None = None
    #: Of a span: its kind in GenAI conventions since 0.1.0, if that is another one.
    kind_since: Literal["internal", "client"] | None = None
    #: The severities that a log event may have, the usual one first.
    severity: tuple[Severity, ...] = Field(default=(), strict=False)
    #: The built-in mode whose parts become this event.
    stream_mode: str | None = None
    #: Only ever an event of a span, never a log event.
    span_event_only: bool = False
    boundaries: Boundaries | None = None
    #: Of an enumeration: programs add values of their own, a few.
    open: bool = False
    #: Of a link: the group of the spans that have it, and its ``graph.link.kind``.
    link_of: Name | None = None
    kind: str | None = None


class Annotations(Form):
    """Weaver passes annotations through; ours are the only ones."""

    otel_stream: Ours = Ours()


class Attribute(Form):
    """The definition of an attribute."""

    id: Name
    type: Primitive | Members
    brief: Brief
    note: str = ""
    stability: Stability
    examples: tuple[Any, ...] = Field(default=(), strict=False)
    annotations: Annotations = Annotations()

    @property
    def ours(self) -> Ours:
        """Our own annotations."""
        return self.annotations.otel_stream

    @property
    def type_name(self) -> str:
        """The type as OpenTelemetry writes it; an enumeration is one of strings."""
        return "string" if isinstance(self.type, Members) else self.type

    @property
    def values(self) -> tuple[str, ...]:
        """The values of an enumeration, ``()`` if it is none."""
        return tuple(m.value for m in self.type.members) if isinstance(self.type, Members) else ()

    def accepts(self, value: object) -> bool:
        """Tell whether ``value`` has the attribute's type, exactly: an int is no double."""
        if self.values and not self.ours.open:
            return value in self.values
        if self.type_name in OF_SEVERAL:
            return type(value) in OF_SEVERAL[self.type_name]
        element = PYTHON[self.type_name.removesuffix("[]")]
        if self.type_name.endswith("[]"):
            return isinstance(value, list | tuple) and all(type(one) is element for one in value)
        return type(value) is element

    @model_validator(mode="after")
    def _examples_fit(self) -> Attribute:
        if not self.examples and not self.values and self.type != "boolean":
            raise ValueError(f"{self.id} has no example")
        wrong = [one for one in self.examples if not self.accepts(one)]
        if wrong:
            raise ValueError(f"{self.id} is of type {self.type_name}, not what the examples {wrong!r} are")
        return self


class Conditionally(Form):
    """Required in one case, which is said."""

    conditionally_required: Brief


class Recommended(Form):
    """Recommended in one case, which is said."""

    recommended: Brief


class Ref(Form):
    """A signal's use of an attribute."""

    ref: Name
    requirement_level: Literal["required", "recommended", "opt_in"] | Conditionally | Recommended = (
        "recommended"
    )
    brief: Brief | None = None
    sampling_relevant: bool = False
    annotations: Annotations = Annotations()

    @property
    def level(self) -> str:
        """The level without its condition."""
        level = self.requirement_level
        return level if isinstance(level, str) else next(iter(type(level).model_fields))

    @property
    def condition(self) -> str:
        """When it is required, or recommended; empty if always."""
        level = self.requirement_level
        return "" if isinstance(level, str) else next(iter(level.model_dump().values()))


class Group(Form):
    """What all groups have."""

    id: Name
    brief: Brief
    note: str = ""
    extends: Name | None = None
    annotations: Annotations = Annotations()

    @property
    def ours(self) -> Ours:
        """Our own annotations."""
        return self.annotations.otel_stream


class AttributeGroup(Group):
    """Definitions (``registry.*``), attributes that several signals share, or those of a link."""

    type: Literal["attribute_group"]
    attributes: tuple[Attribute | Ref, ...] = Field(default=(), strict=False)


class SpanGroup(Group):
    """A kind of span."""

    type: Literal["span"]
    span_kind: Literal["internal", "client", "server", "producer", "consumer"]
    stability: Stability
    attributes: tuple[Ref, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _is_named(self) -> SpanGroup:
        if self.ours.span_name is None:
            raise ValueError(f"{self.id} needs annotations.otel_stream.span_name")
        return self


class Body(Form):
    """The body of a log event: one string."""

    id: Literal["body"]
    type: Literal["string"]
    brief: Brief
    stability: Stability
    requirement_level: Literal["required"]
    examples: tuple[str, ...] = Field(min_length=1, strict=False)


class EventGroup(Group):
    """A log event, or a span event."""

    type: Literal["event"]
    name: Name
    stability: Stability
    body: Body | None = None
    attributes: tuple[Ref, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _has_a_severity(self) -> EventGroup:
        if not self.ours.severity:
            raise ValueError(f"{self.id} needs annotations.otel_stream.severity")
        return self


class MetricGroup(Group):
    """A metric."""

    type: Literal["metric"]
    metric_name: Name
    instrument: Literal["counter", "updowncounter", "histogram", "gauge"]
    unit: Annotated[str, StringConstraints(pattern=r"^(s|By|1|\{[a-z_]+\})$")]
    stability: Stability
    attributes: tuple[Ref, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _has_buckets_if_any(self) -> MetricGroup:
        if (self.instrument == "histogram") != (self.ours.boundaries is not None):
            raise ValueError(f"{self.id} is a {self.instrument}: histograms, and only they, have boundaries")
        return self


AnyGroup = Annotated[
    AttributeGroup | SpanGroup | EventGroup | MetricGroup,
    Field(discriminator="type"),
]


class File(Form):
    """One file of the registry."""

    groups: tuple[AnyGroup, ...] = Field(strict=False)


class Manifest(Form):
    """``manifest.yaml``: what the registry is."""

    name: Name
    description: Brief
    schema_url: Annotated[str, StringConstraints(pattern=r"^https://.+/\d+\.\d+\.\d+$")]
    stability: Stability
