"""What the answer to an export means, and what to change: tables, and who they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from otel_stream.cli.doctor.asking import Answer
from otel_stream.cli.doctor.findings import Verdict
from otel_stream.cli.doctor.reaching import field
from otel_stream.cli.doctor.targets import Target

if TYPE_CHECKING:
    from otel_stream.sdk.configure.destinations import Signal

#: Seconds that two clocks may differ before it is worth a word.
_SKEW: Final = 60

#: Codes of gRPC -> the status of HTTP that means the same.
_AS_HTTP: Final = {
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "UNIMPLEMENTED": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
    "UNKNOWN": 500,
}

#: Status -> what it means, what to change. Those that need a closer look are below.
_STATUS: Final = {
    403: (
        "{url} knows who asks, and does not allow {signal}.",
        "Use credentials that may write {signal}; they are in {headers}.",
    ),
    407: (
        "A proxy on the way wants credentials.",
        "Put {place} into NO_PROXY, or the credentials into HTTPS_PROXY.",
    ),
    413: (
        "{url} finds even an empty export too large.",
        "Raise the limit of what stands before the Collector.",
    ),
    415: (
        "{url} does not take OTLP as protobuf.",
        "Give the address of an OTLP endpoint, such as a Collector's port 4318, in {field}.",
    ),
    429: (
        "{url} takes no more for now: it is overloaded, or a quota is used up.",
        "Send less, or give the Collector more memory.",
    ),
    500: ("{url} failed.", "Look into the log of the server there."),
    502: (
        "A proxy answers at {url}, and finds no Collector behind it.",
        "Start the Collector, or correct the proxy.",
    ),
    503: (
        "{url} takes nothing now: a Collector says so when its memory limit or queue is full.",
        "Look into its log, and at what stands behind it.",
    ),
    504: ("{url} did not answer in time.", "Look into the log of the server there."),
}


#: What it means that an endpoint takes connections and does not answer, and what to change.
OtherLanguage = Callable[[Target], tuple[str, str] | None]


def explain(
    target: Target, answer: Answer, others: Mapping[Signal, Answer], other_language: OtherLanguage, now: float
) -> Verdict:
    """Say what ``answer`` means for the signal of ``target``.

    ``others`` are the answers to the other signals, ``now`` is the time in seconds since the epoch.
    ``other_language`` is asked if this is no answer of an OTLP endpoint.
    """
    tried = f"{'call' if target.protocol == 'grpc' else 'POST'} {target.url} ({target.protocol})"
    seen = f"{answer.code} {answer.text}".strip()
    if answer.taken:
        return _taken(target, answer, tried, seen, now)
    if answer.kind == "http" and answer.code == 400 and "HTTPS" not in answer.text:
        return Verdict("ok", tried, f"{seen}: no answer to an empty export, but OTLP may be spoken")
    broken = answer.kind == "none" or answer.code in {400, "UNAVAILABLE", "INTERNAL", "UNKNOWN"}
    better = other_language(target) if broken else None
    return Verdict("stop", tried, seen, *(better or _refused(target, answer, others)))


def _taken(target: Target, answer: Answer, tried: str, seen: str, now: float) -> Verdict:
    if answer.partial:
        means = f"{target.url} takes {target.signal} with a reservation: {answer.partial.rstrip('.')}."
        return Verdict("note", tried, seen, means, "Change what it complains about.")
    try:
        skew = parsedate_to_datetime(answer.date).timestamp() - now
    except ValueError:
        return Verdict("ok", tried, seen)
    if abs(skew) <= _SKEW:
        return Verdict("ok", tried, seen)
    direction = "ahead of" if skew > 0 else "behind"
    means = f"The clock of {target.host} is {abs(skew):,.0f} s {direction} this machine's."
    change = "Set both by NTP: runs are looked for at the wrong time, and old log events may be refused."
    return Verdict("note", tried, seen, means, change)


def _refused(target: Target, answer: Answer, others: Mapping[Signal, Answer]) -> tuple[str, str]:
    status = answer.code if isinstance(answer.code, int) else _AS_HTTP.get(answer.code, 0)
    fill = {
        "url": target.url,
        "place": target.place,
        "signal": target.signal,
        "field": field(target),
        "headers": "OTEL_EXPORTER_OTLP_HEADERS",
    }
    if status == 401:
        return _credentials(target)
    if status in {404, 405}:
        return _nobody_for_it(target, others)
    if 200 <= status < 300:
        return (
            (
                f"A web page answers at {target.url}, not an OTLP endpoint, and "
                "telemetry would be lost unnoticed."
            ),
            f"Give the address of an OTLP endpoint, such as a Collector's port 4318, in {field(target)}.",
        )
    if 300 <= status < 400:
        return (
            f"{target.url} sends us elsewhere, where an export would not arrive.",
            f"Write the address itself into {field(target)}: {answer.location or 'see its documentation'}.",
        )
    if answer.kind == "none":
        return (
            f"{target.place} takes the connection, and then neither HTTP nor gRPC is spoken.",
            f"Is it the port of an OTLP endpoint? Correct {field(target)}.",
        )
    means, change = _STATUS.get(status) or (
        _STATUS[500]
        if status >= 500
        else ("{url} refuses {signal}: " + str(answer.code) + ".", _STATUS[500][1])
    )
    return means.format(**fill), change.format(**fill)


def _credentials(target: Target) -> tuple[str, str]:
    if target.headers:
        names = ", ".join(sorted(target.headers))
        return (
            f"{target.url} does not accept the credentials that it is given (header {names}).",
            "Correct OTEL_EXPORTER_OTLP_HEADERS; a blank in a value may have to be written as %20.",
        )
    return (
        f"{target.url} wants credentials, and is given none.",
        'Set OTEL_EXPORTER_OTLP_HEADERS, such as "authorization=Bearer%20TOKEN".',
    )


def _nobody_for_it(target: Target, others: Mapping[Signal, Answer]) -> tuple[str, str]:
    """Tell a Collector that lacks a pipeline from an address that is wrong for all signals."""
    usual = f"/v1/{target.signal}"
    if (
        target.protocol != "grpc"
        and target.path.partition("?")[0].rstrip("/") != usual
        and target.variable == (f"OTEL_EXPORTER_OTLP_{target.signal.upper()}_ENDPOINT")
    ):
        return (
            f"Nothing takes {target.signal} at {target.url}: {target.variable} is used as it is.",
            f"End it with {usual}, or set OTEL_EXPORTER_OTLP_ENDPOINT without a path instead.",
        )
    if any(answer.taken for answer in others.values()):
        return (
            (
                f"The Collector at {target.place} has no pipeline for {target.signal}, "
                f"though it takes {_list([name for name, answer in others.items() if answer.taken])}."
            ),
            (
                f"Add {target.signal} with its OTLP receiver to service.pipelines of its configuration, "
                f"or set OTEL_{target.signal.upper()}_EXPORTER=none."
            ),
        )
    return (
        f"Something answers at {target.url}, but takes no OTLP there.",
        (
            f"Correct host, port and path in {field(target)}; a Collector takes OTLP at port "
            f"{'4317' if target.protocol == 'grpc' else '4318, without a path'}."
        ),
    )


def _list(words: list[str]) -> str:
    return " and ".join(words)
