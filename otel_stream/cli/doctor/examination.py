"""The order of the checks: each goes on with the signals that the ones before let pass."""

from __future__ import annotations

import os
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from otel_stream.cli.doctor import following, reaching, sending, surroundings
from otel_stream.cli.doctor.answers import explain
from otel_stream.cli.doctor.asking import Answer, ask, harmless
from otel_stream.cli.doctor.findings import Report, Verdict
from otel_stream.cli.doctor.targets import Target, target
from otel_stream.cli.notices import Notices
from otel_stream.cli.options import UsageError

if TYPE_CHECKING:
    from otel_stream.sdk.configure.destinations import Destination, Signal

SIGNALS: Final = ("traces", "logs", "metrics")

#: Seconds for one step on the way to an endpoint.
PATIENCE: Final = 5.0
#: Seconds for the export of the run.
_EXPORT: Final = 10.0

Say = Callable[[str], None]
Step = Callable[[Target, float], Verdict]


class Options(msgspec.Struct, frozen=True):
    """What the command was asked for. ``backends`` are URLs by name; ``wait`` is in seconds."""

    endpoint: str | None = None
    backends: Mapping[str, str] = {}
    wait: float = 15.0
    patience: float = PATIENCE
    folder: Path = Path()


def examine(options: Options, say: Say) -> Report:
    """Check everything between this program and the backends; ``say`` is told what is being done.

    Raises:
        UsageError: the endpoint, an option or a variable makes no sense.
    """
    report = Report(SIGNALS)
    # An endpoint on the command line is the one that is meant, whatever the environment says.
    own: dict[str, str | None] = {f"OTEL_EXPORTER_OTLP_{name.upper()}_ENDPOINT": None for name in SIGNALS}
    overruled = {"OTEL_EXPORTER_OTLP_ENDPOINT": None, **own} if options.endpoint else {}
    for name in overruled:
        if os.environ.get(name, options.endpoint) != options.endpoint:
            report.add("endpoint", SIGNALS, surroundings.overruled(name))
    with Notices(), sending.variables(overruled):
        say("looking around")
        _look_around(report, options)
        try:
            targets = _targets(report, options)
        except ImportError as error:
            report.add("packages", SIGNALS, sending.broken(error))
            return report
        _reach(report, targets, options, say)
        sent, instance = _send(report, options, targets, say)
        if sent is not None:
            _follow(report, options, targets, sent, instance, say)
    for name in report.going():
        signal = report.signals[name]
        signal.arrived = signal.exported > 0
    return report


def _look_around(report: Report, options: Options) -> None:
    everything: list[tuple[str, Iterable[str], Verdict | None]] = [
        ("packages", SIGNALS, surroundings.packages()),
        ("engine", SIGNALS, surroundings.engine_module(options.folder)),
        ("LangGraph", SIGNALS, surroundings.langgraph(os.environ)),
        ("SDK", SIGNALS, surroundings.disabled(os.environ)),
        ("configuration", SIGNALS, surroundings.configuration_file(os.environ)),
        ("headers", SIGNALS, surroundings.headers(os.environ)),
        ("sampler", ("traces", "logs"), surroundings.sampler(os.environ)),
        ("modes", ("logs",), surroundings.modes(os.environ)),
    ]
    for check, signals, verdict in everything:
        if verdict is not None:
            report.add(check, signals, verdict)


def _targets(report: Report, options: Options) -> list[Target]:
    """Return where each signal goes; what goes nowhere is stopped here."""
    from otel_stream.sdk.configure.destinations import destinations

    found: list[Target] = []
    for signal in SIGNALS:
        try:
            chosen: list[Destination] = destinations(signal, os.environ, endpoint=options.endpoint)
        except ValueError as error:
            raise UsageError(str(error)) from None
        otlp = [target(signal, place) for place in chosen if place.kind == "otlp"]
        if otlp:
            found += otlp
            report.signals[signal].endpoint = ", ".join(f"{one.url} ({one.protocol})" for one in otlp)
        else:
            words = [place.kind for place in chosen]
            report.add("exporter", [signal], surroundings.switched_off(signal, words))
    return found


# -- the way to the endpoint -----------------------------------------------------------------------

_STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("host", reaching.look_up),
    ("port", reaching.connect),
    ("TLS", reaching.handshake),
)


def _reach(report: Report, targets: list[Target], options: Options, say: Say) -> None:
    targets = _without_proxied(report, targets)
    for check, step in _STEPS:
        # What is the same for all signals is tried once, and said once.
        done: dict[tuple[object, ...], Verdict] = {}
        verdicts: dict[str, Verdict] = {}
        for one in targets:
            if check == "TLS" and not one.tls:
                continue
            place = (one.host,) if check == "host" else _place(one)
            if place not in done:
                say(f"{check}: {one.place}")
                done[place] = step(one, options.patience)
            _add(report, check, one.signal, done[place])
            verdicts[one.signal] = done[place]
        stopped = {name for name, verdict in verdicts.items() if verdict.state == "stop"}
        targets = [one for one in targets if one.signal not in stopped]
    _ask_all(report, targets, options, say)


def _ask_all(report: Report, targets: list[Target], options: Options, say: Say) -> None:
    answers: list[tuple[Target, Answer]] = []
    #: Places that let us wait; once is enough.
    slow: dict[object, Answer] = {}
    for one in targets:
        say(f"asking {one.url}")
        answer = slow.get(_place(one)) or ask(one, options.patience)
        if answer.code in {"TimeoutError", "DEADLINE_EXCEEDED"}:
            slow[_place(one)] = answer
        answers.append((one, answer))
    known: dict[object, tuple[str, str] | None] = {}

    def other_language(one: Target) -> tuple[str, str] | None:
        if _place(one) not in known:
            known[_place(one)] = reaching.other_language(one, options.patience)
        return known[_place(one)]

    for one, answer in answers:
        beside = [(other, got) for other, got in answers if other.place == one.place]
        others: dict[Signal, Answer] = {
            other.signal: got for other, got in beside if other.signal != one.signal
        }
        _add(report, "answer", one.signal, explain(one, answer, others, other_language, time.time()))


def _place(one: Target) -> tuple[object, ...]:
    return one.host, one.port, one.protocol, one.tls, one.certificate


def _add(report: Report, check: str, signal: str, verdict: Verdict) -> None:
    """Add a verdict for one signal; the same one for several signals is one finding."""
    last = report.findings[-1] if report.findings else None
    if last is not None and (last.check, last.verdict) == (check, verdict) and signal not in last.signals:
        report.findings.pop()
        report.add(check, (*last.signals, signal), verdict)
    else:
        report.add(check, (signal,), verdict)


def _without_proxied(report: Report, targets: list[Target]) -> list[Target]:
    """Leave out what goes through a proxy: the way there is not ours to try, the export shows it."""
    direct: list[Target] = []
    proxies = urllib.request.getproxies()
    for one in targets:
        scheme = "https" if one.tls else "http"
        if one.protocol == "grpc" or scheme not in proxies or urllib.request.proxy_bypass(one.host):
            direct.append(one)
            continue
        name = f"{scheme.upper()}_PROXY"
        verdict = Verdict(
            "note",
            name,
            "is set",
            f"{one.place} is reached through the proxy in {name}.",
            f"If it should not be, put {one.host} into NO_PROXY.",
        )
        _add(report, "proxy", one.signal, verdict)
    return direct


# -- the run ---------------------------------------------------------------------------------------


def _send(
    report: Report, options: Options, targets: list[Target], say: Say
) -> tuple[sending.Sent | None, str]:
    going = report.going()
    if not going:
        return None, ""
    say("sending a run")
    changes, instance = _surroundings_of_the_run(report)
    try:
        with sending.variables(changes):
            sent = sending.send(options.endpoint, _EXPORT)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except Exception as error:  # noqa: BLE001 - whatever keeps telemetry from being set up is a finding
        report.add("run", going, sending.broken(error))
        return None, ""
    if sent.reason:
        report.add("provider", going, sending.not_ours(sent.reason))
        return None, ""
    secrets = [value for one in targets for value in one.headers.values()]
    sent.complaint = harmless(sent.complaint, secrets, most=400)
    report.run_id, report.trace_id = sent.run_id, sent.trace_id
    for signal in going:
        _add(report, "export", signal, sending.verdict(signal, sent))
        counts = sent.counts[signal]
        report.signals[signal].exported, report.signals[signal].lost = counts.exported, counts.lost
    return sent, instance


def _surroundings_of_the_run(report: Report) -> tuple[dict[str, str | None], str]:
    """Return the variables for the doctor's own run, and what its metrics are known by."""
    changes: dict[str, str | None] = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "no_content"}
    for signal in SIGNALS:
        name = f"OTEL_{signal.upper()}_EXPORTER"
        words = [word.strip() for word in os.environ.get(name, "otlp").split(",")]
        kept = [word for word in words if word.startswith("otlp")] if signal in report.going() else []
        changes[name] = ",".join(kept) or ("otlp" if signal in report.going() else "none")
    if any(one.check == "sampler" and one.verdict.state == "note" for one in report.findings):
        changes["OTEL_TRACES_SAMPLER"] = "always_on"
    attributes = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    known = dict(pair.strip().split("=", 1) for pair in attributes.split(",") if "=" in pair)
    instance = known.get("service.instance.id", "")
    if not instance:
        instance = str(uuid.uuid4())
        changes["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(
            filter(None, (attributes, f"service.instance.id={instance}"))
        )
    return changes, instance


# -- the backends ----------------------------------------------------------------------------------


def _follow(
    report: Report, options: Options, targets: list[Target], sent: sending.Sent, instance: str, say: Say
) -> None:
    going = report.going()
    near = {one.signal for one in targets if one.on_this_machine}
    default = following.default_urls()
    urls: dict[str, str] = {}
    for backend in following.BACKENDS:
        if backend.signal not in going:
            continue
        if backend.name in options.backends:
            urls[backend.name] = options.backends[backend.name]
        elif backend.signal in near:
            urls[backend.name] = default[backend.name]
        else:
            seen = f"not checked: the endpoint is on another machine; --{backend.name} URL says where to ask"
            report.add(backend.name, [backend.signal], Verdict("skipped", f"ask {backend.name}", seen))
    counts = {signal: sent.counts[signal].exported if signal != "metrics" else 1 for signal in going}
    wanted = following.Wanted(sent.trace_id, sent.run_id, instance, counts)
    say("looking for the run")
    _judge(report, options, following.follow(wanted, urls, options.wait, say))


def _judge(report: Report, options: Options, verdicts: Mapping[str, Verdict]) -> None:
    for backend in following.BACKENDS:
        verdict = verdicts.get(backend.name)
        if verdict is not None and verdict.state == "ok":
            report.signals[backend.signal].found_in.append(backend.name)
    for backend in following.BACKENDS:
        verdict = verdicts.get(backend.name)
        if verdict is None:
            continue
        # One store of a signal is enough, unless the user has named this one.
        enough = report.signals[backend.signal].found_in and backend.name not in options.backends
        if verdict.state == "stop" and enough:
            verdict = msgspec.structs.replace(verdict, state="note")
        report.add(backend.name, [backend.signal], verdict)
