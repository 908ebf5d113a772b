"""Run all of LangGraph's public-API tests against our engine, and say what fails.

    python -m tests.conformance.survey [--target langgraph] [-k EXPRESSION] [FILE ...]

A table per file goes to the terminal; what did not pass, with the reason, to ``.survey/<target>.txt``, and
the reasons, counted, to the end of it. A test function passes when all its parameter sets do. *Private* tests
look inside LangGraph: at a module with an underscore, its Pregel and channels, a snapshot of its drawings. No
other engine can be expected to pass them all, so they run with --all only.
"""

import argparse
import ast
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.alias import lacking
from tests.conformance.suite import ROOT, Outcome, file_of, run, unpack

# Left out, by what they test: how LangGraph stores channels and what it stored before
# (test_delta_channel_*, test_checkpoint_migration, test_interrupt_migration, test_serde_allowlist,
# test_prune_postgres); its parts one by one (test_algo, test_channels, test_runnable,
# test_runner_futures, test_utils, test_config_async, test_pregel_debug, test_subgraph_detection,
# test_deprecation, test_trace_policy, test_tracing_interops, test_tool_stream_handler); its projections,
# which are its own code on our parts (test_stream_*_transformer, test_stream_data_transformers,
# test_stream_before_builtins, test_stream_events_v3_*, test_pregel_stream_events_v3,
# test_interleave_arrival_order); its client of a server (test_remote_graph*); and its annotations
# (test_type_checking).
FILES = (
    "test_pregel",
    "test_pregel_async",
    "test_stream_events_v3",
    "test_retry",
    "test_runtime",
    "test_time_travel",
    "test_time_travel_async",
    "test_interruption",
    "test_interrupt_state",
    "test_strict_resume",
    "test_parent_command",
    "test_parent_command_async",
    "test_managed_values",
    "test_state",
    "test_messages_state",
    "test_subgraph_persistence",
    "test_subgraph_persistence_async",
    "test_large_cases",
    "test_large_cases_async",
    "test_pydantic",
    "test_stream_namespaces",
    "test_graph_callbacks",
)

#: Modules of LangGraph that are its inside, by their names.
INSIDE = ("langgraph.pregel", "langgraph.channels", "langgraph.stream", "langgraph.prebuilt")


def is_inside(module: str) -> bool:
    """Whether a module is part of how LangGraph does it."""
    return "._" in module or module.startswith(INSIDE)


def private_names(tree: ast.Module) -> set[str]:
    """The names that a test module imports from LangGraph's inside."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("langgraph.")
        for alias in node.names
        if is_inside(node.module or "") or alias.name.startswith("_")
    } - {"INTERRUPT", "is_supported_by_pydantic"}


def is_private(test: ast.FunctionDef | ast.AsyncFunctionDef, names: set[str]) -> bool:
    """Whether the test uses what only LangGraph has."""
    if "snapshot" in {argument.arg for argument in test.args.args}:
        return True
    for node in ast.walk(test):
        if isinstance(node, ast.Name) and node.id in names:
            return True
        if isinstance(node, ast.ImportFrom) and (
            "._" in (node.module or "") or (node.module or "").startswith(INSIDE)
        ):
            return True
    return False


def imported_names(file: Path) -> Iterator[tuple[str, str]]:
    """What a test module imports from LangGraph's outside."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("langgraph."):
            module = node.module or ""
            yield from ((module, name.name) for name in node.names if not is_inside(module))


def tests_in(file: Path) -> Iterator[tuple[str, bool]]:
    """Yield the id of each test of a file, and whether it is private."""
    tree = ast.parse(file.read_text())
    names = private_names(tree)
    for holder in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        inside = f"{holder.name}::" if isinstance(holder, ast.ClassDef) else ""
        for node in holder.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                yield f"tests/{file.name}::{inside}{node.name}", is_private(node, names)


def worst(outcomes: list[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: ("passed", "skipped", "failed").index(outcome.outcome))


def survey(files: list[str], target: str, *, private: bool, expression: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(folder)
        sources = [folder / "tests" / f"{file}.py" for file in files]
        tests = [test for source in sources for test, hidden in tests_in(source) if private or not hidden]
        names = [name for source in sources for name in imported_names(source)]
        arguments = ["-n", "2", "--dist", "worksteal", *(["-k", expression] if expression else [])]
        found = run(tests, target, folder, *arguments)
    results = {
        test: worst(outcomes or [Outcome(test, "failed", "did not run")])
        for test, outcomes in found.items()
        if outcomes or not expression
    }
    print_table(results)
    if target != "langgraph":
        print("the engine has no", ", ".join(lacking(target, names)) or "gap among the public names")
    write_failures(results, ROOT / ".survey" / f"{target}.txt")


def print_table(results: dict[str, Outcome]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for test, outcome in results.items():
        counts[file_of(test)][outcome.outcome] += 1
        counts["all"][outcome.outcome] += 1
    print(f"{'':45}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for file, count in sorted(counts.items(), key=lambda item: (item[0] == "all", item[0])):
        print(f"{file:45}{count['passed']:8}{count['failed']:8}{count['skipped']:9}")


def write_failures(results: dict[str, Outcome], file: Path) -> None:
    failed = {test: outcome.why for test, outcome in sorted(results.items()) if outcome.outcome == "failed"}
    reasons = Counter(" ".join(why.split())[:110] for why in failed.values())
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as out:
        for test, why in failed.items():
            out.write(f"{test}\n    {' '.join(why.split())[:400]}\n")
        out.write("\nreasons\n")
        for reason, count in reasons.most_common():
            out.write(f"{count:5} {reason}\n")
    print(f"{len(failed)} tests failed, see {file.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="survey", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "files", nargs="*", default=FILES, metavar="FILE", help="test_pregel, ... (default: all)"
    )
    parser.add_argument("--target", default="engine", help="the package to test (default: engine)")
    parser.add_argument("--all", action="store_true", help="private tests too")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only tests that match, as in pytest")
    options = parser.parse_args()
    survey(list(options.files), options.target, private=options.all, expression=options.k)


if __name__ == "__main__":
    main()
