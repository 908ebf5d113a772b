"""What a run was asked for, checked: one sentence names the option, the value and the remedy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from otel_stream.cli.share import Share
from otel_stream.config import ConfigError, OverflowName, OverflowPolicy, StreamConfig, parse_modes


class UsageError(ValueError):
    """The command line makes no sense; the text is one sentence with a remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run that is shown: ``telemetry`` is a file, "" for what the environment says.

    Raises:
        UsageError: one of them cannot be used.
    """

    json: bool = False
    modes: str = "values"
    buffer: int = 1024
    overflow: str = OverflowPolicy.BLOCK.value
    sample: float = 1.0
    telemetry: str = ""
    #: What the receiver is called.
    name: ClassVar[str] = "run"

    def __post_init__(self) -> None:
        _share("--sample", self.sample, "the share of parts that is kept")
        _at_least("--buffer", self.buffer, 1, "the parts that may wait for the consumer")
        self.stream_config()

    def stream_config(self) -> StreamConfig:
        """Return what the options ask of the stream.

        Raises:
            UsageError: a mode or policy is unknown.
        """
        names = [name.strip() for name in self.modes.split(",") if name.strip()]
        try:
            return StreamConfig(
                modes=parse_modes(names, "--modes"),
                buffer_size=self.buffer,
                overflow=cast("OverflowName", self.overflow),  # or whatever it is, which the config says
                sampler=Share(self.sample) if self.sample < 1 else None,
                subgraphs=True,
                name=self.name,
            )
        except ConfigError as error:
            raise UsageError(str(error).replace("StreamConfig.overflow:", "--overflow:")) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions(RunOptions):
    """The options of ``otel-stream demo``.

    Raises:
        UsageError: one of them cannot be used.
    """

    path: str | None = None
    chaos: float = 0.0
    seed: int = 0
    budget: int = 5
    limit: int = 300
    telemetry: str = "otel-stream-demo.otlp.jsonl"
    name: ClassVar[str] = "demo"

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)  # a dataclass with slots has no super() of its own
        _share("--chaos", self.chaos, "the share of attempts that fail")
        _at_least("--budget", self.budget, 0, "the functions to inspect more closely")
        _at_least("--limit", self.limit, 1, "the files to audit")


def _share(option: str, value: float, meaning: str) -> None:
    if math.isnan(value) or not 0 <= value <= 1:
        raise UsageError(f"{option}: {value:g} is not between 0 and 1; give {meaning}, such as 0.2")


def _at_least(option: str, value: int, least: int, meaning: str) -> None:
    if value < least:
        raise UsageError(f"{option}: {value} is too small; give {meaning}, {least} or more")
