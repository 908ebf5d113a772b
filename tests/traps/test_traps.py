"""Traps of OpenTelemetry's Python SDK, and what we keep in spite of each of them.

A trap is a fact about SDK 1.45.2 that was executed or read in its source. What is promised is a
property of ours: here is its test, or where it stands.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = "tests/traps/test_properties.py"
LOGS = "tests/otel_stream/telemetry/test_logs.py"
SDK = "tests/otel_stream/sdk"
SPANS = "tests/otel_stream/telemetry/test_spans.py"

#: Number -> (what the SDK does, the tests of what we do).
TRAPS = {
    1: (
        "A span that is not sampled takes no events, and no processor hears of it.",
        [
            f"{HERE}::test_an_unsampled_run_loses_no_part",
            f"{SPANS}::test_a_run_that_is_not_sampled_has_metrics_and_ids_and_nothing_else",
        ],
    ),
    2: (
        "No processor hears of an event before its span ends.",
        [f"{HERE}::test_a_part_is_received_and_logged_while_its_span_is_open"],
    ),
    3: (
        "The span event API is being retired, and its replacement's bridge is not there.",
        [
            f"{HERE}::test_log_events_of_a_run_can_be_had_as_span_events",
            f"{SDK}/test_bridge.py::test_an_event_is_added_once_with_its_name_its_time_and_all_of_its_attributes",
        ],
    ),
    4: (
        "A recorded span that is not sampled loses the attributes it was started with.",
        [f"{HERE}::test_start_attributes_survive_recording_only"],
    ),
    5: (
        "No sampler is shown the parent's tracestate, so some erase it.",
        [f"{HERE}::test_the_tracestate_of_the_caller_is_carried_to_every_span"],
    ),
    6: (
        "The two ratio samplers disagree about which traces to keep.",
        [
            f"{SDK}/test_tail_policies.py::test_a_ratio_keeps_what_otels_threshold_sampler_samples",
            f"{SDK}/test_tail_policies.py::test_the_smaller_of_two_ratios_keeps_a_subset",
        ],
    ),
    7: (
        "What is set on a span while it is ending is lost.",
        [f"{SPANS}::test_only_failures_are_errors_and_every_end_can_be_told"],
    ),
    8: (
        "What a processor raises reaches the program, and processors after it are skipped.",
        [
            f"{HERE}::test_processors_that_raise_never_reach_the_run",
            f"{SPANS}::test_a_processor_that_raises_never_reaches_the_engine_and_is_reported_once",
            f"{LOGS}::test_a_log_processor_that_raises_is_reported_once",
            f"{SDK}/test_tail.py::test_next_processors_that_raise_never_reach_the_program",
        ],
    ),
    9: (
        "One body that can't be encoded costs its whole batch.",
        [
            f"{HERE}::test_a_value_that_cannot_be_encoded_costs_no_other_record",
            f"{HERE}::test_a_foreign_record_that_cannot_be_encoded_costs_no_neighbour_its_place",
            f"{HERE}::test_a_foreign_attribute_that_cannot_be_encoded_costs_no_other_span_its_place",
            f"{LOGS}::test_any_data_makes_a_body_that_is_a_string_of_json",
        ],
    ),
    10: (
        "A batch that an exporter could not deliver is gone, and a flush still reports success.",
        [
            f"{SDK}/test_setup.py::test_flush_tells_that_a_batch_was_refused",
            f"{SDK}/test_setup.py::test_an_endpoint_nobody_answers_on_costs_telemetry_and_nothing_else",
        ],
    ),
    11: (
        "A flush ignores its timeout, on the thread of whoever asked for it.",
        [
            f"{HERE}::test_no_run_flushes_anything",
            f"{HERE}::test_no_coroutine_of_ours_flushes_or_shuts_down_a_provider",
            f"{HERE}::test_a_flush_ends_in_time_whatever_the_endpoint_does",
        ],
    ),
    12: (
        "A log record in an empty context falls back to the current one.",
        [f"{LOGS}::test_a_log_event_never_falls_back_to_what_is_current_where_it_is_emitted"],
    ),
    13: (
        "Packages of different versions import each other's private names.",
        [f"{HERE}::test_ranges_of_opentelemetry_go_together_and_what_is_tested_is_of_one_release"],
    ),
}


def test_every_trap_has_its_place() -> None:
    assert list(TRAPS) == list(range(1, 14))


@pytest.mark.parametrize("number", TRAPS)
def test_the_tests_of_a_trap_exist(number: int) -> None:
    _, tests = TRAPS[number]
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in names, f"{path} has no {name}"
