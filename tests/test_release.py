"""A release can be trusted: one version, a changelog that is cut, a statement that says what it is about."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import otel_stream
from release import provenance, smoke, versions
from release.artefacts import ROOT, digest
from release.pythons import ADVERTISED

LOG = """# Changelog

## [Unreleased]

### Added

- Something.

## [0.1.0] - 2026-01-01

- The first.
"""
SOURCE = '"""A package."""\n\n__version__ = "0.1.0"\n'


def test_one_place_says_which_version_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert versions.current(versions.SOURCE.read_text()) == otel_stream.__version__ == version("otel-stream")


def test_what_is_unreleased_becomes_the_versions_own(tmp_path: Path) -> None:
    (tmp_path / "log.md").write_text(LOG)
    (tmp_path / "source.py").write_text(SOURCE)
    versions.write("0.2.0", "2026-02-02", tmp_path / "log.md", tmp_path / "source.py")
    assert (tmp_path / "log.md").read_text() == LOG.replace(
        "## [Unreleased]\n", "## [Unreleased]\n\n## [0.2.0] - 2026-02-02\n"
    )
    assert (tmp_path / "source.py").read_text() == SOURCE.replace("0.1.0", "0.2.0")


@pytest.mark.parametrize(
    ("wanted", "log", "why"),
    [
        ("soon", LOG, "'soon' is no version; give one such as 0.2.0"),
        ("0.1.0", LOG, "0.1.0 does not come after 0.1.0, which CHANGELOG.md has; choose a later one"),
        ("0.0.9", LOG, "0.0.9 does not come after 0.1.0, which CHANGELOG.md has; choose a later one"),
        (
            "0.2.0",
            LOG.replace("- Something.\n", ""),
            "CHANGELOG.md says of no change under [Unreleased]; write what has changed first",
        ),
    ],
)
def test_what_cannot_be_cut_says_why(wanted: str, log: str, why: str) -> None:
    with pytest.raises(versions.CutError) as caught:
        versions.cut(log, SOURCE, wanted, "2026-02-02")
    assert str(caught.value) == why


def test_the_changelog_that_there_is_can_be_cut() -> None:
    text, source = versions.cut(
        versions.CHANGELOG.read_text(), versions.SOURCE.read_text(), "99.0", "2026-02-02"
    )
    assert versions.current(source) == "99.0"
    assert text.count("## [99.0] - 2026-02-02") == 1


def test_a_statement_names_each_file_by_what_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "wheel.whl"
    file.write_bytes(b"wheel")
    told = provenance.statement([file], "HEAD")
    assert told["subject"] == [{"name": "wheel.whl", "digest": {"sha256": digest(file)}}]
    (source, pins) = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert len(source["digest"]["gitCommit"]) == 40
    assert pins["digest"]["sha256"] == digest(ROOT / "constraints.txt")


def test_each_python_that_is_advertised_is_new_enough() -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert oldest == f">={ADVERTISED[0]}"


def test_the_wheel_is_tried_with_what_the_readme_shows_and_nothing_that_is_hidden_in_it() -> None:
    page = "<!--\n```python\nimport langgraph\n```\n-->\n\n```python\nimport engine\n```\n"
    assert smoke.shown(page) == ["import engine\n"]
