"""Run a graph, show it while it runs, account for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

from msgspec import json

from otel_stream.cli import exported
from otel_stream.cli.answers import Answers
from otel_stream.cli.display import PlainView, TerminalView, View
from otel_stream.cli.notices import Notices
from otel_stream.cli.options import RunOptions, UsageError
from otel_stream.cli.summary import Outcome, one_line, print_summary
from otel_stream.cli.tally import CONFIG, Account, Tally
from otel_stream.cli.terminal import Output, complain, nobody_reads, print_json
from otel_stream.config import StreamConfig
from otel_stream.encoding import encode
from otel_stream.stream.receiver import ReceiverOverflowError, StreamReceiver


class Program(NamedTuple):
    """A graph, ours or LangGraph's, with its input and config. ``name`` is the service's."""

    name: str
    graph: Any
    input: Any
    config: dict[str, Any]

    def open(self, *configs: StreamConfig) -> Any:
        """Return the run with a receiver for each config; nothing has begun yet.

        Raises:
            UsageError: it is LangGraph's, and what observes those is not installed.
        """
        if hasattr(self.graph, "open_stream"):
            return self.graph.open_stream(self.input, *configs, config=self.config)
        try:
            from otel_stream.adapters.langgraph import LangGraphInstrumentor, open_stream
        except ImportError as error:
            raise UsageError(
                f"LangGraph's graphs need {error.name}, which is not there: install otel-stream[langgraph]"
            ) from None
        LangGraphInstrumentor().instrument()
        return open_stream(self.graph, self.input, *configs, config=self.config)

    def answered(self, answers: dict[str, Any]) -> Program:
        """Return what goes on where it asked; ``answers`` are by the ids of interrupts."""
        return self._replace(input=its_house(self.graph, "types").Command(resume=answers))


def its_house(graph: Any, module: str) -> Any:
    """Return a module of whose graph it is: LangGraph's, or our engine's, by whichever name that goes."""
    made = type(graph).__module__
    root = "langgraph" if made.startswith("langgraph.") else made.partition(".api")[0]
    return import_module(f"{root}.{module}")


def run(program: Program, options: RunOptions, answers: Answers | None = None, *, shown: bool = False) -> int:
    """Run it and return the exit code of the program; ``shown`` says that its result is printed, too.

    Raises:
        UsageError: telemetry cannot be set up as asked for.
    """
    outcome = Outcome()
    with Notices() as notices:
        handle = exported.start(program.name, options.telemetry)
        started = time.monotonic()
        try:
            asyncio.run(_run(program, options, outcome, answers or Answers()))
        except KeyboardInterrupt:
            outcome.interrupted = True
        except BrokenPipeError:
            outcome.unread = True
        except Exception as error:  # noqa: BLE001 - whatever a run raises is one sentence and exit code 1
            outcome.error = error
        outcome.seconds = time.monotonic() - started
        if handle is not None:
            handle.shutdown()
    # What the verdict and the account say themselves need not be said again: why, after "receiver 'demo': ".
    why = str(outcome.receiver_failed or "").partition(": ")[2]
    said = [text for text in (why, handle.destination if handle is not None else "") if text]
    unsaid = [notice for notice in notices.texts if not any(text in notice for text in said)]
    _account(options, outcome, exported.describe(handle), unsaid)
    if shown and not options.json and outcome.code in {0, 3}:
        print_json(json.format(encode(outcome.result), indent=2))
    return outcome.code


async def _run(program: Program, options: RunOptions, outcome: Outcome, answers: Answers) -> None:
    """Run it to its end, as often as it asks something that is answered."""
    show = _print_parts if options.json else _show
    await show(program, options, outcome)
    while (said := answers.to(outcome.tally.interrupts)) is not None:
        program = program.answered(said)
        await show(program, options, outcome)


async def _print_parts(program: Program, options: RunOptions, outcome: Outcome) -> None:
    """Print every part as a line of JSON."""
    async with program.open(replace(options.stream_config(), include_end=True)) as stream:
        (receiver,) = stream.receivers
        before = outcome.account
        try:
            async for part in receiver:
                if part.type == "end":
                    outcome.tally.add(part)
                    continue
                outcome.tally.trace_id = outcome.tally.trace_id or part.trace_id
                print_json(part.to_json())
        except ReceiverOverflowError:
            await stream.wait()  # the run goes on without us
        finally:
            _note(outcome, receiver, before)


async def _show(program: Program, options: RunOptions, outcome: Outcome) -> None:
    """Show the run as it goes on. The display has a receiver of its own; the other is the user's."""
    configs = (CONFIG, options.stream_config())
    async with program.open(*configs) as stream:
        shown, receiver = stream.receivers
        before = outcome.account
        watching = _watch(shown, outcome.tally, _view(outcome, receiver, before))
        try:
            # Both to their end, even if one fails: the account of a failed run is complete, too.
            watched, _ = await asyncio.gather(watching, _consume(receiver), return_exceptions=True)
        finally:
            _note(outcome, receiver, before)
        if watched is not None:
            raise watched
        outcome.result = await stream.wait()


async def _watch(shown: StreamReceiver, tally: Tally, view: View) -> None:
    # Closed if the display breaks: a run would wait for ever for a reader that is gone.
    async with shown:
        with view:
            async for part in shown:
                tally.add(part)
                view.show(part)


async def _consume(receiver: StreamReceiver) -> None:
    async for _ in receiver:
        pass


def _note(outcome: Outcome, receiver: StreamReceiver, before: Account | None) -> None:
    outcome.account = Account.of(receiver, before)
    outcome.receiver_failed = receiver.failed


def _view(outcome: Outcome, receiver: StreamReceiver, before: Account | None) -> View:
    console = Output()
    if console.is_terminal and not console.is_dumb_terminal:
        return TerminalView(console, outcome.tally, lambda: Account.of(receiver, before))
    return PlainView(console, outcome.tally)


def _account(options: RunOptions, outcome: Outcome, telemetry: list[str], notices: list[str]) -> None:
    if outcome.unread:
        nobody_reads()
    elif options.json:
        complain(one_line(outcome, telemetry))
        for notice in notices:
            complain(notice)
    else:
        print_summary(Output(), outcome, telemetry, notices)
    if verdict := outcome.verdict():
        complain(verdict)
