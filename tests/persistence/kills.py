"""Runs that are killed, and gone on with by other processes, until each has come to its end.

``python -m tests.persistence.kills DATABASE PLACE KILLS`` kills at least so many in all, and prints what went
wrong. This process loads everything once and runs nothing; each run is a child that it forks, so that a kill
costs no start of Python.
"""

import asyncio
import itertools
import operator
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Any, TypedDict

from engine import START, Send, StateGraph
from tests.persistence.graphs import KINDS, MODES

DURABILITIES = ("sync", "async", "exit")
ROUNDS, WIDTH = 3, 3


class State(TypedDict, total=False):
    round: int
    n: int
    done: Annotated[list[str], operator.add]


#: What has been done in the end, in the order in which it is written.
WHOLE = [
    name
    for number in range(ROUNDS)
    for name in (f"{number} split", *(f"{number} work {n}" for n in range(WIDTH)), f"{number} gather")
]
#: Task → the superstep that it is of.
SUPERSTEP = {name: 3 * int(name[0]) + ("split", "work", "gather").index(name.split()[1]) for name in WHOLE}


#: The last of the tasks that run side by side.
LAST = f"0 work {WIDTH - 1}"


def _graph(mode: str, saver: Any, held: bool, marks: int) -> Any:
    """Declare a graph whose nodes say when they begin and end; ``held``: LAST never ends."""

    def say(what: str, name: str) -> None:
        os.write(marks, f"{what} {name}\n".encode())

    def node(kind: str) -> Any:
        def name_of(state: State) -> str:
            return f"{state['round']} {kind}" + (f" {state['n']}" if kind == "work" else "")

        def act(state: State) -> dict[str, Any]:
            name = name_of(state)
            say("begins", name)
            if held and mode == "sync" and name == LAST:
                threading.Event().wait()
            update: dict[str, Any] = {"done": [name]}
            if kind == "gather":
                update["round"] = state["round"] + 1
            say("ends", name)
            return update

        async def aact(state: State) -> dict[str, Any]:
            if held and name_of(state) == LAST:
                await asyncio.Event().wait()
            return act(state)

        return act if mode == "sync" else aact

    def fan_out(state: State) -> list[Send]:
        return [Send("work", {"round": state["round"], "n": n}) for n in range(WIDTH)]

    graph = StateGraph(State).add_node("split", node("split")).add_node("work", node("work"))
    graph.add_node("gather", node("gather")).add_edge(START, "split").add_edge("work", "gather")
    graph.add_conditional_edges("split", fan_out, ["work"])
    graph.add_conditional_edges("gather", lambda s: "split" if s["round"] < ROUNDS else "__end__")
    return graph.compile(checkpointer=saver)


def _run(database: str, place: str, mode: str, durability: str, config: Any, held: bool, marks: int) -> None:
    """Start the thread, or go on with it."""
    saver_of = KINDS[database][mode][0]
    if mode == "sync":
        with saver_of.from_conn_string(place) as saver:
            graph = _graph(mode, saver, held, marks)
            begun = graph.get_state(config).created_at
            graph.invoke(None if begun else {"round": 0}, config, durability=durability)
        return

    async def main() -> None:
        async with saver_of.from_conn_string(place) as saver:
            graph = _graph(mode, saver, held, marks)
            begun = (await graph.aget_state(config)).created_at
            await graph.ainvoke(None if begun else {"round": 0}, config, durability=durability)

    asyncio.run(main())


class Child:
    """A process that runs a thread until its end, or until it is killed."""

    def __init__(self, *run: Any) -> None:
        self._read, write = os.pipe()
        self.marks: list[str] = []
        self._rest = b""
        self.pid = os.fork()
        if self.pid:
            os.close(write)
            return
        code = 1
        try:
            os.close(self._read)
            _run(*run, write)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def heard(self, many: int) -> bool:
        """Wait for so many marks; tell whether they came."""
        while len(self.marks) < many:
            data = os.read(self._read, 4096)
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.marks += [line.decode() for line in lines]
        return True

    def end(self, kill: bool) -> int:
        """Wait for its end, and for all that it says; return how it ended."""
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        self.heard(sys.maxsize)
        os.close(self._read)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _stored(database: str, place: str, config: Any) -> list[str]:
    """Return what the database says has been done."""
    with KINDS[database]["sync"][0].from_conn_string(place) as saver:
        found = saver.get_tuple(config)
    if found is None:
        return []
    pending = [name for _, channel, value in found.pending_writes if channel == "done" for name in value]
    return [*found.checkpoint["channel_values"].get("done", ()), *pending]


def one_thread(
    database: str, place: str, mode: str, durability: str, thread: str, chance: random.Random
) -> Iterator[str]:
    """Yield ``killed`` for each kill of a thread until it is done, and a sentence on each thing wrong."""
    config = {"configurable": {"thread_id": thread}}
    before: list[str] = []
    while True:
        child = Child(database, place, mode, durability, config, False)
        kill = chance.random() < 0.8 and child.heard(chance.randrange(1, 2 * len(WHOLE)))
        time.sleep(chance.choice((0, 0, 0.001, 0.003)))  # anywhere between two marks
        ended = child.end(kill)
        killed = ended == -signal.SIGKILL
        if ended > 0:
            yield "a run failed"
            return
        begun = [mark.removeprefix("begins ") for mark in child.marks if mark.startswith("begins ")]
        stored = _stored(database, place, config)
        yield from (f"{name} was stored, and ran again" for name in begun if name in before)
        yield from (f"{name} was stored twice" for name in set(stored) if stored.count(name) > 1)
        if durability == "exit":
            if stored not in ([], WHOLE):
                yield f"a run that was killed has stored {stored}"
        else:
            last = max((SUPERSTEP[name] for name in begun), default=0)
            yield from (
                f"{name} is not stored, and superstep {last} had begun"
                for name in begun
                if SUPERSTEP[name] < last and name not in stored
            )
            yield from (f"{name} was stored, and is lost" for name in before if name not in stored)
        if not killed:
            if stored != WHOLE:
                yield f"in the end there is {stored}"
            return
        yield "killed"
        before = stored


def one_superstep(database: str, place: str, mode: str, durability: str) -> Iterator[str]:
    """Kill a run when all tasks of a superstep but one are stored; yield what is wrong then."""
    config = {"configurable": {"thread_id": f"{mode}-{durability}-held"}}
    child = Child(database, place, mode, durability, config, True)
    child.heard(2 * WIDTH + (mode == "sync"))  # all that ends has ended, and is about to be stored
    until = time.monotonic() + 60
    while len(_stored(database, place, config)) < WIDTH and time.monotonic() < until:
        pass
    child.end(kill=True)
    child = Child(database, place, mode, durability, config, False)
    child.end(kill=False)
    ran = [mark.removeprefix("begins ") for mark in child.marks if mark.startswith("begins ")]
    if sorted(ran) != sorted(WHOLE[WIDTH:]):
        yield f"after a kill in front of {LAST!r} there ran {ran}"
    if _stored(database, place, config) != WHOLE:
        yield f"in the end there is {_stored(database, place, config)}"


def main(database: str, place: str, kills: int) -> int:
    """Kill so many runs, of every kind alike, and print what went wrong."""
    with ExitStack() as stack:
        stack.enter_context(KINDS[database]["sync"][0].from_conn_string(place)).setup()
    wrong, kinds = 0, list(itertools.product(MODES, DURABILITIES))
    for mode, durability in kinds:
        if durability != "exit":
            for said in one_superstep(database, place, mode, durability):
                wrong += 1
                print(f"{database} {mode} {durability}: {said}", flush=True)
        killed = threads = 0
        while killed < kills / len(kinds):
            chance = random.Random(f"{mode} {durability} {threads}")
            thread = f"{mode}-{durability}-{threads}"
            threads += 1
            for said in one_thread(database, place, mode, durability, thread, chance):
                killed += said == "killed"
                if said != "killed":
                    wrong += 1
                    print(f"{database} {thread}: {said}", flush=True)
        print(f"{database} {mode} {durability}: {killed} kills of {threads} threads", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1], sys.argv[2], int(sys.argv[3])), 100))
