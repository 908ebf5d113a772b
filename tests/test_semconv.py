"""The registry of names: what is generated from it, and what it refuses."""

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from otel_stream import semconv as names
from otel_stream.config import MODES
from semconv.__main__ import GENERATED, ROOT, main
from semconv.resolve import FOLDER, Registry, RegistryError

REGISTRY = Registry()

# -- what is generated -----------------------------------------------------------------------------


def test_generated_files_are_what_the_registry_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--check"]), capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("path", GENERATED)
def test_a_file_edited_by_hand_is_named_and_written_anew(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(root=tmp_path) == 0
    (tmp_path / path).write_text((ROOT / path).read_text() + "\n")
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == f"{path} is not what semconv/registry says: run make semconv\n"
    assert main(root=tmp_path) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes()


def test_the_module_has_the_names_of_the_registry_and_no_others() -> None:
    words = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    found = [value for value in vars(names).values() if isinstance(value, names.Metric)]
    for word in ("", "gen_ai_latest_experimental"):
        found += [one for one in names.genai_names(word) if isinstance(one, names.Metric)]
    spans = {(span.group.ours.span_name or "").partition(" ")[0] for span in REGISTRY.spans.values()}
    assert words | set(names.EVENT_BY_MODE.values()) == {
        names.SCOPE,
        names.SCHEMA_URL,
        *spans,
        *REGISTRY.attributes,
        *REGISTRY.events,
    }
    assert {metric.name: tuple(metric[1:]) for metric in found} == {
        name: (
            metric.group.unit,
            metric.group.brief,
            metric.group.ours.boundaries.values if metric.group.ours.boundaries else (),
        )
        for name, metric in REGISTRY.metrics.items()
    }
    assert tuple(names.EVENT_BY_MODE) == MODES


def test_the_page_mentions_every_name() -> None:
    page = (ROOT / "docs/reference/telemetry.md").read_text()
    every = {*REGISTRY.attributes, *REGISTRY.events, *REGISTRY.metrics}
    assert {name for name in every if f"`{name}`" not in page} == set()


def test_the_module_is_a_leaf() -> None:
    lines = (ROOT / "otel_stream/semconv.py").read_text().splitlines()
    assert {line for line in lines if "import " in line} == {
        "from __future__ import annotations",
        "from typing import Final, NamedTuple",
    }


@pytest.mark.parametrize(
    ("opt_in", "attribute", "metric"),
    [
        ("", "gen_ai.workflow.name", "gen_ai.invoke_workflow.duration"),
        ("http,database/dup", "gen_ai.workflow.name", "gen_ai.invoke_workflow.duration"),
        ("gen_ai_latest_experimental", "gen_ai.agent.name", "gen_ai.invoke_agent.duration"),
        ("http , gen_ai_latest_experimental", "gen_ai.agent.name", "gen_ai.invoke_agent.duration"),
    ],
)
def test_the_version_switch_chooses_the_genai_names(opt_in: str, attribute: str, metric: str) -> None:
    chosen = names.genai_names(opt_in)
    assert (chosen.graph_attribute, chosen.run_duration.name) == (attribute, metric)


# -- what the registry refuses ---------------------------------------------------------------------


def planted(tmp_path: Path, file: str, old: str, new: str) -> Path:
    folder = tmp_path / "registry"
    shutil.copytree(FOLDER, folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("run.yaml", "type: string\n", "typ: string\n", "Field required"),
        ("run.yaml", "type: string\n", "type: text\n", "Input should be"),
        ("run.yaml", "- id: graph.name", "- id: Graph.Name", "should match pattern"),
        ("run.yaml", '["triage"]', "[3]", "graph.name is of type string"),
        ("run.yaml", '        examples: ["triage"]\n', "", "graph.name has no example"),
        ("run.yaml", "- id: graph.ns", "- id: graph.name", "attribute graph.name is defined more than once"),
        ("run.yaml", "ref: graph.run.end", "ref: graph.run.finish", "graph.run.finish, which no registry"),
        ("run.yaml", "- id: graph.run.tags", "- id: graph.run.labels", "refers to graph.run.tags"),
        ("run.yaml", "- id: graph.ns", "- id: graph.run", "graph.ns, which no registry"),
        ("run.yaml", "ref: graph.sampling.force", "ref: graph.name", "no signal has graph.sampling.force"),
        ("run.yaml", "name: graph.run.errors", "name: graph.run.active", "metric graph.run.active is"),
        ("run.yaml", 'unit: "{run}"', "unit: ms", "should match pattern"),
        ("run.yaml", "span_name: invoke_workflow {graph.name}", "constant: RUN", "span_name"),
        ("run.yaml", "link_of: span.graph.run", "link_of: span.graph.walk", "which is no span"),
        ("superstep.yaml", "ref: graph.name", "ref: graph.run.id", "has graph.run.id, which has no bound"),
        ("superstep.yaml", "[1, 2, 4,", "[1, 4, 2,", "do not ascend"),
        ("superstep.yaml", "instrument: histogram", "instrument: counter", "only they, have boundaries"),
        ("node.yaml", "extends: attributes.graph.context", "extends: nobody", "which is not in the registry"),
        ("node.yaml", "name: graph.node\n", "name: graph.route\n", "event graph.route is defined more than"),
        ("part.yaml", "severity: [DEBUG], ", "", "severity"),
        ("receiver.yaml", "- id: graph.stream.policy", "- id: graph.stream", "graph.stream.policy, which no"),
        ("manifest.yaml", "schemas/0.1.0", "schemas", "should match pattern"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_registry_is_refused(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    folder = planted(tmp_path, file, old, new)
    with pytest.raises((RegistryError, ValidationError)) as caught:
        Registry(folder)
    assert message in str(caught.value)


def test_a_new_file_is_part_of_the_registry_and_a_name_is_no_namespace(tmp_path: Path) -> None:
    folder = planted(tmp_path, "run.yaml", "groups:", "groups:")
    (folder / "mine.yaml").write_text(
        """
groups:
  - id: registry.mine
    type: attribute_group
    brief: Mine.
    attributes:
      - { id: graph.run, type: int, stability: development, brief: A number., examples: [1] }
  - id: event.mine
    type: event
    name: graph.mine
    stability: development
    brief: Mine.
    attributes: [{ ref: graph.run }]
    annotations: { otel_stream: { severity: [INFO] } }
"""
    )
    with pytest.raises(RegistryError) as caught:
        Registry(folder)
    assert str(caught.value) == "graph.run is a namespace of others, too"
    text = (folder / "mine.yaml").read_text()
    (folder / "mine.yaml").write_text(text.replace("graph.run", "graph.mine_number"))
    assert list(Registry(folder).events["graph.mine"].uses) == ["graph.mine_number"]
