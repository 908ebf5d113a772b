"""What users import and call: the names of design and documentation, with LangGraph's signatures.

LangGraph is the oracle: whoever knows its names finds them here, with the same parameters. What we leave out
is listed, with the reason.
"""

import dataclasses
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import langgraph.channels
import langgraph.config
import langgraph.errors
import langgraph.func
import langgraph.graph
import langgraph.graph.message
import langgraph.managed
import langgraph.runtime
import langgraph.types
import pytest
from langgraph.graph.state import CompiledStateGraph as LangGraphCompiled

import engine
import otel_stream

ROOT = Path(__file__).parent.parent

ENGINE = [
    "StateGraph",
    "START",
    "END",
    "MessagesState",
    "add_messages",
    "Send",
    "Command",
    "interrupt",
    "Interrupt",
    "RetryPolicy",
    "CachePolicy",
    "TimeoutPolicy",
    "InMemorySaver",
    "Runtime",
    "StreamWriter",
    "get_stream_writer",
    "entrypoint",
    "task",
    "GraphRecursionError",
    "InvalidUpdateError",
    "ExecutionEngine",
    "emit_message",
]
OTEL_STREAM = [
    "StreamConfig",
    "StreamMode",
    "StreamPart",
    "StreamReceiver",
    "OverflowPolicy",
    "Custom",
    "StreamFilter",
    "ReceiverOverflowError",
    "configure",
]


@pytest.mark.parametrize(("package", "names"), [(engine, ENGINE), (otel_stream, OTEL_STREAM)])
def test_the_promised_names_are_there_and_public(package: Any, names: list[str]) -> None:
    assert [name for name in names if not hasattr(package, name)] == []
    assert set(names) <= set(package.__all__)


@pytest.mark.parametrize("package", [engine, otel_stream])
def test_a_name_that_is_not_there_says_so(package: Any) -> None:
    with pytest.raises(AttributeError, match="nope"):
        _ = package.nope


@pytest.mark.parametrize("package", ["engine", "otel_stream"])
def test_both_packages_come_with_types(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_star_imports_bring_what_is_public_and_nothing_else() -> None:
    program = (
        "import engine, otel_stream\n"
        "for package in (engine, otel_stream):\n"
        "    names = {}\n"
        "    exec(f'from {package.__name__} import *', names)\n"
        "    assert set(names) - {'__builtins__'} == set(package.__all__), package\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- beside LangGraph ------------------------------------------------------------------------------

MODULES = (
    langgraph.channels,
    langgraph.config,
    langgraph.errors,
    langgraph.func,
    langgraph.graph,
    langgraph.managed,
    langgraph.types,
)
#: LangGraph's public names that the engine does not have, and why.
LEFT_OUT = {
    "Checkpointer": "an alias, for the type of an argument",
    "MessageGraph": "deprecated",
    "PregelExecutableTask": "its engine's own",
    "StreamMode": "in otel_stream",
    "StreamPart": "in otel_stream, with more in it",
    "TracePolicy": "for LangSmith's tracing",
    "ensure_valid_checkpointer": "its engine's own",
    "is_invalid_resume": "a resume that fits no schema raises pydantic's ValidationError",
    "omit_payload": "for LangSmith's tracing",
    **dict.fromkeys(
        [
            "CheckpointPayload",
            "CheckpointStreamPart",
            "CheckpointTask",
            "CustomStreamPart",
            "DebugPayload",
            "DebugStreamPart",
            "MessagesStreamPart",
            "TaskPayload",
            "TaskResultPayload",
            "TasksStreamPart",
            "UpdatesStreamPart",
            "ValuesStreamPart",
        ],
        "a shape of stream parts, for type checkers",
    ),
}


def public(module: Any) -> list[str]:
    return list(getattr(module, "__all__", ()))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_langgraphs_names_are_ours(module: Any) -> None:
    missing = {name for name in public(module) if not name.startswith("_") and not hasattr(engine, name)}
    assert missing - LEFT_OUT.keys() == set()


def parameters(function: Any) -> dict[str, Any]:
    """Return the parameters of a function, without what only swallows deprecated ones."""
    kinds = inspect.Parameter
    return {
        name: parameter.kind
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
    }


def order(names: Iterable[str], of: dict[str, Any]) -> list[str]:
    return [name for name in names if of[name] is not inspect.Parameter.KEYWORD_ONLY]


BUILDING = [
    "__init__",
    "add_node",
    "add_edge",
    "add_conditional_edges",
    "add_sequence",
    "set_entry_point",
    "set_finish_point",
    "set_conditional_entry_point",
    "set_node_defaults",
    "validate",
    "compile",
]
RUNNING = [
    "invoke",
    "ainvoke",
    "stream",
    "astream",
    "get_state",
    "aget_state",
    "get_state_history",
    "aget_state_history",
    "update_state",
    "aupdate_state",
    "bulk_update_state",
    "abulk_update_state",
    "with_config",
]


@pytest.mark.parametrize(
    ("ours", "theirs", "method"),
    [
        *((engine.StateGraph, langgraph.graph.StateGraph, name) for name in BUILDING),
        *((engine.CompiledStateGraph, LangGraphCompiled, name) for name in RUNNING),
    ],
)
def test_methods_take_what_langgraphs_take_in_the_same_order(ours: Any, theirs: Any, method: str) -> None:
    mine, other = parameters(getattr(ours, method)), parameters(getattr(theirs, method))
    missing = [name for name in other if name not in mine]
    assert missing == []
    positional = order(other, other)
    assert order(mine, mine)[: len(positional)] == positional


VALUES = [
    "RetryPolicy",
    "CachePolicy",
    "TimeoutPolicy",
    "Command",
    "StateSnapshot",
    "StateUpdate",
    "PregelTask",
    "Overwrite",
    "GraphOutput",
]


@pytest.mark.parametrize("name", VALUES)
def test_values_have_langgraphs_fields_and_defaults(name: str) -> None:
    mine, other = getattr(engine, name), getattr(langgraph.types, name)
    assert fields(mine) == fields(other)


def test_an_interrupt_is_made_and_shown_like_langgraphs() -> None:
    def shown(kind: Any) -> Any:
        return dataclasses.asdict(kind("why?")), dataclasses.asdict(kind(value=1, id="x"))

    assert shown(engine.Interrupt) == shown(langgraph.types.Interrupt)


def fields(kind: Any) -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(kind):
        shown = [
            (field.name, field.default)
            for field in dataclasses.fields(kind)
            if not field.name.startswith("_")
        ]
    else:
        shown = [(name, kind._field_defaults.get(name, dataclasses.MISSING)) for name in kind._fields]
    return [(name, "function" if inspect.isfunction(default) else default) for name, default in shown]


def test_constants_have_langgraphs_values() -> None:
    for name in ("START", "END", "TAG_NOSTREAM", "TAG_HIDDEN"):
        import langgraph.constants

        assert getattr(engine, name) == getattr(langgraph.constants, name)
    assert engine.REMOVE_ALL_MESSAGES == langgraph.graph.message.REMOVE_ALL_MESSAGES
    # LangGraph has it, too, and keeps quiet about it.
    assert set(otel_stream.MODES) - {"tools"} == set(typing.get_args(langgraph.types.StreamMode))
    assert {code.value for code in engine.ErrorCode} <= {code.value for code in langgraph.errors.ErrorCode}


def test_errors_can_be_caught_as_langgraphs_can() -> None:
    for name in public(langgraph.errors):
        theirs = getattr(langgraph.errors, name)
        if not (inspect.isclass(theirs) and issubclass(theirs, Exception)):
            continue
        mine = getattr(engine, name)
        builtin = [base for base in theirs.__mro__ if base.__module__ == "builtins"]
        assert [base for base in builtin if not issubclass(mine, base)] == [], name


def test_the_runtime_offers_what_langgraphs_does() -> None:
    theirs = {field.name for field in dataclasses.fields(langgraph.runtime.Runtime)}
    assert {name for name in theirs if not name.startswith("_")} <= {
        field.name for field in dataclasses.fields(engine.Runtime)
    }


# -- help() ----------------------------------------------------------------------------------------

PUBLIC = [
    pytest.param(getattr(package, name), id=f"{package.__name__}.{name}")
    for package in (engine, otel_stream)
    for name in package.__all__
    if inspect.isclass(getattr(package, name)) or inspect.isfunction(getattr(package, name))
]


def undocumented(owner: type, names: Iterable[str]) -> list[str]:
    """Return the members of a class whose help says nothing."""
    return [
        name
        for name in names
        if callable(found := inspect.getattr_static(owner, name))
        or isinstance(found, classmethod | staticmethod | property)
        if not inspect.getdoc(getattr(owner, name) if not isinstance(found, property) else found)
    ]


def field_names(owner: type) -> list[str]:
    if dataclasses.is_dataclass(owner):
        names = [field.name for field in dataclasses.fields(owner)]
    else:
        declared = getattr(owner, "_fields", None) or getattr(owner, "__annotations__", {})
        names = list(getattr(owner, "__struct_fields__", None) or declared)
    return [name for name in names if not name.startswith("_")]


def commented(owner: type) -> set[str]:
    """Return the fields of a class that have a comment with a colon right above them."""
    found: set[str] = set()
    for kind in owner.__mro__[:-1]:
        if kind.__module__.partition(".")[0] not in ("engine", "otel_stream"):
            continue
        above = ""
        for line in inspect.getsource(kind).splitlines():
            words = line.strip()
            name = words.partition(":")[0].partition(" ")[0]
            if above.startswith("#:"):
                found.add(name)
            above = words if words.startswith("#:") or not above.startswith("#:") else ""
    return found


@pytest.mark.parametrize("public", PUBLIC)
def test_everything_public_says_what_it_means(public: Any) -> None:
    assert inspect.getdoc(public)
    if not inspect.isclass(public):
        return
    ours = [kind for kind in public.__mro__ if kind.__module__.startswith(("engine", "otel_stream"))]
    own = [name for kind in ours for name in vars(kind)]
    assert undocumented(public, {name for name in own if not name.startswith("_")}) == []
    told = inspect.getdoc(public) or ""
    explained = commented(public)
    assert [
        name for name in field_names(public) if not re.search(rf"\b{name}\b", told) and name not in explained
    ] == []


def test_help_of_a_stream_config_says_what_each_setting_means() -> None:
    told = inspect.getdoc(otel_stream.StreamConfig) or ""
    assert [name for name in field_names(otel_stream.StreamConfig) if f"``{name}``" not in told] == []
    assert "pydantic" not in told
