"""The surfaces. Each takes a source of chance and raises what it finds wrong."""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, TypedDict

from engine import START, Command, GraphRecursionError, InMemorySaver, Send, StateGraph
from otel_stream import StreamConfig
from otel_stream.cli.terminal import line
from otel_stream.encoding import decode, encode, printable, shown
from otel_stream.parts import StreamPart
from otel_stream.replay import ReplayError, replay
from otel_stream.telemetry.logs.deltas import Chain, applied, digest
from otel_stream.telemetry.redaction import Redaction, Writer
from tests.fuzz import values
from tests.otel_stream.cli.test_replay import export

#: Nothing that a few dozen objects say is longer.
MOST: Final = 8_000_000


def states(random: Random) -> None:
    """Encoding says something bounded of any value, and replay can rebuild what was exported of it."""
    state = values.value(random)
    text = encode(state)
    assert len(text) < MOST
    decode(text)
    json.loads(text)
    StreamPart("custom", ("a:1",), state, seq=1).to_json()
    assert len(printable(shown(state))) < MOST
    rules = Redaction(["*.a"], ["[0-9]+"]) if random.random() < 0.3 else None
    chain, known = Chain(), None
    one: dict[str, Any] = {"big": "x" * 600, "state": state}
    for step in range(3):
        one = {**one, "step": step, random.choice("abc"): values.value(random)}
        frame = chain.next(one, Writer(rules))
        known = decode(frame.text) if frame.keyframe else applied(known, decode(frame.text))
        if f"{digest(known):08x}" != frame.digest:
            # It is said to be doubtful; the only reason is what docs/replay.md names.
            assert _repeats_a_key(frame.text)
            return


def _repeats_a_key(text: bytes) -> bool:
    found = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.append(len({key for key, _ in pairs}) < len(pairs))

    json.loads(text, object_pairs_hook=note)
    return any(found)


# -- records -------------------------------------------------------------------------------------

_ODD: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 1.5, 2**70, "", "x", "7", "-7", "9" * 5000, "\x1b[2J", "[]", "{}", "[[1,2,3,4,{}]]",
    [], {}, [{}], {"stringValue": "x"}, {"intValue": "3"}, {"kvlistValue": {}},
    {"arrayValue": {"values": [{"stringValue": "t"}]}},
)  # fmt: skip


def recorder() -> Callable[[Random], None]:
    """Return the surface of records: those of a run that is exported once."""
    whole = _exported()

    def records(random: Random) -> None:
        """Replay tells what is there of any records, and of what it can't read says so."""
        lines = list(whole)
        for _ in range(random.choice((1, 1, 2, 10))):
            at = random.randrange(len(lines))
            lines[at] = _mutated(lines[at], random)
        with contextlib.suppress(ReplayError):
            found = replay(lines)
            for run in found.runs:
                for said in (run.id, run.graph, run.end or "", *run.problems()):
                    assert "\n" not in line(said).plain
                for part in (*run.parts, *run.withheld):
                    decode(part.to_json())
            for said in found.damaged:
                assert len(said) < 1000

    return records


def _exported() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        export(path, event_content=True, steps=6)
        return path.read_text().splitlines()


def _mutated(text: str, random: Random) -> str:
    kind = random.random()
    if kind < 0.2:
        at = random.randrange(len(text) + 1)
        return (
            text[:at] + random.choice(("", "\x00", '"', "}", "[" * 3000)) + text[at + random.randrange(4) :]
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    places: list[tuple[Any, Any]] = []
    _places(document, places)
    if places:
        holder, key = random.choice(places)
        if random.random() < 0.3:
            del holder[key]
        else:
            holder[key] = random.choice(_ODD)
    return json.dumps(document)


def _places(node: Any, found: list[tuple[Any, Any]]) -> None:
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        found.append((node, key))
        if isinstance(node[key], dict | list):
            _places(node[key], found)


# -- configs -------------------------------------------------------------------------------------


class State(TypedDict, total=False):
    """A state of anything."""

    n: Any


#: Of a run's config.
_KEYS: Final = (
    "tags", "metadata", "configurable", "recursion_limit", "max_concurrency", "run_name", "callbacks"
)  # fmt: skip
_FIELDS: Final = tuple(StreamConfig.__dataclass_fields__)


def configs(random: Random) -> None:
    """A config of a stream or a run works, or is refused in a sentence."""
    chosen = random.sample(_FIELDS, random.randint(1, 3))
    made = {field: _setting(random) for field in chosen}
    try:
        StreamConfig(**made)
    except (TypeError, ValueError) as error:
        _is_said(error)
    config: Any = {name: _setting(random) for name in random.sample(_KEYS, random.randint(1, 3))}
    graph = StateGraph(State).add_node("a", lambda state: {"n": 1}).add_edge(START, "a").compile()
    try:
        graph.invoke({"n": 0}, config)
    except (TypeError, ValueError, AttributeError, GraphRecursionError) as error:
        _is_said(error)


def _is_said(error: Exception) -> None:
    """See that an error has a text."""
    assert str(error) or error.args == (), error


def _setting(random: Random) -> Any:
    return random.choice(
        [
            lambda: values.LEAVES[0](random),
            lambda: random.choice(
                [None, True, -1, 0, 1, 10**30, 1.5, float("nan"), "values", ["values", "x"], ()]
            ),
            lambda: {values.LEAVES[0](random): 1},
            lambda: [values.LEAVES[0](random)],
        ]
    )()


# -- answers of nodes ----------------------------------------------------------------------------


def answers(random: Random) -> None:
    """Whatever a node answers or writes, the run ends as it should, and its stream with it."""
    answer = values.value(random)
    if random.random() < 0.6:
        answer = random.choice(
            [
                {"n": answer},
                Command(update={"n": answer}),
                Command(goto=Send("b", answer)),
                Command(goto="b"),
                [answer],
            ]
        )

    def node(_: State, writer: Any) -> Any:
        writer(answer)
        return answer

    graph: Any = StateGraph(State)
    graph.add_node("a", node).add_node("b", lambda _: {"n": "b"}).add_edge(START, "a")
    graph = graph.compile(checkpointer=InMemorySaver() if random.random() < 0.3 else None)
    seen: list[Any] = []
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            stream = graph.stream(
                {"n": 0},
                {"configurable": {"thread_id": "1"}},
                stream_mode=["values", "updates", "tasks", "debug", "custom"],
                print_mode="updates",
            )
            seen.extend(stream)
    except Exception as error:
        _is_said(error)
    assert seen


SURFACES: Final[dict[str, Callable[[], Callable[[Random], None]]]] = {
    "states": lambda: states,
    "records": recorder,
    "configs": lambda: configs,
    "answers": lambda: answers,
}
