"""The site is refused when a reader would stumble over something in it."""

from pathlib import Path

import pytest

import engine
from handbook import commands, gate, pictures, versions


def site(place: Path, **pages: str) -> Path:
    for name, text in pages.items():
        (place / f"{name}.html").write_text(text)
    return place


def astray(place: Path, **pages: str) -> list[str]:
    built = site(place, **pages)
    read = {path: gate._Page.read(path) for path in sorted(built.glob("*.html"))}
    return [*gate._astray(read, built), *gate._foreign(read, built)]


def test_a_site_whose_links_lead_somewhere_is_as_it_must_be(tmp_path: Path) -> None:
    pages = {"a": '<a href="b.html#here"></a> <a href="https://elsewhere.org/x">', "b": '<p id="here">'}
    assert astray(tmp_path, **pages) == []


@pytest.mark.parametrize("link", ["gone.html", "b.html#gone", "#gone", "down/b.html"])
def test_a_link_that_leads_nowhere_is_named_with_its_page(tmp_path: Path, link: str) -> None:
    found = astray(tmp_path, a=f'<a href="{link}"></a>', b='<p id="here">')
    assert found == [f"a.html: {link} leads nowhere"]


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.org/x.js"></script>',
        '<link href="//cdn.org/font.css" rel="stylesheet">',
        '<img src="https://cdn.org/badge.svg">',
    ],
)
def test_a_page_that_fetches_from_elsewhere_is_refused(tmp_path: Path, page: str) -> None:
    (found,) = astray(tmp_path, a=page)
    assert found.startswith("a.html: fetches ")


def test_a_style_sheet_that_fetches_from_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url(https://fonts.org/a.woff2) }")
    assert astray(tmp_path) == ["a.css: a style sheet that fetches from elsewhere"]


def test_a_public_name_without_an_entry_is_named() -> None:
    every = {f"engine.{name}" for name in engine.__all__}
    missing = [one for one in gate._undocumented(every - {"engine.Send"}) if one.startswith("engine.S")]
    assert missing == ["engine.Send is public and has no entry in docs/reference"]


def test_a_field_of_which_nothing_is_said_is_named(tmp_path: Path) -> None:
    built = site(tmp_path, a="<p>Alias for field number 3</p>", b="<p>Seconds.</p>")
    (found,) = gate._unsaid(built)
    assert found.startswith("a.html: 'Alias for field number 3' says nothing")


def test_the_page_of_commands_tells_what_each_takes() -> None:
    page = commands.page()
    for command in ("replay", "doctor", "show", "view", "demo", "backends up"):
        assert f"\n## otel-stream {command}\n\n```text\nUsage: otel-stream {command} " in page
    assert "--state-at STEP" in page


def test_the_newest_version_comes_first_and_is_led_to(tmp_path: Path) -> None:
    for name in ("0.2.0", "0.10.0", "0.10.0rc1", "notes"):
        (tmp_path / name).mkdir()
    versions.write_index(tmp_path)
    assert versions.versions(tmp_path) == ["0.10.0", "0.10.0rc1", "0.2.0"]
    assert "url=0.10.0/index.html" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("name", sorted(pictures.PICTURES))
async def test_a_picture_is_what_a_run_does(name: str) -> None:
    drawn = await pictures.PICTURES[name]()
    kept = (pictures.FOLDER / f"{name}.svg").read_text()
    assert drawn == kept, "python -m handbook.pictures draws it anew"
