"""Where the run has come to: what Tempo, Jaeger, Loki, VictoriaLogs and Prometheus have of it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from otel_stream.cli.doctor.asking import within
from otel_stream.cli.doctor.findings import Verdict

_PAUSE: Final = 0.25
#: Seconds for one question.
_PATIENCE: Final = 3.0
_MOST: Final = 4_000_000


class Wanted(msgspec.Struct, frozen=True):
    """The run that is looked for; ``expected`` is how many spans, log events and metrics at least."""

    trace_id: str
    run_id: str
    instance: str
    expected: Mapping[str, int]


class Backend(msgspec.Struct, frozen=True):
    """A store of one signal: ``query`` makes the path of a question, ``count`` reads the answer.

    ``url`` is where it is on a machine that has it, unless one says otherwise.
    """

    name: str
    signal: str
    url: str
    query: Callable[[Wanted], str]
    count: Callable[[Any], int]


class _Unreachable(msgspec.Struct, frozen=True):
    """Why a backend can't be asked; ``final`` if asking again will not help."""

    reason: str
    final: bool = True


def _spans(whole: Any) -> int:
    """Count the spans of OTLP in JSON, whatever it is wrapped in."""
    if isinstance(whole, dict):
        return sum(len(value) if key == "spans" else _spans(value) for key, value in whole.items())
    return sum(_spans(item) for item in whole) if isinstance(whole, list) else 0


def _loki(wanted: Wanted) -> str:
    label = f'trace_id="{wanted.trace_id}"' if wanted.trace_id else f'graph_run_id="{wanted.run_id}"'
    query = {"query": f'{{service_name=~".+"}} | {label}', "limit": 5000, "since": "1h"}
    return f"/loki/api/v1/query_range?{urllib.parse.urlencode(query)}"


def _victorialogs(wanted: Wanted) -> str:
    field = f"trace_id:={wanted.trace_id}" if wanted.trace_id else f'"graph.run.id":="{wanted.run_id}"'
    query = {"query": f"_time:1h {field} | stats count() logs"}
    return f"/select/logsql/stats_query?{urllib.parse.urlencode(query)}"


def _prometheus(wanted: Wanted) -> str:
    # A name with dots or underscores, with a unit or without: that is for each store to choose.
    name = '__name__=~"gen_ai.invoke_workflow.duration.*"'
    query = " or ".join(
        f'{{{name},{label}="{wanted.instance}"}}' for label in ("instance", "service_instance_id")
    )
    return f"/api/v1/query?{urllib.parse.urlencode({'query': f'count({query})'})}"


BACKENDS: Final = (
    Backend(
        "tempo",
        "traces",
        "http://127.0.0.1:3200",
        lambda wanted: f"/api/traces/{wanted.trace_id}",
        _spans,
    ),
    Backend(
        "jaeger",
        "traces",
        "http://127.0.0.1:16686",
        lambda wanted: f"/api/v3/traces/{wanted.trace_id}",
        _spans,
    ),
    Backend(
        "loki",
        "logs",
        "http://127.0.0.1:3100",
        _loki,
        lambda whole: sum(len(stream["values"]) for stream in whole["data"]["result"]),
    ),
    Backend(
        "victorialogs",
        "logs",
        "http://127.0.0.1:9428",
        _victorialogs,
        lambda whole: sum(int(row["value"][1]) for row in whole["data"]["result"]),
    ),
    Backend(
        "prometheus",
        "metrics",
        "http://127.0.0.1:9090",
        _prometheus,
        lambda whole: len(whole["data"]["result"]),
    ),
)


def default_urls() -> dict[str, str]:
    """Return where backends on this machine are, if there are any."""
    return {backend.name: backend.url for backend in BACKENDS}


def follow(
    wanted: Wanted, urls: Mapping[str, str], seconds: float, say: Callable[[str], None]
) -> dict[str, Verdict]:
    """Ask each backend of ``urls`` for the run until it has all of it, for ``seconds`` at most."""
    pending = {backend: urls[backend.name] for backend in BACKENDS if backend.name in urls}
    #: What was found last, or why a backend could not be asked.
    seen: dict[str, int | _Unreachable] = {}
    verdicts: dict[str, Verdict] = {}
    end = time.monotonic() + seconds
    while pending:
        for backend, where in list(pending.items()):
            answer = seen[backend.name] = _ask(backend, where, wanted)
            enough = wanted.expected[backend.signal]
            if answer >= enough if isinstance(answer, int) else answer.final:
                del pending[backend]
        if not pending or time.monotonic() >= end:
            break
        say(f"waiting for {', '.join(backend.name for backend in pending)}")
        time.sleep(_PAUSE)
    for backend in BACKENDS:
        if backend.name in urls:
            tried = f"ask {backend.name} at {urls[backend.name]}"
            expected = wanted.expected[backend.signal]
            verdicts[backend.name] = _verdict(backend, tried, seen[backend.name], expected, seconds)
    return verdicts


_WORDS: Final = {"traces": "spans", "logs": "log events", "metrics": "metrics"}

_DROPPED: Final = {
    "traces": "a sampler dropped them (tail_sampling, OTEL_STREAM_KEEP_FROM)",
    "logs": "a filter dropped them (OTEL_STREAM_KEEP_LOGS_FROM)",
    "metrics": "a filter dropped them",
}


def _verdict(
    backend: Backend, tried: str, seen: int | _Unreachable, expected: int, seconds: float
) -> Verdict:
    words = _WORDS[backend.signal]
    if isinstance(seen, _Unreachable):
        return Verdict("skipped", tried, f"not checked: {seen.reason}")
    if seen >= expected:
        return Verdict("ok", tried, "counted" if backend.signal == "metrics" else f"{seen} {words}")
    if seen:
        return Verdict(
            "stop",
            tried,
            f"{seen} of {expected} {words} within {seconds:g} s",
            f"Only a part of the run's {words} is in {backend.name}.",
            "Wait longer (--wait), or look into the Collector's log for what it refused.",
        )
    return Verdict(
        "stop",
        tried,
        f"nothing within {seconds:g} s",
        f"The endpoint took the run's {words}, but {backend.name} has none of them: "
        f"the Collector does not send them there, or {_DROPPED[backend.signal]}.",
        f"Give the Collector's {backend.signal} pipeline an exporter to {backend.name}, "
        "keep more there, or wait longer (--wait).",
    )


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere that the user has not named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _ask(backend: Backend, where: str, wanted: Wanted) -> int | _Unreachable:
    """Return how much of the run a backend has, or why it can't be asked."""
    try:
        return within(_PATIENCE, lambda: backend.count(_get(f"{where.rstrip('/')}{backend.query(wanted)}")))
    except urllib.error.HTTPError as error:
        error.close()
        # One that has just started, or does not have the trace yet.
        if error.code == 404 or error.code >= 500:
            return 0
        return _Unreachable(f"it answers {error.code}")
    except TimeoutError:
        return _Unreachable("it does not answer", final=False)
    except OSError:
        return _Unreachable("nothing answers there")
    except (ValueError, KeyError, TypeError):
        return _Unreachable(f"what answers there is not {backend.name}")


def _get(where: str) -> Any:
    # A proxy must not be asked for what is on this machine, and is not needed for what is not.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    request = urllib.request.Request(where, headers={"Accept": "application/json"})  # noqa: S310 - checked
    with opener.open(request, timeout=_PATIENCE) as response:
        return json.loads(response.read(_MOST))


def addresses(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the options that name a backend, as those that were given.

    Raises:
        ValueError: one is no URL of HTTP; names the option and the remedy.
    """
    for name, where in given.items():
        if where:
            parts = urllib.parse.urlsplit(where)
            if parts.scheme not in {"http", "https"} or not parts.netloc:
                raise ValueError(f"--{name}: {where!r} is no URL; write {default_urls()[name]}")
            yield name, where
