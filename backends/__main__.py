"""``python -m backends build | start | stop | status``."""

from __future__ import annotations

from backends.commands import app

if __name__ == "__main__":
    app(prog_name="python -m backends")
