"""Kills one thing after another under load: ``python -m tests.scale.ray.kills KILLS KIND...``.

Workers run threads all the time, and a watcher sees them. At a random moment something is killed, and what it
takes is started again. All runs that were under way then must end well, or fail with an error that is known;
their threads are gone on with. In the end each part, update and node is accounted for. Nodes run on Ray if
something of that is killed. Prints the account, and exits with 1 if it does not add up. ``SEED`` chooses the
moments.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path

from langgraph.checkpoint.postgres import PostgresSaver

from examples.cluster.crew import Crew, Run
from examples.cluster.services import Services, command_of, of_ray, services
from tests.scale.ray.killed import WHOLE

KINDS = ("ray-worker", "ray-node", "graph-worker", "broker", "postgres")
#: Runs that a worker has at a time.
AT_A_TIME = 3
#: Seconds in which all that a kill has interrupted is over; and in which it is gone on with, to its end.
BOUND = 180
#: With what a run may fail, and whose it is.
TYPED = {
    "WorkerLostError": "engine",
    "LeaseLostError": "engine",
    "ThreadBusyError": "engine",
    "OperationalError": "psycopg",
    "AdminShutdown": "psycopg",
    "CannotConnectNow": "psycopg",
    "PoolTimeout": "psycopg_pool",
}


class Kills(Crew):
    """Workers under load."""

    WORKER = "tests.scale.ray.killed"

    def __init__(self, services: Services, folder: Path, chance: random.Random) -> None:
        super().__init__(services, folder)
        self.marks = Path(services.environment["CLUSTER_MARKS"])
        self.marks.touch()
        self._chance = chance
        self._again: deque[Run] = deque()
        self._numbers = iter(range(sys.maxsize))
        #: Whether new threads begin.
        self.loading = True
        #: Runs that were over without an end, and when something was last killed.
        self.known: set[str] = set()
        self.slowest: Counter[str] = Counter()

    # -- load --------------------------------------------------------------------------------------

    def hand_out(self) -> None:
        for run in [one for one in self.runs.values() if one.over and one.id not in self.known]:
            self.known.add(run.id)
            if run.killed or run.ended["end"] in TYPED:
                again = Run(uuid.uuid4().hex, run.thread, (), resumes=run.id)
                # Not at once: what it failed for may take a moment to be there again.
                asyncio.get_running_loop().call_later(0.5, self._go_on, again)
        for child in [one for one in self.children.values() if one.state == "runs" and one.name != "watcher"]:
            while self.busy(child.name) < AT_A_TIME and (self._again or self.loading):
                fresh = (
                    Run(uuid.uuid4().hex, f"thread-{next(self._numbers)}", ()) if not self._again else None
                )
                self.give(fresh or self._again.popleft(), child)

    async def until(self, holds: Callable[[], bool]) -> None:
        await super().until(lambda: bool(self._unknown()) or holds())

    def _unknown(self) -> list[str]:
        ends = [run.ended for run in self.runs.values() if run.ended]
        return [f"{one['end']}: {one['error']}" for one in ends if one["end"] not in ("ok", *TYPED)]

    def _go_on(self, run: Run) -> None:
        self._again.append(run)
        self.hand_out()

    async def new_worker(self) -> None:
        name = f"worker-{sum(one != 'watcher' for one in self.children) + 1}"
        await self.start(name)
        await self.until(lambda: self.children[name].state == "runs")
        self.hand_out()

    @property
    def workers(self) -> list[str]:
        return [one.name for one in self.children.values() if one.state == "runs" and one.name != "watcher"]

    def threads_done(self) -> set[str]:
        return {run.thread for run in self.runs.values() if run.ended.get("end") == "ok"}

    # -- kills -------------------------------------------------------------------------------------

    async def kill_some(self, kind: str, kills: int) -> None:
        """Kill so many, each when what the last one has interrupted is over."""
        for _ in range(kills):
            await asyncio.sleep(self._chance.uniform(0.2, 3))  # a random moment
            under_way = {run.thread for run in self.runs.values() if not run.over}
            begun = time.monotonic()
            async with asyncio.timeout(BOUND):
                await getattr(self, "kill_" + kind.replace("-", "_"))()
                await self.until(lambda: under_way <= self.threads_done())  # noqa: B023 - at once
            took = round(time.monotonic() - begun)
            self.slowest[kind] = max(self.slowest[kind], took)

    async def kill_ray_worker(self) -> None:
        """One that runs something, if there is one."""
        while True:
            marks = [line.split() for line in self.marks.read_text().splitlines()]
            pids = {int(pid) for _, node, _, pid in marks if node in ("once", "again")}
            living = sorted(pid for pid in pids if b"ray::" in command_of(pid))
            if living:
                os.kill(self._chance.choice(living), signal.SIGKILL)
                return
            await asyncio.sleep(0.1)

    async def kill_ray_node(self) -> None:
        await asyncio.to_thread(self._end_ray_node)
        await asyncio.to_thread(self.new_ray_node)

    def _end_ray_node(self) -> None:
        for raylet in self._raylets():
            os.kill(raylet, signal.SIGKILL)
            # A child of ours that nobody has waited for is alive as its workers see it: they would go on.
            with suppress(ChildProcessError):
                os.waitpid(raylet, 0)

    def _raylets(self) -> list[int]:
        """Those of this cluster but for its head."""
        commands = of_ray(self.services.folder)
        raylets = [pid for pid, said in commands.items() if said.partition(b"\0")[0].endswith(b"/raylet")]
        return [pid for pid in raylets if b"--head" not in commands[pid]]

    def new_ray_node(self) -> None:
        options = f"""--address={self.services.ray} --node-ip-address=127.0.0.1 --min-worker-port=0
            --max-worker-port=0 --num-cpus=1 --object-store-memory=100000000 --disable-usage-stats"""
        command = [Path(sys.executable).with_name("ray"), "start", *options.split(), '--resources={"two": 1}']
        environment = self.services.environment
        # It gives up after thirty seconds, which a busy machine may need.
        while subprocess.run(command, capture_output=True, check=False, env=environment).returncode:
            pass

    async def kill_graph_worker(self) -> None:
        await self.kill(self.children[self._chance.choice(self.workers)])
        self.hand_out()
        await self.new_worker()

    async def kill_broker(self) -> None:
        self.services.broker.kill()
        await asyncio.to_thread(self.services.broker.start)

    async def kill_postgres(self) -> None:
        self.services.database.kill()
        await asyncio.to_thread(self.services.database.start)

    async def go(self, kinds: list[str], kills: int) -> list[str]:
        """Do all of it; return what is wrong."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.kill_all)
            await asyncio.gather(*(self.start(name) for name in ("worker-1", "worker-2", "watcher")))
            await self.until(lambda: all(child.state == "runs" for child in self.children.values()))
            self.hand_out()
            for kind in kinds if not self._unknown() else ():
                async with asyncio.timeout(BOUND):
                    await self.until(lambda: any(run.seen > 2 * len(WHOLE) for run in self.runs.values()))
                await self.kill_some(kind, kills)
                print(f"{kind}: {kills} kills, each over within {self.slowest[kind]} s", flush=True)
            self.loading = False
            async with asyncio.timeout(BOUND):
                await self.until(lambda: self.threads_done() == {run.thread for run in self.runs.values()})
                await self.until(lambda: all(run.told for run in self.runs.values()))
            await self.close()
        # Here, as servers that were started by a thread end with it, and its pool of threads with the loop.
        return self.wrong()

    # -- the account -------------------------------------------------------------------------------

    def wrong(self) -> list[str]:
        """Return what does not add up."""
        return self._unknown() or [
            *self._wrong_ends(),
            *self._wrong_parts(),
            *self._wrong_nodes(),
            *self._wrong_threads(),
        ]

    def _wrong_ends(self) -> list[str]:
        ends = Counter(run.ended.get("end", "killed") for run in self.runs.values())
        print(f"{len(self.runs)} runs of {len(self.threads_done())} threads: {dict(ends)}")
        return [f"a run failed with {one}" for one in self._unknown()]

    def _wrong_parts(self) -> list[str]:
        wrong, runs = [], [*self.runs.values()]
        for run in runs:
            seen, told = run.watched, run.ended
            if not seen["in_order"] or seen["gaps"] or seen["twice"]:
                wrong.append(f"the watcher saw of a run {seen}")
            if told and told["sent"] and (seen["parts"], seen["digest"]) != (told["parts"], told["digest"]):
                wrong.append(f"the watcher saw {seen} of a run that ended with {told}")
            if (seen["end"] == "lost" and not run.killed) or (
                run.killed and seen["parts"] and seen["end"] != "lost"
            ):
                wrong.append(f"the watcher was told {seen['end']} of a run that was {told or 'killed'}")
        sums: Counter[str] = Counter()
        for child in self.children.values():
            if child.name == "watcher":
                continue
            received = sum(run.watched["parts"] for run in runs if run.worker == child.name)
            account = child.account
            sums += Counter({**account, "received": received})
            whole = account["offered"] == account["delivered"] == received and not account["held"]
            if received < account["delivered"] or not (whole or child.state == "killed"):
                wrong.append(f"{child.name} has {dict(account)}, and {received} were received")
        print(f"parts: {dict(sums)}")
        return wrong

    def _wrong_nodes(self) -> list[str]:
        marks = [line.split() for line in self.marks.read_text().splitlines()]
        begun = Counter((run, node) for run, node, what, _ in marks if what == "begins")
        twice = [run for (run, node), times in begun.items() if node == "once" and times > 1]
        totals = Counter(node for _, node, what, _ in marks if what == "begins")
        retried = sum(times - 1 for (_, node), times in begun.items() if node == "again")
        print(f"nodes begun: {dict(totals)}; 'again' was retried {retried} times, 'once' {len(twice)} times")
        return [f"a node that is not idempotent ran {begun[run, 'once']} times in run {run}" for run in twice]

    def _wrong_threads(self) -> list[str]:
        logs: dict[str, list[str]] = {}
        with PostgresSaver.from_conn_string(self.services.database.address) as saver:
            for thread in {run.thread for run in self.runs.values()}:
                found = saver.get_tuple({"configurable": {"thread_id": thread}})
                logs[thread] = found.checkpoint["channel_values"].get("log", []) if found else []
        print(f"{sum(log == WHOLE for log in logs.values())} of {len(logs)} threads have each update once")
        return [f"{thread} has done {log}" for thread, log in logs.items() if log != WHOLE]


def main(kills: int, kinds: list[str]) -> int:
    seed = os.environ.get("SEED", str(random.SystemRandom().randrange(10**6)))
    print(f"SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kills-") as place, ExitStack() as stack:
        os.environ["CLUSTER_MARKS"] = f"{place}/marks"
        shared = stack.enter_context(
            services(print, traces=False, ray=any(kind.startswith("ray") for kind in kinds))
        )
        load = Kills(shared, Path(place), random.Random(seed))
        try:
            wrong = asyncio.run(load.go(kinds, kills))
        except TimeoutError:
            runs = [one for one in load.runs.values() if one.thread not in load.threads_done()]
            over = [(one.thread, one.worker, one.seen, one.killed, one.ended) for one in runs]
            logs = [f"{log.name}: {log.read_text()[-3000:]}" for log in Path(place).glob("*.log")]
            wrong = [f"not over in {BOUND} s: {over}", *logs]
    for one in wrong:
        print(f"WRONG: {one}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:] or [*KINDS]))
