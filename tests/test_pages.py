"""What the documentation shows, runs: each page from top to bottom, in an empty folder.

A block of Python whose first line is a comment with a file's name is that file; any other is a program.
``sh`` is run by bash, ``text`` right below is what it prints (``…`` stands for what differs), and what
other files say is parsed. ``pip install`` is compared with the extras that there are. A block within a
comment is run and not shown. A note above a block, or in the first line of the comment, says more:

``<!-- goes on -->``        it goes on beside what comes below
``<!-- continues -->``      Python that goes on from the block of Python above
``<!-- needs: docker -->``  it is not run where that program, or its daemon, is not there
``<!-- a picture -->``      text that nothing prints
``<!-- as asked: why -->``  it takes minutes, or a machine of its own: what it names is only asked whether it
                            would do what it is told, ``make`` by a dry run and every program by ``--help``

The usual ports of examples stand for free ones, and an OTLP endpoint listens where a page sends to.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.otlp_servers import Endpoint, http_server

ROOT = Path(__file__).parent.parent
#: Pages with blocks that need a service, or that are a test's own: what runs them.
ELSEWHERE = {
    "docs/kafka.md": "tests/scale/test_kafka.py",
    "docs/messages.md": "tests/otel_stream/adapters/test_openai.py",
    "docs/persistence.md": "tests/persistence/test_page.py",
    "docs/ray.md": "tests/scale/ray/test_ray.py",
    "docs/testing.md": "tests/otel_stream/test_testing.py",
}
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]+?)(?: -->)?\n)?^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PARSERS = {"json": json.loads, "yaml": lambda text: list(yaml.safe_load_all(text)), "toml": tomllib.loads}
OTLP = re.compile(r"http://(?:localhost|127\.0\.0\.1):4318")
PORT = re.compile(r"(?<=127\.0\.0\.1:)8\d{3}|(?<=localhost:)8\d{3}|(?<=--port )8\d{3}")
#: Runs a program that awaits outside of a function, as a notebook does.
AWAITS = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "<page>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
done = eval(code, vars(sys.modules["__main__"]))
if inspect.iscoroutine(done):
    asyncio.run(done)
"""


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
        needs = re.search(r"needs: (\w+)", self.note)
        return needs[1] if needs and not there(needs[1]) else None


def there(program: str) -> bool:
    """Whether a program is on the path, and where it needs a daemon, that answers; or a package installed."""
    if find_spec(program) is not None:
        return True
    if shutil.which(program) is None:
        return False
    asked = ["docker", "info"]
    return (
        program != "docker"
        or subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0
    )


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text())
    return [Block(one["kind"], one["text"], one["note"] or "") for one in found if one["kind"][:1] != "{"]


class Reader:
    """Does what a page says, in a folder."""

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.sends = False
        self.ports: dict[str, str] = {}
        self.program = ""
        self.printed: str | None = None
        self.beside: list[subprocess.Popen[str]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {
            "HOME": str(folder),
            "BROWSER": "true",
            "PYTHONUNBUFFERED": "1",
            "LANGSMITH_TRACING": "false",
            "CLONE": str(ROOT),
        }
        self.environment = {**kept, "PATH": path, **own}

    def do(self, block: Block) -> None:
        assert block.kind, f"a block that does not say what it is:\n{block.text}"
        block.text = PORT.sub(self.free, block.text)
        if block.kind == "text":
            if self.printed is not None and block.note != "a picture":
                assert matches(block.text, self.printed), f"printed:\n{self.printed}"
            self.printed = None
        elif block.missing:
            self.printed = None
        elif block.note.startswith("as asked: "):
            for command in commands(block.text):
                self.ask(command)
        elif block.kind in PARSERS:
            PARSERS[block.kind](block.text)
        elif block.name and block.kind != "sh":
            (self.folder / block.name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / block.name).write_text(self.sent(block.text))
            if block.kind == "python":
                compile(block.text, block.name, "exec")
        else:
            self.run(block)

    def run(self, block: Block) -> None:
        assert block.kind in ("python", "sh"), f"nobody knows how to try {block.kind!r}"
        text = self.sent(block.text)
        if block.kind == "sh":
            assert unknown_extras(text) == []
            text = re.sub(r"^pip install .*\n", "", text, flags=re.MULTILINE)
            if not text.strip():
                return
        else:
            text = self.program = f"{self.program}\n{text}" if block.note.startswith("continues") else text
        if block.note == "goes on":
            self.beside.append(self.start(["bash", "-e", "-c", text]))
            return
        process = self.start(["bash", "-e"] if block.kind == "sh" else python(text), stdin=subprocess.PIPE)
        out, errors = process.communicate(text, timeout=250)
        assert process.returncode == 0, f"{text}\n{out}\n{errors}"
        self.printed = out

    def ask(self, command: list[str]) -> None:
        """Ask what a command names whether it would do it."""
        if command[0] == "make":
            asked = ["make", "--dry-run", *command[1:]]
        elif command[0] == "docker":
            asked = [*command[:2], "--help"]  # without its daemon it knows no more
        else:
            asked = [*(sys.executable if one.endswith("python") else one for one in command), "--help"]
        done = subprocess.run(
            asked, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"

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

    def sent(self, text: str) -> str:
        """Return a program that sends to the endpoint that is there."""
        self.sends |= OTLP.search(text) is not None
        return OTLP.sub(self.endpoint.url, text)

    def free(self, port: re.Match[str]) -> str:
        """Return the free port that one of the page stands for."""
        if port[0] not in self.ports:
            with socket.create_server(("127.0.0.1", 0)) as listening:
                self.ports[port[0]] = str(listening.getsockname()[1])
        return self.ports[port[0]]

    def end(self) -> None:
        for process in self.beside:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=20)


def python(text: str) -> list[str]:
    """Return the command that runs a program from its standard input."""
    try:
        compile(text, "<page>", "exec")
    except SyntaxError:
        return [sys.executable, "-W", "error", "-c", AWAITS]
    return [sys.executable, "-W", "error", "-"]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a block, without what is said of them."""
    for line in text.splitlines():
        for one in line.split("&&"):
            if command := shlex.split(one, comments=True):
                yield command


def unknown_extras(command: str) -> list[str]:
    asked = re.findall(r"otel-stream\[([\w,]+)\]", command)
    return [extra for extras in asked for extra in extras.split(",") if extra not in EXTRAS]


def matches(shown: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(piece) for piece in shown.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page) and name(page) not in ELSEWHERE], ids=name
)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    with http_server() as endpoint:
        reader = Reader(tmp_path, endpoint)
        try:
            for block in blocks(page):
                reader.do(block)
        finally:
            reader.end()
    assert bool(endpoint.requests) == reader.sends, "what a page sends arrives"


@pytest.mark.parametrize("page", ELSEWHERE)
def test_the_others_are_run_where_what_they_need_is(page: str) -> None:
    assert {block.kind for block in blocks(ROOT / page)} <= {"python", "text"}
    assert re.search(rf'"{Path(page).name}"', (ROOT / ELSEWHERE[page]).read_text())


def test_what_differs_is_told_from_what_is_wrong() -> None:
    assert matches("a …\nb", "a 17\nb\n")
    assert not matches("a …\nb", "a 17\nc\n")


def test_an_extra_that_is_not_there_is_found() -> None:
    assert unknown_extras("pip install 'otel-stream[otlp,view,nope]' x") == ["nope"]


@pytest.mark.parametrize(
    "command", ["make nonesuch", "otel-stream doctor --nonesuch", "python -m benchmarks.nonesuch"]
)
def test_a_command_that_is_not_there_is_found(command: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nonesuch"):
        Reader(tmp_path, Endpoint("")).ask(command.split())


def test_a_port_of_an_example_stands_for_one_that_is_free(tmp_path: Path) -> None:
    reader = Reader(tmp_path, Endpoint("http://127.0.0.1:1"))
    served, asked = (
        PORT.sub(reader.free, text) for text in ("uvicorn --port 8765", "curl http://127.0.0.1:8765/")
    )
    assert served.split()[-1] == asked[len("curl http://127.0.0.1:") : -1] != "8765"
    assert reader.sent("http://localhost:4318") == "http://127.0.0.1:1"
    assert reader.sends
