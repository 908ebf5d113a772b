"""What tutorials and how-tos show, runs: each page from top to bottom, in an empty folder.

A block of Python whose first line is a comment with a file's name is that file; any other is a program.
``sh`` is run by bash, ``text`` right below is what it prints (``…`` stands for what differs), and what
other files say is parsed. ``pip install`` is compared with the extras that there are. ``<!-- needs:
docker -->`` above a block names a program without which it is not run here; ``<!-- goes on -->`` one
that goes on beside what comes below.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
RUN = sorted([*ROOT.glob("docs/tutorials/*.md"), *ROOT.glob("docs/how-to/*.md")])
#: Pages that other tests run, or whose blocks are pieces: Python, that imports what is there.
SHOWN = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
PARSERS = {"json": json.loads, "yaml": lambda text: list(yaml.safe_load_all(text)), "toml": tomllib.loads}


@dataclass
class Block:
    kind: str
    text: str
    note: str

    @property
    def name(self) -> str | None:
        found = re.match(r"# ([\w./-]+\.\w+)\n", self.text)
        return found and found[1]

    @property
    def missing(self) -> str | None:
        needs = re.fullmatch(r"needs: (\w+)", self.note)
        return needs[1] if needs and shutil.which(needs[1]) is None else None


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text())
    return [Block(one["kind"], one["text"], one["note"] or "") for one in found if one["kind"]]


class Reader:
    """Does what a page says, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed: str | None = None
        self.beside: list[subprocess.Popen[str]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**kept, "PATH": path, "HOME": str(folder), "PYTHONUNBUFFERED": "1"}

    def do(self, block: Block) -> None:
        if block.kind == "text":
            if self.printed is not None:
                assert matches(block.text, self.printed), f"printed:\n{self.printed}"
            self.printed = None
        elif block.missing:
            self.printed = None
        elif block.kind in PARSERS:
            PARSERS[block.kind](block.text)
        elif block.name and block.kind != "sh":
            (self.folder / block.name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / block.name).write_text(block.text)
            if block.kind == "python":
                compile(block.text, block.name, "exec")
        else:
            self.run(block)

    def run(self, block: Block) -> None:
        if block.kind == "sh" and block.text.startswith("pip install"):
            assert unknown_extras(block.text) == []
            return
        assert block.kind in ("python", "sh"), f"nobody knows how to try {block.kind!r}"
        command = ["bash", "-e"] if block.kind == "sh" else [sys.executable, "-W", "error", "-"]
        if block.note == "goes on":
            self.beside.append(self.start(["bash", "-e", "-c", block.text]))
            return
        process = self.start(command, stdin=subprocess.PIPE)
        out, errors = process.communicate(block.text, timeout=100)
        assert process.returncode == 0, f"{block.text}\n{out}\n{errors}"
        self.printed = out

    def start(self, command: list[str], **how: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **how,
        )

    def end(self) -> None:
        for process in self.beside:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=20)


def unknown_extras(command: str) -> list[str]:
    asked = re.findall(r"otel-stream\[([\w,]+)\]", command)
    return [extra for extras in asked for extra in extras.split(",") if extra not in EXTRAS]


def matches(shown: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(piece) for piece in shown.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUN, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        for block in blocks(page):
            reader.do(block)
    finally:
        reader.end()


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.stem)
def test_what_a_page_imports_is_there(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "python":
            compile(
                block.text, page.name, "exec", flags=0x2000
            )  # await at the top level is a piece of something
            for line in re.findall(
                r"^(?:from|import) (?:otel_stream|engine).*?$(?:(?<=\()\n(?:.*\n)*?\))?",
                block.text,
                re.MULTILINE,
            ):
                exec(line, {})


def test_what_differs_is_told_from_what_is_wrong() -> None:
    assert matches("a …\nb", "a 17\nb\n")
    assert not matches("a …\nb", "a 17\nc\n")


def test_an_extra_that_is_not_there_is_found() -> None:
    assert unknown_extras("pip install 'otel-stream[otlp,view,nope]' x") == ["nope"]
