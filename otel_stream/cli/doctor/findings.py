"""What a check found: one sentence that says what it means, one that says what to change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

#: ``ok``; ``stop``: nothing gets past here; ``note``: worth knowing; ``skipped``: not checked.
State = Literal["ok", "stop", "note", "skipped"]


class Verdict(msgspec.Struct, frozen=True):
    """The outcome of one check; ``means`` and ``change`` are whole sentences, or empty if all is well."""

    state: State
    tried: str
    seen: str
    means: str = ""
    change: str = ""

    @property
    def message(self) -> str:
        """Return what it means and what to change."""
        return f"{self.means} {self.change}".strip()


class Finding(msgspec.Struct, frozen=True):
    """A verdict, the check that came to it, and the signals that it is about."""

    check: str
    signals: tuple[str, ...]
    verdict: Verdict


class SignalReport(msgspec.Struct):
    """What became of one signal; counts are spans, log events or metric points."""

    endpoint: str = ""
    exported: int = 0
    lost: int = 0
    #: Backends that have all of it.
    found_in: list[str] = []
    #: The check that it did not get past.
    stopped_at: str = ""
    arrived: bool = False


class Report:
    """Findings in the order in which they were made, and what became of each signal."""

    def __init__(self, signals: Iterable[str]) -> None:
        self.findings: list[Finding] = []
        self.signals = {signal: SignalReport() for signal in signals}
        self.trace_id = ""
        self.run_id = ""

    def add(self, check: str, signals: Iterable[str], verdict: Verdict) -> None:
        """Take note of a verdict; a stop stands for its signals, the first one by name."""
        finding = Finding(check, tuple(signals), verdict)
        self.findings.append(finding)
        if verdict.state == "stop":
            for signal in finding.signals:
                self.signals[signal].stopped_at = self.signals[signal].stopped_at or check

    def going(self) -> list[str]:
        """Return the signals that nothing has stopped so far."""
        return [name for name, signal in self.signals.items() if not signal.stopped_at]

    @property
    def arrived(self) -> bool:
        """Tell whether every signal arrived."""
        return all(signal.arrived for signal in self.signals.values())

    def to_json(self) -> bytes:
        """Return all of it as one JSON object."""
        findings = [
            {"check": one.check, "signals": one.signals, **msgspec.structs.asdict(one.verdict)}
            for one in self.findings
        ]
        whole = {
            "arrived": self.arrived,
            "trace_id": self.trace_id,
            "run_id": self.run_id,
            "signals": self.signals,
            "findings": findings,
        }
        return msgspec.json.encode(whole)
