"""Which files are found, which are left out, and what is said when there are none."""

from pathlib import Path

import pytest

from engine.demo import sources
from engine.demo.sources import NothingToAudit, Selection, Target, select, target


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.py", "a/c.py", "a/__pycache__/d.py", ".hidden/e.py", "venv/f.py", "notes.txt", "a/a.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    return tmp_path


def test_files_come_sorted_without_other_peoples_folders(tree: Path) -> None:
    assert select(*target(str(tree)), limit=10) == Selection(
        [{"path": "a/a.py", "size": 6}, {"path": "a/c.py", "size": 6}, {"path": "b.py", "size": 6}],
        {"beyond the limit": 0, "too large": 0},
    )


def test_what_is_left_out_is_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "large.py").write_text("x = 12345\n")
    monkeypatch.setattr(sources, "LARGEST", 9)
    files, left_out = select(*target(str(tree)), limit=1)
    assert ([file["path"] for file in files], left_out) == (
        ["a/a.py"],
        {"beyond the limit": 2, "too large": 1},
    )


def test_a_single_file_is_a_tree_too(tree: Path) -> None:
    assert target(str(tree / "b.py")) == Target(str(tree), ("b.py",))
    assert select(*target(str(tree / "b.py")), limit=5).files == [{"path": "b.py", "size": 6}]


def test_without_a_path_the_standard_library_is_read() -> None:
    files, left_out = select(*target(None), limit=1000)
    assert len(files) > 100
    assert left_out == {"beyond the limit": 0, "too large": 0}
    assert {file["path"].split("/")[0] for file in files} <= set(sources.DEFAULT_PACKAGES)


def test_a_path_that_does_not_exist_gets_one_sentence() -> None:
    with pytest.raises(NothingToAudit) as caught:
        target("no/such/place")
    assert str(caught.value) == (
        "PATH 'no/such/place' does not exist: name a file or folder with Python source, "
        "or leave PATH out to audit parts of the standard library."
    )


@pytest.mark.parametrize("name", ["", "notes.txt"])
def test_a_path_without_python_gets_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    place = tmp_path / name
    with pytest.raises(NothingToAudit) as caught:
        select(*target(str(place)), limit=5)
    assert str(caught.value) == (
        f"PATH {str(place)!r} has no Python source (*.py) in it: name another folder, "
        "or leave PATH out to audit parts of the standard library."
    )
