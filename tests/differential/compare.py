"""When two streams are the same: the one place that says what LangGraph leaves open, and how it is left out.

1. *Ids and times.* Ids of tasks, checkpoints, interrupts and messages are replaced by the order in which they
   first appear: two parts still must bear the same id exactly where LangGraph's do. Times are dropped.
   Several interrupts are compared in the order of what they ask: LangGraph collects them from a set.
2. *Tasks side by side.* One at a time (``max_concurrency=1``) every part has its place, and lists are
   compared as they are. Side by side, LangGraph leaves open how the parts of tasks of one superstep
   interleave; what is at the barrier between two supersteps keeps its order, and each node's parts their
   superstep (``by_task``). There ids are dropped, too, since their order is open.
3. *After a failure.* How far the siblings of a failing task get is a race in LangGraph, and so is which of
   several failures is raised. What the failing task itself showed, and all before its superstep, is compared;
   its siblings' last parts are not (``until_failure``), nor what the thread does afterwards (``_is_race``).
4. *Words.* An exception that a node raised is compared whole. Of one that the engine raises itself, the type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from tests.differential.run import Leg
from tests.differential.specs import Case, Graph

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
_TIMES = frozenset({"timestamp", "created_at"})
_OWN_WORDS = frozenset(
    {"GraphRecursionError", "InvalidUpdateError", "EmptyInputError", "TypeError", "ParentCommand"}
)
_NOTE = "During task with name"


class Part(NamedTuple):
    ns: tuple[str, ...]
    mode: str
    data: Any
    interrupts: Any = None


def _asked(value: Any) -> str:
    """Return what an interrupt asks, by which several are put in order; nothing for other values."""
    if isinstance(value, dict) and value.keys() == {"value", "id", "response_schema"}:
        return str(value["value"])
    return str(value.value) if type(value).__name__ == "Interrupt" else ""


class Plain:
    """Turns whatever is streamed into plain values, with ids by their order."""

    def __init__(self, *, ordered_ids: bool) -> None:
        self.ids: dict[str, str] | None = {} if ordered_ids else None

    def _name(self, match: re.Match[str]) -> str:
        return "id" if self.ids is None else self.ids.setdefault(match[0], f"id{len(self.ids)}")

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            name = value.partition("(")[0]
            return f"{name} in its own words" if name in _OWN_WORDS else _ID.sub(self._name, value)
        if isinstance(value, dict):
            return {
                self(key): "a time" if key in _TIMES else self(item)
                for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))
            }
        if isinstance(value, BaseException):
            return self.error(value)
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(map(self, sorted(value, key=_asked) if all(map(_asked, value)) else value))
        return self._fields_of(value)

    def _fields_of(self, value: Any) -> Any:
        if isinstance(value, BaseMessage):
            return (type(value).__name__, value.content, self(value.id))
        if isinstance(value, Part):
            return Part(*map(self, value))
        if hasattr(value, "_fields"):
            return (type(value).__name__, self(value._asdict()))
        if is_dataclass(value):
            return (type(value).__name__, self({one.name: getattr(value, one.name) for one in fields(value)}))
        return value

    def error(self, error: BaseException | None) -> Any:
        if error is None:
            return None
        name = type(error).__name__
        notes = [self(note) for note in getattr(error, "__notes__", ()) if note.startswith(_NOTE)]
        return (name, "its own words" if name in _OWN_WORDS else str(error), notes)


def parts_of(case: Case, items: Iterable[Any]) -> list[Part]:
    """Take the items of a stream apart by the shape they must have."""
    several = isinstance(case.modes, list)
    parts = []
    for item in items:
        if case.version == "v2":
            keys = {"type", "ns", "data"} | ({"interrupts"} if item["type"] == "values" else set())
            assert set(item) == keys, item
            parts.append(Part(item["ns"], item["type"], item["data"], item.get("interrupts")))
            continue
        ns, rest = item if case.subgraphs and case.streams and not several else ((), item)
        mode = case.modes or "updates"
        if case.subgraphs and case.streams and several:
            ns, mode, rest = item
        elif several:
            mode, rest = item
        parts.append(Part(ns, str(mode), rest))
    return parts


def origin(part: Part, depth: int = 0) -> tuple[bool, str]:
    """Return whether a part is at the barrier of the graph at ``depth``, else the node there it is from."""
    if len(part.ns) > depth:
        return False, part.ns[depth].partition(":")[0]
    data = part.data["payload"] if part.mode == "debug" else part.data
    if part.mode == "values":
        waits = bool(part.interrupts) or (isinstance(data, dict) and "__interrupt__" in data)
        return not waits, "__interrupt__"
    if part.mode in ("checkpoints", "tasks", "debug"):
        return "result" not in data, data.get("name", "")
    if part.mode == "messages":
        return False, data[1]["langgraph_node"]
    return False, data["by"] if part.mode == "custom" else next(iter(data))


def by_task(parts: list[Part], depth: int = 0) -> list[Any]:
    """Return the same for all interleavings of tasks that LangGraph may show."""
    supersteps: list[tuple[list[Any], dict[str, list[Part]]]] = []
    for part in parts:
        barrier, node = origin(part, depth)
        if not supersteps or (barrier and supersteps[-1][1]):
            supersteps.append(([], {}))
        if barrier:
            supersteps[-1][0].append(part)
        else:
            supersteps[-1][1].setdefault(node, []).append(part)
    return [
        (barrier, {node: _of_node(mine, depth) for node, mine in sorted(tasks.items())})
        for barrier, tasks in supersteps
    ]


def _of_node(parts: list[Part], depth: int) -> list[Any]:
    """Return the parts of all tasks of one node: several, where it was sent packets."""
    inside = [part for part in parts if len(part.ns) > depth]
    plain = Plain(ordered_ids=False)
    own = sorted((plain(part) for part in parts if len(part.ns) <= depth), key=repr)
    children: dict[str, list[Part]] = {}
    for part in inside:
        children.setdefault(part.ns[depth], []).append(part)
    below = [plain(by_task(mine, depth + 1)) for mine in children.values()]
    return [own, sorted(below, key=repr)]


def _result(part: Part) -> Any:
    """Return the payload of a part that tells how a task ended, None for others."""
    data = part.data["payload"] if part.mode == "debug" else part.data
    return data if part.mode in ("tasks", "debug") and "result" in data else None


def as_unbalanced(theirs: list[Part], ours: list[Part]) -> list[Part]:
    """Return our parts without the ends of tasks that LangGraph never ends (docs/differences.md, 1 to 3)."""
    plain = Plain(ordered_ids=False)

    def key(part: Part) -> str:
        # In order, ids have their numbers by now, and tell two alike apart.
        return repr(plain(part))

    known = Counter(key(part) for part in theirs if _result(part) is not None)
    kept = []
    for part in reversed(ours):  # of two alike it is the first one that was done before, and restored
        if _result(part) is not None:
            known[key(part)] -= 1
            if known[key(part)] < 0:
                continue
        kept.append(part)
    return kept[::-1]


def without_last_superstep(parts: list[Part]) -> list[Part]:
    """Return the parts up to the superstep that failed."""
    barriers = [place for place, part in enumerate(parts) if origin(part)[0]]
    inside = [place for place in barriers if place and not origin(parts[place - 1])[0]]
    return parts[: inside[-1]] if inside else []


def _said(error: Any) -> Any:
    """Return the type and the message of a plain error, without its notes."""
    return error and error[:2]


def until_failure(theirs: list[Part], ours: list[Part], failure: Any) -> tuple[list[Part], list[Part]]:
    """Cut what the tasks beside the failing one showed after the two streams part ways."""
    same = 0
    while same < min(len(theirs), len(ours)) and theirs[same] == ours[same]:
        same += 1

    def settled(part: Part) -> bool:
        result = _result(part)
        return origin(part)[0] or (result is not None and _said(result["error"]) == failure)

    return [*filter(settled, theirs[same:])], [*filter(settled, ours[same:])]


def differences(case: Case, theirs: list[Leg], ours: list[Leg]) -> list[Any]:
    """Return what differs, as pairs of theirs and ours: nothing, when all is well."""
    names = Plain(ordered_ids=case.in_order), Plain(ordered_ids=case.in_order)
    for number, (one, other) in enumerate(zip(theirs, ours, strict=False)):
        found = [(f"leg {number}", *pair) for pair in _leg_differences(case, one, other, names)]
        if found or _is_race(one):
            return found
    return [] if len(theirs) == len(ours) else [("legs", len(theirs), len(ours))]


def _failed_nodes(leg: Leg) -> list[str]:
    """Return the nodes that an exception came through, from the inside out."""
    return [note for note in getattr(leg.error, "__notes__", ()) if note.startswith(_NOTE)]


def _is_race(leg: Leg) -> bool:
    """Whether a node failed that may have had company: what is left in its thread is up to that.

    Or a subgraph took too many steps: where it goes on from is a difference (docs/differences.md, 15).
    """
    nodes = _failed_nodes(leg)
    alone = hasattr(leg.state, "tasks") and len(leg.state.tasks) == 1 and len(nodes) == 1
    return bool(nodes) and (not alone or isinstance(leg.error, RecursionError))


def _may_fail(graph: Graph) -> int:
    """Count the nodes that may raise: of several in one superstep LangGraph reports any."""
    sent = {to for route in graph.routes for to in route.targets if len(route.items) > 1}
    return sum(
        (2 if node.name in sent else 1) * bool(node.raises or node.fails or node.returns == "rubbish")
        + (_may_fail(node.graph) if node.graph is not None else 0)
        for node in graph.nodes
    )


def _leg_differences(
    case: Case, theirs: Leg, ours: Leg, names: tuple[Plain, Plain]
) -> list[tuple[str, Any, Any]]:
    failed = bool(_failed_nodes(theirs))
    shown, extra = parts_of(case, theirs.items), parts_of(case, ours.items)
    if case.in_order:
        shown, extra = [*map(names[0], shown)], [*map(names[1], extra)]
        extra = as_unbalanced(shown, extra)
        if failed:
            shown, extra = until_failure(shown, extra, _said(Plain(ordered_ids=False).error(theirs.error)))
    else:
        if failed:
            shown, extra = without_last_superstep(shown), without_last_superstep(extra)
        shown, extra = by_task(shown), by_task(as_unbalanced(shown, extra))
    parts = shown, extra
    without = Plain(ordered_ids=False)
    errors = without.error(theirs.error), without.error(ours.error)
    if failed and _may_fail(case.graph) > 1:
        errors = _failed_nodes(theirs) != [], _failed_nodes(ours) != []
    pairs = [("parts", *parts), ("error", *errors), ("result", theirs.result, ours.result)]
    if not _is_race(theirs):
        pairs.append(("state", theirs.state, ours.state))
    plain = [(what, names[0](one), names[1](other)) for what, one, other in pairs]
    return [(what, *first_difference(one, other)) for what, one, other in plain if one != other]


def first_difference(one: Any, other: Any, path: str = "") -> tuple[str, Any, Any]:
    """Return where two values begin to differ, and what is there."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs: Any = [(key, one[key], other[key]) for key in one]
    elif isinstance(one, (list, tuple)) and type(one) is type(other) and len(one) == len(other):
        pairs = zip(range(len(one)), one, other, strict=True)
    elif isinstance(one, list) and isinstance(other, list):
        same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        if same is None:
            same = min(len(one), len(other))
            return f"{path}[{same}:]", one[same:], other[same:]
        return first_difference(one[same], other[same], f"{path}[{same}]")
    else:
        return path, one, other
    return next(first_difference(a, b, f"{path}[{key!r}]") for key, a, b in pairs if a != b)
