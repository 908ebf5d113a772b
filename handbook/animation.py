"""The animation of the README: the demo's own display of a run, frame by frame.

``python -m handbook.animation`` draws it. One SVG that plays by itself, without a script; who asks for less
motion sees its last frame.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import anyio
from rich.console import Console
from rich.terminal_theme import MONOKAI

from otel_stream.cli.demo import load
from otel_stream.cli.display import panel
from otel_stream.cli.options import DemoOptions
from otel_stream.cli.tally import CONFIG, Account, Tally

FILE: Final = Path(__file__).parents[1] / "docs" / "images" / "handbook" / "demo.svg"
_OPTIONS: Final = DemoOptions(chaos=0.2, seed=7, limit=60, modes="values,updates,custom,messages,tasks")
_FRAMES: Final = 16
#: Seconds of one frame, and of the last one.
_SECONDS: Final = 0.6
_LAST: Final = 4.0
_COLUMNS: Final = 104
_ROWS: Final = 16
#: What Rich is to write for one frame: no chrome, and no font from elsewhere.
_FRAME: Final = """<g class="frame" style="animation-delay: {{delay}}s">
<style>{styles}</style><defs>{lines}</defs>
<g transform="translate(14, 46)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</g>"""
_WIDTH: Final = 1300
_HEIGHT: Final = 450


async def frames() -> list[str]:
    """Run the demo; return what its display shows, from the first part to the last."""
    audit, tally = load(_OPTIONS), Tally()
    shown: list[Console] = []
    async with audit.open(CONFIG, _OPTIONS.stream_config()) as stream:
        display, receiver = stream.receivers
        async with anyio.create_task_group() as group:

            async def read() -> None:
                async for _ in receiver:
                    pass

            group.start_soon(read)
            async for part in display:
                tally.add(part)
                shown.append(_recorded(tally, Account.of(receiver)))
    chosen = [shown[round(n * (len(shown) - 1) / (_FRAMES - 1))] for n in range(_FRAMES)]
    return [
        one.export_svg(code_format=_FRAME, unique_id=f"f{n}", theme=MONOKAI) for n, one in enumerate(chosen)
    ]


def _recorded(tally: Tally, account: Account) -> Console:
    console = Console(
        record=True,
        file=io.StringIO(),
        width=_COLUMNS,
        height=_ROWS,
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(panel(tally, account))
    return console


def played(svgs: list[str]) -> str:
    """Return one picture that shows frames one after the other."""
    total = _SECONDS * (len(svgs) - 1) + _LAST
    share = 100 * _SECONDS / total
    body = "\n".join(svg.replace("{delay}", f"{n * _SECONDS:.1f}") for n, svg in enumerate(svgs))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">
<title>otel-stream demo: a graph audits Python source, live</title>
<style>
text {{ font: 20px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre }}
.frame {{ opacity: 0; animation: shown {total:.1f}s step-end infinite }}
.frame:last-child {{ animation-name: last }}
@keyframes shown {{ 0% {{ opacity: 1 }} {share:.2f}% {{ opacity: 0 }} }}
@keyframes last {{ 0% {{ opacity: 1 }} {100 * _LAST / total:.2f}% {{ opacity: 0 }} }}
@media (prefers-reduced-motion) {{ .frame {{ animation: none }} .frame:last-child {{ opacity: 1 }} }}
</style>
<rect width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="#0c0c0c"/>
<text x="20" y="32" fill="#9aa5b1">$ otel-stream demo --chaos 0.2 --seed 7</text>
{body}
</svg>
"""


if __name__ == "__main__":
    FILE.write_text(played(anyio.run(frames)), encoding="utf-8")
