"""``otel-stream run MODULE:GRAPH``: any graph, shown while it runs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from otel_stream.cli.options import UsageError
from otel_stream.cli.running import Program, its_house

GraphArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:GRAPH",
        help="A graph, or a function that returns one: package.module:graph, or path/to/file.py:graph.",
    ),
]
InputOption = Annotated[
    str, typer.Option(metavar="JSON", help="The graph's input; @FILE reads a file, - standard input.")
]
ConfigOption = Annotated[
    str, typer.Option("--config", metavar="JSON", help='The run\'s config: {"recursion_limit": 50}.')
]
AnswerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--answer", metavar="JSON", help="What it is answered when it asks; again for the next question."
    ),
]


def read_all(option: str, texts: Iterable[str]) -> list[Any]:
    """Read what was given for an option that may be given again.

    Raises:
        UsageError: a text is no JSON.
    """
    return [_json(option, text) for text in texts]


def load(name: str, given: str, config: str, *, asked: bool = False) -> Program:
    """Import a graph, and read its input.

    Where it may be ``asked``, it is given a checkpointer in memory if it has none: it couldn't go on without.

    Raises:
        UsageError: there is no such graph, or a text is no JSON.
    """
    graph = _graph(name)
    if asked and getattr(graph, "checkpointer", None) is None and hasattr(graph, "copy"):
        graph = graph.copy(update={"checkpointer": its_house(graph, "checkpoint.memory").InMemorySaver()})
    said = _json("--config", config) if config else {}
    if not isinstance(said, dict) or not isinstance(said.get("configurable", {}), dict):
        raise UsageError('--config: give a mapping, such as {"configurable": {"user": "ada"}}')
    said["configurable"] = {"thread_id": str(uuid4()), **said.get("configurable", {})}
    return Program(name, graph, _json("--input", given) if given else {}, said)


def _json(option: str, text: str) -> Any:
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise UsageError(
                f"{option}: {text[1:]!r} cannot be read ({reason}); give a file that can"
            ) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{option}: {text[:60]!r} is no JSON ({error}); give JSON, or @FILE") from None


def _graph(name: str) -> Any:
    module_name, _, path = name.rpartition(":")
    if not module_name or not path:
        raise UsageError(f"{name!r} names no graph; give MODULE:GRAPH, such as app.graphs:triage")
    found: Any = _module(module_name)
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise UsageError(f"{module_name!r} has no {path!r}; give the name of a graph in it")
        found = getattr(found, attribute)
    if inspect.isfunction(found) or inspect.isclass(found):
        found = found()
    if not hasattr(found, "astream") and hasattr(found, "compile"):
        found = found.compile()
    if not hasattr(found, "astream"):
        raise UsageError(
            f"{name!r} is no graph but of type {type(found).__name__}; give a StateGraph, or one compiled"
        )
    return found


def _module(name: str) -> Any:
    sys.path[:0] = [""] if "" not in sys.path else []
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        file = Path(name)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise UsageError(f"{name!r} is no file; give one, or the name of a module")
        sys.path.insert(0, str(file.parent.resolve()))
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(f"{name!r} cannot be imported ({error}); give a module or a file") from None
    return module
