"""Each alert fires on its planted fault and keeps quiet without it, says Prometheus' own promtool."""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends import places
from dashboards import collector as c
from dashboards import names, rules
from dashboards import queries as q
from dashboards.__main__ import ROOT
from otel_stream import semconv

FILES = [ROOT / "dashboards" / "rules" / f"{name}.yaml" for name in ("recording", "alerts")]
#: A fault lasts from the start of a test to its end, a value each minute.
MINUTES = 45
#: What a series does, in promtool's notation.
Course = str
Series = dict[str, Course]

WHERE = {names.label(names.SERVICE): "shop", names.label(names.ENVIRONMENT): "live", q.L_GRAPH: "triage"}
NODE = {**WHERE, q.L_NODE: "lookup"}
GATEWAY = {c.INSTANCE: "gateway-1"}
EXPORTER = {**GATEWAY, c.EXPORTER: "otlp_grpc/jaeger"}


def series(name: str, labels: dict[str, str], **more: str) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in {**labels, **more}.items())
    return f"{name}{{{inside}}}"


def constant(value: float) -> Course:
    return f"{value}x{MINUTES}"


def growing(by: float) -> Course:
    return f"0+{by}x{MINUTES}"


def of(
    metric: semconv.Metric, labels: dict[str, str], course: Course, suffix: str = "", **more: str
) -> Series:
    return {series(names.series(metric) + suffix, labels, **more): course}


def ended(metric: semconv.Metric, well: float, badly: float) -> Series:
    return of(metric, WHERE, growing(well), "_count", graph_run_end="ok") | of(
        metric, WHERE, growing(badly), "_count", graph_run_end="error", error_type="ValueError"
    )


def took(metric: semconv.Metric, up_to_a_minute: float, longer: float) -> Series:
    counts = {"60": up_to_a_minute, "120": up_to_a_minute + longer, "+Inf": up_to_a_minute + longer}
    return {
        line: course
        for le, count in counts.items()
        for line, course in of(metric, WHERE, growing(count), "_bucket", le=le).items()
    }


def tasks(metric: semconv.Metric, affected: float) -> Series:
    return of(semconv.NODE_DURATION, NODE, growing(100), "_count") | of(metric, NODE, growing(affected))


def waiting(size: float) -> Series:
    return {
        series(c.QUEUE_SIZE, EXPORTER, data_type="traces"): constant(size),
        series(c.QUEUE_CAPACITY, EXPORTER, data_type="traces"): constant(100),
    }


def counted(counters: Iterable[str], labels: dict[str, str], *gains: float) -> Series:
    return {series(name, labels): growing(gain) for name, gain in zip(counters, gains, strict=False)}


def called(words: semconv.GenAINames, well: float, badly: float) -> Series:
    return of(words.call_duration, MODEL, growing(well), "_count") | of(
        words.call_duration, MODEL, growing(badly), "_count", error_type="openai.RateLimitError"
    )


def began(words: semconv.GenAINames, soon: float, late: float) -> Series:
    counts = {"5.12": soon, "20.48": soon + late, "+Inf": soon + late}
    return {
        line: course
        for le, count in counts.items()
        for line, course in of(words.time_to_first_chunk, MODEL, growing(count), "_bucket", le=le).items()
    }


def spent(metrics: tuple[tuple[semconv.Metric, str], ...], before: float, then: float) -> Series:
    """Tokens that grow by so many a minute, and by others from half an hour before the end."""
    turn = MINUTES - 14
    course = f"0+{before}x{turn} {before * turn + then}+{then}x{MINUTES}"
    return {line: c for metric, suffix in metrics for line, c in of(metric, NODE, course, suffix).items()}


GENAI = names.GENAI_NAMES
MODEL = {**NODE, q.L_MODEL: "gpt-5", q.L_PROVIDER: "openai"}
BEFORE_TOKENS: Any = ((GENAI[0].token_usage, "_sum"),)
SINCE_TOKENS: Any = ((GENAI[1].input_tokens, ""), (GENAI[1].output_tokens, ""))
BEFORE, SINCE = names.RUN_DURATIONS
#: Alert, series with the fault, series without it; several of some.
CASES: list[tuple[str, Series, Series]] = [
    ("OtelStreamRunsFail", ended(BEFORE, 60, 20), ended(BEFORE, 99, 1)),
    ("OtelStreamRunsFail", ended(SINCE, 0, 20), ended(SINCE, 99, 0)),
    ("OtelStreamRunsBurnBudget", ended(BEFORE, 60, 20), ended(BEFORE, 95, 5)),
    ("OtelStreamRunsEatBudget", ended(SINCE, 92, 8), ended(SINCE, 95, 5)),
    (
        "OtelStreamCostHigh",
        of(semconv.CALL_COST, NODE, growing(2)),
        of(semconv.CALL_COST, NODE, growing(0.5)),
    ),
    ("OtelStreamTokensSpike", spent(BEFORE_TOKENS, 10_000, 900_000), spent(BEFORE_TOKENS, 10_000, 20_000)),
    ("OtelStreamTokensSpike", spent(SINCE_TOKENS, 10_000, 900_000), spent(SINCE_TOKENS, 10_000, 20_000)),
    ("OtelStreamProviderFails", called(GENAI[0], 80, 20), called(GENAI[0], 95, 5)),
    ("OtelStreamProviderFails", called(GENAI[1], 80, 20), called(GENAI[1], 95, 5)),
    ("OtelStreamFirstChunkLate", began(GENAI[0], 10, 90), began(GENAI[0], 99, 1)),
    ("OtelStreamFirstChunkLate", began(GENAI[1], 10, 90), began(GENAI[1], 99, 1)),
    ("OtelStreamRunsSlow", took(BEFORE, 10, 90), took(BEFORE, 99, 1)),
    ("OtelStreamRunsSlow", took(SINCE, 10, 90), took(SINCE, 99, 1)),
    ("OtelStreamNodeFails", tasks(semconv.NODE_ERRORS, 30), tasks(semconv.NODE_ERRORS, 5)),
    ("OtelStreamRetryStorm", tasks(semconv.NODE_RETRIES, 120), tasks(semconv.NODE_RETRIES, 10)),
    (
        "OtelStreamInterruptsStuck",
        of(semconv.INTERRUPT_AGE, WHERE, growing(1200)),
        of(semconv.INTERRUPT_AGE, WHERE, growing(60)),
    ),
    (
        "OtelStreamPartsDropped",
        of(semconv.STREAM_OFFERED, WHERE, growing(600)) | of(semconv.STREAM_DROPPED, WHERE, growing(60)),
        of(semconv.STREAM_OFFERED, WHERE, growing(600)) | of(semconv.STREAM_DROPPED, WHERE, growing(1)),
    ),
    (
        "OtelStreamReceiverLags",
        of(semconv.STREAM_LAG, WHERE, constant(45)),
        of(semconv.STREAM_LAG, WHERE, constant(2)),
    ),
    (
        "OtelStreamExportLoses",
        of(semconv.EXPORT_LOST, WHERE, growing(5), otel_stream_signal="traces"),
        of(semconv.EXPORT_LOST, WHERE, constant(5), otel_stream_signal="traces"),
    ),
    ("OtelStreamNoData", of(semconv.RUN_ACTIVE, WHERE, "0x10"), of(semconv.RUN_ACTIVE, WHERE, constant(0))),
    ("OtelStreamCollectorQueueFills", waiting(95), waiting(20)),
    (
        "OtelStreamCollectorRefuses",
        counted(c.REFUSED, GATEWAY, 0, 0, 9),
        counted(c.REFUSED, GATEWAY, 0, 0, 0),
    ),
    ("OtelStreamCollectorRefuses", counted(c.REFUSED, GATEWAY, 9), counted(c.REFUSED, GATEWAY, 0)),
    (
        "OtelStreamCollectorCannotSend",
        counted(c.SEND_FAILED, EXPORTER, 0, 9),
        counted(c.SEND_FAILED, EXPORTER, 0, 0),
    ),
    ("OtelStreamCollectorCannotSend", counted(c.ENQUEUE_FAILED, EXPORTER, 9), {}),
    (
        "OtelStreamTracesForgotten",
        counted([c.TAIL_RECEIVED, c.TAIL_DECIDED], GATEWAY, 100, 80),
        counted([c.TAIL_RECEIVED, c.TAIL_DECIDED], GATEWAY, 100, 100),
    ),
    ("OtelStreamCollectorGone", {}, counted([c.UPTIME], GATEWAY, 60)),
]


def promtool(folder: Path, *tests: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    file = folder / "tests.yaml"
    content = {"rule_files": [str(path) for path in FILES], "evaluation_interval": "1m", "tests": list(tests)}
    file.write_text(yaml.safe_dump(content))
    command = [str(places.binary("promtool")), "test", "rules", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def case(alert: str, given: Series, *, fires: bool) -> dict[str, Any]:
    return {
        "name": f"{alert} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": line, "values": course} for line, course in given.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": f"{MINUTES - 1}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


def test_promtool_accepts_the_rules() -> None:
    command = [str(places.binary("promtool")), "check", "rules", *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules.ALERTS)} rules found" in done.stdout


def test_every_alert_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == {alert.name for alert in rules.ALERTS}


@pytest.mark.parametrize(
    ("alert", "fault", "healthy"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_alert_fires_on_its_fault_and_only_then(
    alert: str, fault: Series, healthy: Series, tmp_path: Path
) -> None:
    done = promtool(tmp_path, case(alert, fault, fires=True), case(alert, healthy, fires=False))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_that_expects_too_much_fails(tmp_path: Path) -> None:
    _, fault, healthy = CASES[0]
    for given, fires in ((fault, False), (healthy, True)):
        assert promtool(tmp_path, case(CASES[0][0], given, fires=fires)).returncode == 1


def test_an_alert_says_where_and_how_bad(tmp_path: Path) -> None:
    given = case("OtelStreamRunsFail", CASES[0][1], fires=True)
    given["alert_rule_test"] = [
        {
            "eval_time": f"{MINUTES - 1}m",
            "alertname": "OtelStreamRunsFail",
            "exp_alerts": [
                {
                    "exp_labels": {**WHERE, "severity": "critical"},
                    "exp_annotations": {
                        "summary": "Runs of graph triage of shop fail",
                        "description": "25% of the runs failed.",
                        "runbook_url": "docs/runbooks.md#otelstreamrunsfail",
                    },
                }
            ],
        }
    ]
    done = promtool(tmp_path, given)
    assert done.returncode == 0, done.stdout + done.stderr
