"""A check that finds nothing proves nothing: every lie that is planted in an exported run is found."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.differential.specs import END, START, Graph, Node, Route
from tests.truth.execution import Execution, differences
from tests.truth.exported import pipeline
from tests.truth.generate import Case
from tests.truth.rebuild import Rebuilder
from tests.truth.run import told

INNER = Graph((Node("p"), Node("q", says=1)), ((START, "p"), ("p", "q"), ("q", END)))
GRAPH = Graph(
    (
        Node("a", fails=1, attempts=3, is_async=True),
        Node("b", says=1),
        Node("c", asks=1),
        Node("d", graph=INNER),
        Node("e", fails=1),
    ),
    ((START, "a"), (START, "b"), (("a", "b"), "c"), ("c", "d"), ("e", END)),
    (Route("d", ("e",), items=(1, 2)), Route("a", ("b",), below=3)),
)
#: Joins, packets, a loop, a subgraph, retries, a handler, an interrupt and its answer.
CASE = Case(GRAPH, saver=True, handled=frozenset({"e"}))

Exported = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["with content", "without content"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pipeline(
        "plain", tmp_path_factory.mktemp("faults"), content=request.param == "with content"
    ) as pipe:
        happened, documents, contradictions = told(CASE, pipe)
    assert contradictions == []
    return happened, documents


def _of(exported: Exported, *path: str) -> Iterator[list[dict[str, Any]]]:
    for document in exported:
        for resource in document.get(path[0], ()):
            for scope in resource[path[1]]:
                yield scope[path[2]]


def spans(exported: Exported, name: str = "") -> list[dict[str, Any]]:
    """Return the exported spans whose names begin with ``name``, in the order of their starts."""
    found = [
        span
        for group in _of(exported, "resourceSpans", "scopeSpans", "spans")
        for span in group
        if span["name"].startswith(name)
    ]
    return sorted(found, key=lambda span: int(span["startTimeUnixNano"]))


def remove(exported: Exported, item: dict[str, Any]) -> None:
    for kind in (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")):
        for group in _of(exported, *kind):
            group[:] = [one for one in group if one is not item]


def put(exported: Exported, item: dict[str, Any]) -> None:
    next(_of(exported, "resourceSpans", "scopeSpans", "spans")).append(item)


def logs(exported: Exported, name: str) -> list[dict[str, Any]]:
    groups = _of(exported, "resourceLogs", "scopeLogs", "logRecords")
    return [log for group in groups for log in group if log["eventName"] == name]


def said(item: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the value of an attribute, to be changed."""
    (found,) = [one["value"] for one in item["attributes"] if one["key"] == name]
    return found  # type: ignore[no-any-return]


def forget(item: dict[str, Any], name: str) -> None:
    item["attributes"] = [one for one in item["attributes"] if one["key"] != name]


def linked(exported: Exported, channel: str) -> dict[str, Any]:
    """Return a span with a link of that channel, or kind."""
    return next(span for span in spans(exported) if channel in str(span.get("links", "")))


# -- the lies ------------------------------------------------------------------------------------------


def a_link_is_dropped(exported: Exported) -> None:
    linked(exported, "join:a+b:c")["links"].pop()


def a_link_of_a_packet_is_dropped(exported: Exported) -> None:
    linked(exported, "__pregel_tasks").pop("links")


def a_link_of_an_error_handler_is_dropped(exported: Exported) -> None:
    linked(exported, "__error__").pop("links")


def a_link_leads_elsewhere(exported: Exported) -> None:
    link, other = linked(exported, "join:a+b:c")["links"][0], spans(exported, "superstep")[0]
    link["spanId"] = other["spanId"]


def a_link_names_another_task(exported: Exported) -> None:
    said(linked(exported, "join:a+b:c")["links"][0], "graph.task.id")["stringValue"] = "another"


def an_edge_is_added(exported: Exported) -> None:
    task, other = spans(exported, "invoke_node b")[0], spans(exported, "invoke_node a")[0]
    link = copy.deepcopy(linked(exported, "join:a+b:c")["links"][0])
    link["spanId"] = other["spanId"]
    said(link, "graph.task.id")["stringValue"] = said(other, "graph.task.id")["stringValue"]
    task["links"] = [link]


def an_edge_has_another_channel(exported: Exported) -> None:
    said(linked(exported, "join:a+b:c")["links"][0], "graph.link.channel")["stringValue"] = "branch:to:c"


def the_resume_link_is_lost(exported: Exported) -> None:
    linked(exported, "resume").pop("links")


def the_resume_link_and_its_attributes_are_lost(exported: Exported) -> None:
    span = linked(exported, "resume")
    span.pop("links")
    forget(span, "graph.resume.trace.id")
    forget(span, "graph.resume.span.id")


def an_answer_is_lost(exported: Exported) -> None:
    forget(linked(exported, "resume"), "graph.resume.interrupt.ids")


def a_task_is_below_another_superstep(exported: Exported) -> None:
    first, second = spans(exported, "superstep")[:2]
    task = next(one for one in spans(exported, "invoke_node") if one["parentSpanId"] == first["spanId"])
    task["parentSpanId"] = second["spanId"]


def a_task_is_below_its_run(exported: Exported) -> None:
    spans(exported, "invoke_node b")[0]["parentSpanId"] = spans(exported, "invoke_workflow")[0]["spanId"]


def a_subgraph_is_below_another_task(exported: Exported) -> None:
    inner = next(one for one in spans(exported, "invoke_workflow") if one.get("parentSpanId"))
    inner["parentSpanId"] = spans(exported, "invoke_node c")[-1]["spanId"]


def what_a_node_opened_is_below_another(exported: Exported) -> None:
    first, second = spans(exported, "inside")[:2]
    first["parentSpanId"], second["parentSpanId"] = second["parentSpanId"], first["parentSpanId"]


def an_attempt_is_lost(exported: Exported) -> None:
    remove(exported, spans(exported, "attempt")[0])


def an_attempt_and_its_count_are_lost(exported: Exported) -> None:
    first = spans(exported, "attempt")[0]
    for inside in spans(exported):
        if inside.get("parentSpanId") == first["spanId"]:
            remove(exported, inside)
    remove(exported, first)
    forget(spans(exported, "invoke_node a")[0], "graph.task.attempts")


def an_attempt_is_renumbered(exported: Exported) -> None:
    said(spans(exported, "attempt")[0], "graph.task.attempt")["intValue"] = "2"


def a_pause_is_lost(exported: Exported) -> None:
    forget(spans(exported, "attempt")[0], "graph.task.retry_delay")


def a_failure_has_another_type(exported: Exported) -> None:
    said(spans(exported, "invoke_node e")[0], "error.type")["stringValue"] = "ValueError"


def a_failure_is_no_error(exported: Exported) -> None:
    spans(exported, "invoke_node e")[0]["status"] = {}


def the_end_of_a_task_is_changed(exported: Exported) -> None:
    said(spans(exported, "invoke_node c")[0], "graph.task.end")["stringValue"] = "cancelled"


def the_end_of_a_run_is_changed(exported: Exported) -> None:
    said(spans(exported, "invoke_workflow")[0], "graph.run.end")["stringValue"] = "abandoned"


def an_interrupt_is_forgotten(exported: Exported) -> None:
    forget(spans(exported, "invoke_node c")[0], "graph.interrupt.ids")


def a_superstep_is_renumbered(exported: Exported) -> None:
    said(spans(exported, "superstep")[1], "graph.superstep")["intValue"] = "7"


def a_superstep_with_its_tasks_is_renumbered(exported: Exported) -> None:
    step = spans(exported, "superstep")[-1]
    for span in [step, *(one for one in spans(exported) if one.get("parentSpanId") == step["spanId"])]:
        said(span, "graph.superstep")["intValue"] = "7"


def a_superstep_is_narrower(exported: Exported) -> None:
    said(spans(exported, "superstep")[0], "graph.superstep.width")["intValue"] = "1"


def two_tasks_are_swapped(exported: Exported) -> None:
    one, other = spans(exported, "invoke_node a")[0], spans(exported, "invoke_node b")[0]
    for key in ("spanId", "parentSpanId"):
        one[key], other[key] = other[key], one[key]


def two_tasks_of_different_supersteps_are_swapped(exported: Exported) -> None:
    one, other = spans(exported, "invoke_node p")[0], spans(exported, "invoke_node q")[0]
    one["parentSpanId"], other["parentSpanId"] = other["parentSpanId"], one["parentSpanId"]


def a_task_is_lost(exported: Exported) -> None:
    remove(exported, spans(exported, "invoke_node e")[1])


def a_task_was_run_twice(exported: Exported) -> None:
    twice = copy.deepcopy(spans(exported, "invoke_node p")[0])
    put(exported, {**twice, "spanId": "00000000000000aa"})


def a_span_ends_twice(exported: Exported) -> None:
    put(exported, copy.deepcopy(spans(exported, "superstep")[0]))


def a_span_never_ends(exported: Exported) -> None:
    spans(exported, "invoke_node b")[0].pop("endTimeUnixNano")


def a_span_outlives_what_is_around_it(exported: Exported) -> None:
    spans(exported, "attempt")[0]["endTimeUnixNano"] = str(2**62)


def a_cached_task_was_run(exported: Exported) -> None:
    forget(next(one for one in spans(exported) if "graph.task.cached" in str(one)), "graph.task.cached")


def a_route_is_removed(exported: Exported) -> None:
    remove(exported, logs(exported, "graph.route")[0])


def a_route_leads_elsewhere(exported: Exported) -> None:
    said(logs(exported, "graph.route")[0], "graph.route.targets")["arrayValue"]["values"] = []


def nobody_waits(exported: Exported) -> None:
    remove(exported, logs(exported, "graph.interrupt")[0])


def a_state_is_removed(exported: Exported) -> None:
    remove(exported, logs(exported, "graph.values")[1])


def the_last_part_is_removed(exported: Exported) -> None:
    remove(exported, logs(exported, "graph.values")[-1])


def a_message_of_a_node_is_removed(exported: Exported) -> None:
    remove(exported, logs(exported, "graph.custom")[0])


def the_end_of_the_stream_is_removed(exported: Exported) -> None:
    remove(exported, logs(exported, "graph.run_end")[0])


def a_log_event_is_on_another_task(exported: Exported) -> None:
    logs(exported, "graph.custom")[0]["spanId"] = spans(exported, "invoke_node a")[0]["spanId"]


LIES: tuple[Callable[[Exported], None], ...] = tuple(
    one
    for name, one in list(globals().items())
    if getattr(one, "__annotations__", {}) == {"exported": Exported, "return": None}
)


def test_the_truth_is_believed(run: tuple[Execution, Exported]) -> None:
    happened, exported = run
    assert not list(differences(_without_json(happened, exported), Rebuilder(exported).execution()))


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_is_found(lie: Callable[[Exported], None], run: tuple[Execution, Exported]) -> None:
    happened, documents = run
    exported = copy.deepcopy(documents)
    lie(exported)
    assert exported != documents
    assert list(differences(_without_json(happened, documents), Rebuilder(exported).execution()))


def _without_json(happened: Execution, documents: Exported) -> Execution:
    """Leave out what the parts say where the exported ones do not."""
    known = any(
        part[3] is not None for parts in Rebuilder(documents).execution().parts.values() for part in parts
    )
    return happened if known else happened.without_content()


def test_every_kind_of_lie_is_told() -> None:
    assert len(LIES) == 42
