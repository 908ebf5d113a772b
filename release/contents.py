"""What the wheel brings along: a CycloneDX list of it, with the texts of all licences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from licences.recognition import texts
from release.artefacts import ROOT
from release.environments import made

_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_PAGE: Final = ROOT / "otel_stream" / "view" / "page" / "package-lock.json"
#: What is in every environment, and no part of the wheel.
_INSTALLERS: Final = {"pip", "setuptools", "wheel"}


def environment(wheel: Path, work: Path) -> Path:
    """Return the interpreter of an environment that has ``wheel``, with all extras."""
    extras = ",".join(sorted(_PROJECT["optional-dependencies"]))
    return made(work / "contents", sys.executable, f"{wheel}[{extras}]")


def bill_of_materials(wheel: Path, python: Path, epoch: str) -> Path:
    """Write beside ``wheel`` what is installed beside ``python``, and what its page is bundled with."""
    listed = python.parents[1] / "listed.json"
    options = ["--output-reproducible", "--short-PURLs", "-o", str(listed)]
    command = [sys.executable, "-m", "cyclonedx_py", "environment", *options, str(python)]
    subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": epoch})  # noqa: S603
    found = json.loads(listed.read_text(encoding="utf-8"))
    ours = _only(found, _PROJECT["name"])
    # It was installed from a file here, which is nobody's business.
    ours.pop("externalReferences", None)
    found["metadata"]["component"] = {**ours, "type": "library"}
    found["components"] = [
        one for one in found["components"] if one["name"] not in {*_INSTALLERS, _PROJECT["name"]}
    ]
    found["components"] += _bundled()
    written = wheel.with_name(f"{wheel.name.removesuffix('.whl')}.cdx.json")
    written.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return written


def count(bill: Path) -> int:
    """Return how many components a list has."""
    return len(json.loads(bill.read_text(encoding="utf-8"))["components"])


def _only(found: dict[str, Any], name: str) -> dict[str, Any]:
    (ours,) = (one for one in found["components"] if one["name"] == name)
    return dict(ours)


def _bundled() -> Iterator[dict[str, Any]]:
    """Yield the packages that the viewer's page is made of."""
    for place, one in json.loads(_PAGE.read_text(encoding="utf-8"))["packages"].items():
        if place and not one.get("dev"):
            name = place.rpartition("node_modules/")[2]
            purl = f"pkg:npm/{name.replace('@', '%40')}@{one['version']}"
            yield {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": one["version"],
                "purl": purl,
                "licenses": [{"license": {"id": one["license"]}}],
            }


def licence_texts(bill: Path, python: Path) -> Path:
    """Write the licences of what is installed beside ``python`` and of the page's, as one text to pass on."""
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    found = {one.name: one for one in distributions(path=[str(packages)]) if one.name not in _INSTALLERS}
    parts = [_told(found[name]) for name in sorted(found, key=str.lower)]
    parts.append((ROOT / "otel_stream/view/static/licences.txt").read_text(encoding="utf-8"))
    written = bill.with_name(bill.name.replace(".cdx.json", ".licences.txt"))
    written.write_text(f"\n{'-' * 79}\n\n".join(parts), encoding="utf-8")
    return written


def _told(one: Distribution) -> str:
    folders = {
        Path(str(one.locate_file(file))).parent for file in one.files or () if ".dist-info" in str(file)
    }
    said = "\n".join(file.read_text("utf-8", "replace") for place in sorted(folders) for file in texts(place))
    return f"{one.name} {one.version}\n\n{said or 'brings no text of its licence; the list has its name'}\n"
