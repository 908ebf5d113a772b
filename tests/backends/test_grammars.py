"""Every query for Tempo and Loki is parsed by Grafana's own grammars, so that a slip is seen without them."""

import json
import subprocess
from collections.abc import Mapping, Sequence

import pytest
import yaml

from backends import places
from dashboards import ask
from dashboards.__main__ import ROOT

PARSER = ROOT / "tests" / "grammars" / "parse.mjs"
#: What is Grafana's to fill in, beyond the variables of a dashboard.
BUILT_IN = {"__interval": "30s", "__rate_interval": "1m", "trace_id": "5b" * 16}
LANGUAGES = {"tempo": "traceql", "loki": "logql"}


def queries() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"traceql": [], "logql": []}
    for file in sorted((ROOT / "dashboards/json/tempo-loki").glob("*.json")):
        values = ask.defaults(file) | BUILT_IN
        for query in ask.asked(file):
            text = ask.filled(query.text, values)
            # A trace id alone is no TraceQL: Grafana asks for that trace.
            if query.kind in LANGUAGES and text != BUILT_IN["trace_id"]:
                found[LANGUAGES[query.kind]].append(text)
    sources = places.configurations() / "grafana/provisioning/datasources/otel-stream.yaml"
    (tempo,) = [one for one in yaml.safe_load(sources.read_text())["datasources"] if one["uid"] == "tempo"]
    found["logql"].append(tempo["jsonData"]["tracesToLogsV2"]["query"].replace('["service.name"]', ""))
    return found


QUERIES = queries()


def parsed(asked: Mapping[str, Sequence[str]]) -> dict[str, list[list[int]]]:
    """Return, for each query, the places at which its grammar stumbles."""
    everything = json.dumps({"traceql": [], "logql": [], **asked})
    done = subprocess.run(
        ["node", str(PARSER)], input=everything, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("language", QUERIES)
def test_every_query_is_what_its_language_allows(language: str) -> None:
    assert QUERIES[language]
    places_of_errors = parsed(QUERIES)[language]
    found = dict(zip(QUERIES[language], places_of_errors, strict=True))
    assert {query: at for query, at in found.items() if at} == {}


#: Slips of a pen, as (what stands there, what one might write), for the queries that have it.
SLIPS = {
    "traceql": [
        (" && ", " & "),
        (" }", ""),
        ("{ ", ""),
        ("=~ ", "=~~ "),
        ("select(", "selct("),
        ("0.95)", ".95)"),
    ],
    "logql": [
        ("sum by (", "sum by "),
        (" [30s])", ")"),
        ('=~"', "=~"),
        ("line_format", "line_formt"),
        ("{", ""),
    ],
}


@pytest.mark.parametrize(
    ("language", "right", "wrong"),
    [(language, *slip) for language, slips in SLIPS.items() for slip in slips],
)
def test_a_slip_in_any_query_is_caught(language: str, right: str, wrong: str) -> None:
    slipped = [query.replace(right, wrong, 1) for query in QUERIES[language] if right in query]
    assert slipped
    found = dict(zip(slipped, parsed({language: slipped})[language], strict=True))
    assert [query for query, at in found.items() if not at] == []
