"""What may be used, and what is found: a planted dependency under a licence that may not be is caught."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from licences import distributions as wheel
from licences import jars, modules, packages
from licences.__main__ import main
from licences.policy import Dependency, allows, refused
from licences.recognition import recognised, texts

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go here")

#: How programs under these licences say so.
AGPL = """
This program is free software: you can redistribute it and/or modify
it under the terms of the GNU Affero General Public License as published by
the Free Software Foundation, either version 3 of the License, or
(at your option) any later version.
"""
SSPL = """
This program is free software: you can redistribute it and/or modify
it under the terms of the Server Side Public License, version 1,
as published by MongoDB, Inc.
"""
BUSL = "License text copyright (c) 2020 MariaDB Corporation Ab.\n\nBusiness Source License 1.1\n\nTerms"
ELASTIC = "Elastic License 2.0\n\nURL: https://www.elastic.co/licensing/elastic-license"
MIT = """
Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

# -- what is allowed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "Apache-2.0 WITH LLVM-exception",
        "MPL-2.0 AND (Apache-2.0 OR MIT)",
        "GPL-3.0-only OR MIT",
        "LGPL-2.1-or-later",
    ],
)
def test_permissive_and_weak_copyleft_may_be_used(licence: str) -> None:
    assert allows(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "AGPL-3.0-only",
        "AGPL-3.0-or-later",
        "AGPL-1.0",
        "SSPL-1.0",
        "BUSL-1.1",
        "Elastic-2.0",
        "GPL-2.0-only",
        "MIT AND AGPL-3.0-only",
        "MIT AND (SSPL-1.0 OR Elastic-2.0)",
        "CommonsClause",
        "LicenseRef-Proprietary",
        "unknown",
        "",
    ],
)
def test_whatever_is_not_listed_may_not(licence: str) -> None:
    assert not allows(licence)


def test_each_refusal_names_what_and_why_and_the_rest_passes() -> None:
    found = [
        Dependency("good", "1", ("MIT", "Apache-2.0 OR BSD-2-Clause")),
        Dependency("bad", "2", ("MIT", "AGPL-3.0-only")),
        Dependency("bare", "3", ()),
    ]
    assert list(refused(found)) == [
        "bad 2 is under MIT AND AGPL-3.0-only, which is not in licences/policy.py: do without it",
        "bare 3 has no licence that can be found: do without it",
    ]


def test_the_table_has_everything_and_the_exit_code_says_whether_all_is_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, bad = Dependency("good", "1", ("MIT",)), Dependency("bad", "2", ("AGPL-3.0-only",))
    assert main([("one", [good])]) == 0
    assert capsys.readouterr() == ("one: 1\n  MIT (1): good 1\n", "")
    assert main([("one", [good]), ("two", [bad, good])]) == 1
    said = capsys.readouterr()
    assert said.out.endswith("two: 2\n  AGPL-3.0-only (1): bad 2\n  MIT (1): good 1\n")
    assert said.err == (
        "two: bad 2 is under AGPL-3.0-only, which is not in licences/policy.py: do without it\n"
    )


# -- texts ----------------------------------------------------------------------------------------------


@needs_go
@pytest.mark.timeout(300)
def test_a_text_is_known_for_what_it_is(tmp_path: Path) -> None:
    known = {
        "MIT": MIT,
        "AGPL-3.0-or-later": AGPL,
        "SSPL-1.0": SSPL,
        "BUSL-1.1": BUSL,
        "Elastic-2.0": ELASTIC,
        "unknown": "All rights reserved.",
        # in a text with another one
        "GPL-3.0-or-later": MIT + AGPL.replace("Affero ", ""),
    }
    for licence, text in known.items():
        (tmp_path / f"LICENSE-{licence}").write_text(text)
    found = recognised(texts(tmp_path))
    assert len(found) == len(known)
    for file, licences in found.items():
        assert file.name.removeprefix("LICENSE-") in licences
        assert all(allows(one) for one in licences) is (file.name == "LICENSE-MIT")


def test_licences_are_looked_for_in_files_that_are_texts(tmp_path: Path) -> None:
    wanted = {"LICENSE", "licence.md", "COPYING", "UNLICENSE", "LICENSE-MIT", "LICENSE.MPL-2.0"}
    for name in (*wanted, "license.go", "README", "NOTICE"):
        (tmp_path / name).write_text("x")
    (tmp_path / "licenses").mkdir()
    assert {file.name for file in texts(tmp_path)} == wanted
    assert texts(tmp_path / "nowhere") == []


# -- Python ---------------------------------------------------------------------------------------------

Install = Callable[..., Distribution]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution beside those that are installed, with lines of metadata and texts of licences."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(name: str, *metadata: str, **licences: str) -> Distribution:
        folder = site / f"{name}-1.0.dist-info"
        (folder / "licenses").mkdir(parents=True)
        lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *metadata]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        files = [folder / "licenses" / file for file in licences]
        for file in files:
            file.write_text(licences[file.name])
        listed = [file.relative_to(site).as_posix() for file in (folder / "METADATA", *files)]
        (folder / "RECORD").write_text("".join(f"{file},,\n" for file in listed))
        (found,) = distributions(name=name, path=[str(site)])
        return found

    return install


def test_what_is_needed_is_followed_through_extras_and_markers(install: Install) -> None:
    install("top", "Requires-Dist: middle[fast]", "Requires-Dist: never; python_version < '3'")
    install("middle", "Provides-Extra: fast", "Requires-Dist: quick; extra == 'fast'", "Requires-Dist: top")
    install("quick", "Requires-Dist: middle")
    assert [one.name for one in wheel.needed(["top"], "top")] == ["middle", "quick"]
    assert {one.name for one in wheel.needed(["middle"])} == {"middle", "top", "quick"}
    with pytest.raises(wheel.NotInstalledError, match=r"^absent is not installed: run make licences$"):
        list(wheel.needed(["absent"]))


@needs_go
@pytest.mark.timeout(300)
def test_a_planted_distribution_is_caught_by_what_it_declares_or_by_its_text(install: Install) -> None:
    nothing = "Summary: says nothing of licences"
    planted = [
        install("p1", "License-Expression: AGPL-3.0-only"),
        install("p2", "License: AGPL-3.0-or-later"),
        install("p3", "License: SSPL"),
        install("p4", "License: Elastic License 2.0"),
        install("p5", "Classifier: License :: OSI Approved :: GNU Affero General Public License v3"),
        install("p6", "Classifier: License :: Other/Proprietary License"),
        install("p7", nothing),
    ]
    for number, text in enumerate((AGPL, SSPL, BUSL, ELASTIC)):
        planted += [install(f"t{number}", "License-Expression: MIT", LICENSE=text)]
        planted += [install(f"u{number}", nothing, COPYING=text)]
    good = [
        install("g1", "License-Expression: MIT", LICENSE=MIT),
        install("g2", "Classifier: License :: OSI Approved :: MIT License"),
        install("g3", "License: Apache-2.0", LICENSE=MIT),
        install("g4", nothing, LICENSE=MIT),
        install("g5", "License: MIT License, Apache License, Version 2.0"),
    ]
    found = wheel.dependencies([*planted, *good])
    caught = [sentence.partition(" ")[0] for sentence in refused(found)]
    assert caught == sorted(one.name for one in planted)
    said = {one.name: one.licences for one in found if one.name.startswith("g")}
    either = ("MIT OR Apache-2.0",)
    assert said == {"g1": ("MIT",), "g2": ("MIT",), "g3": ("Apache-2.0", "MIT"), "g4": ("MIT",), "g5": either}


# -- Go -------------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program of two modules: it imports ``planted/deep``, which is in a folder beside it."""
    main, planted = tmp_path / "main", tmp_path / "planted"
    (planted / "deep").mkdir(parents=True)
    main.mkdir()
    (planted / "go.mod").write_text("module example.test/planted\n\ngo 1.21\n")
    (planted / "deep" / "deep.go").write_text("package deep\n\nfunc Do() {}\n")
    (main / "go.mod").write_text(
        "module example.test/main\n\ngo 1.21\n\nrequire example.test/planted v1.0.0\n\n"
        "replace example.test/planted => ../planted\n"
    )
    imports = 'package main\n\nimport "example.test/planted/deep"\n\n'
    (main / "main.go").write_text(f"{imports}func main() {{ deep.Do() }}\n")
    return main


@needs_go
@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["LICENSE", "deep/COPYING"])
def test_a_planted_module_is_caught_wherever_its_licence_is(program: Path, place: str) -> None:
    (program.parent / "planted" / "LICENSE").write_text(MIT)
    (program.parent / "planted" / place).write_text(AGPL)
    found = modules.dependencies(modules.linked(program, "."))
    assert [one.name for one in found] == ["example.test/planted"]
    assert [sentence.partition(" ")[0] for sentence in refused(found)] == ["example.test/planted"]


@needs_go
@pytest.mark.timeout(300)
def test_a_module_without_a_licence_is_caught_and_one_with_a_good_one_is_not(program: Path) -> None:
    (bare,) = modules.dependencies(modules.linked(program, "."))
    assert list(refused([bare])) == [
        "example.test/planted v1.0.0 has no licence that can be found: do without it"
    ]
    (program.parent / "planted" / "LICENSE").write_text(MIT)
    (good,) = modules.dependencies(modules.linked(program, "."))
    assert (good.licences, list(refused([good]))) == (("MIT",), [])


@needs_go
@pytest.mark.timeout(300)
def test_a_module_that_is_required_and_not_linked_says_nothing(program: Path) -> None:
    (program / "main.go").write_text("package main\n\nfunc main() {}\n")
    assert modules.dependencies(modules.linked(program, ".")) == []


# -- npm ------------------------------------------------------------------------------------------------


def test_packages_of_a_lock_file_have_what_it_says(tmp_path: Path) -> None:
    installed = {
        "": {"name": "ours"},
        "node_modules/@scope/good": {"version": "1.0.0", "license": "ISC"},
        "node_modules/a/node_modules/bad": {"version": "2.0.0", "license": "AGPL-3.0-only"},
        "node_modules/bare": {"version": "3.0.0"},
    }
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "package-lock.json").write_text(json.dumps({"packages": installed}))
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "package-lock.json").write_text("{}")
    (lock,) = packages.locks(tmp_path)
    found = packages.dependencies(lock)
    assert found == [
        ("@scope/good", "1.0.0", ("ISC",)),
        ("bad", "2.0.0", ("AGPL-3.0-only",)),
        ("bare", "3.0.0", ()),
    ]
    assert len(list(refused(found))) == 2


# -- Maven ----------------------------------------------------------------------------------------------

DESCRIPTION = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  {parent}
  <artifactId>{name}</artifactId>
  {version}
  <dependencies><dependency><artifactId>another</artifactId><version>9</version></dependency></dependencies>
  {licences}
</project>
"""


def test_archives_have_what_their_descriptions_or_those_of_their_parents_say(tmp_path: Path) -> None:
    def describe(name: str, *licences: str, parent: str = "", archive: bool = True) -> None:
        named = "".join(f"<license><name>{one}</name></license>" for one in licences)
        text = DESCRIPTION.format(
            parent=f"<parent><artifactId>{parent}</artifactId><version>1</version></parent>"
            if parent
            else "",
            name=name,
            version="" if parent else "<version>1</version>",
            licences=f"<licenses>{named}</licenses>" if licences else "",
        )
        (tmp_path / f"{name}-1.pom").write_text(text)
        if archive:
            (tmp_path / f"{name}-1.jar").touch()

    describe("grandparent", "The Apache License, Version 2.0", archive=False)
    describe("parent", parent="grandparent", archive=False)
    describe("inherits", parent="parent")
    describe("own", "MIT License", parent="parent")
    describe("choice", "GPL2", "BSD-2-Clause")
    describe("planted", "GNU Affero General Public License v3")
    describe("bare")
    found = jars.dependencies(tmp_path)
    assert found == [
        ("bare", "1", ()),
        ("choice", "1", ("GPL2 OR BSD-2-Clause",)),
        ("inherits", "1", ("Apache-2.0",)),
        ("own", "1", ("MIT",)),
        ("planted", "1", ("GNU Affero General Public License v3",)),
    ]
    assert len(list(refused(found))) == 2


# -- ours -----------------------------------------------------------------------------------------------


def test_nothing_here_names_the_modules_of_stores_under_the_agpl() -> None:
    root = Path(__file__).parents[1]
    pattern = re.compile("github.com/" + r"grafana/(tempo|loki)\b", re.IGNORECASE)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone")
    names = listed.stdout.decode().split("\0")
    files = [root / name for name in names if name and (root / name).is_file()]
    found = [file for file in files if pattern.search(file.read_text(encoding="utf-8", errors="replace"))]
    assert found == []
