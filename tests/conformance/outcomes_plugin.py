"""The pytest plugin inside the process that runs the tests of others.

It answers LangGraph's name with the package ``--target``, and writes an outcome per test, one JSON line each,
for the process outside to read.
"""

import json
from pathlib import Path

import alias
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--target", default="engine", help="package that answers to langgraph's name")
    group.addoption("--outcomes", type=Path, help="file for the outcomes, JSON lines")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # A conftest may import LangGraph. In a worker of xdist's this is not called.
    alias.install(early_config.known_args_namespace.target)


def pytest_configure(config: pytest.Config) -> None:
    alias.install(config.getoption("target"))
    if config.getoption("outcomes") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config.getoption("outcomes")))


def pytest_collection_finish() -> None:
    alias.Missing.collecting = False


class Outcomes:
    def __init__(self, file: Path) -> None:
        self._file = file.open("w")

    def _write(self, test: str, outcome: str, why: object) -> None:
        message = getattr(getattr(why, "reprcrash", None), "message", None) or str(why or "")
        self._file.write(json.dumps({"test": test, "outcome": outcome, "why": message}) + "\n")
        self._file.flush()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._write(report.nodeid, report.outcome, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(report.nodeid, "failed", report.longrepr)
