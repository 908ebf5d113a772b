"""Building from pins: once, again when a pin changed, never half a binary. The Go program is a small one."""

import shutil
from pathlib import Path

import pytest

from backends import places
from backends.build import Builder
from backends.errors import BackendsError

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go here")


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    folder = tmp_path / "pins"
    (folder / "hello").mkdir(parents=True)
    (folder / "pins.toml").write_text('[hello]\npackage = "example.test/hello"\nminutes = 0.1\n')
    (folder / "hello" / "go.mod").write_text("module example.test/hello\n\ngo 1.21\n")
    (folder / "hello" / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    return folder


def test_what_we_pin_is_complete() -> None:
    builder = Builder(places.pins(), Path("nowhere"), print)
    assert set(builder.pins) == {"prometheus", "promtool", "jaeger", "otelcol", "victorialogs"}
    for name, pin in builder.pins.items():
        folder = places.pins() / (pin.folder or name)
        files = {file.name for file in folder.iterdir()}
        assert files == {"go.mod", "go.sum"} | ({"builder.yaml"} if pin.builder else set())


def test_a_fingerprint_is_of_all_pins_of_the_binary_and_of_no_other(pins: Path, tmp_path: Path) -> None:
    def fingerprint() -> str:
        return Builder(pins, tmp_path / "cache", print).fingerprint("hello")

    before = fingerprint()
    assert fingerprint() == before
    (pins / "hello" / "go.mod").write_text("module example.test/hello\n\ngo 1.22\n")
    changed = fingerprint()
    (pins / "pins.toml").write_text(
        (pins / "pins.toml").read_text() + '\n[other]\npackage = "x"\nminutes = 1.0\n'
    )
    assert before != changed == fingerprint()


@needs_go
@pytest.mark.timeout(300)
def test_it_is_built_once_and_again_when_a_pin_has_changed(pins: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def build() -> list[str]:
        return Builder(pins, tmp_path / "cache", said.append).build()

    assert [build(), build()] == [["hello"], []]
    assert (tmp_path / "cache" / "bin" / "hello").stat().st_mode & 0o100
    (pins / "hello" / "main.go").write_text('package main\n\nfunc main() { println("bye") }\n')
    assert [build(), build()] == [["hello"], []]
    assert sum("[1/1] hello: done in" in line for line in said) == 2


@needs_go
@pytest.mark.timeout(300)
def test_a_build_that_fails_leaves_what_was_there_and_says_why(pins: Path, tmp_path: Path) -> None:
    (pins / "hello" / "main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    builder = Builder(pins, tmp_path / "cache", lambda _: None)
    with pytest.raises(
        BackendsError, match=r"^go build failed, saying: .*undefined: nonsense .*run make backends"
    ):
        builder.build()
    assert [file.name for file in (tmp_path / "cache" / "bin").iterdir()] == []
