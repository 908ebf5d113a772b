"""What a worker of the cluster tells comes in whole lines, whatever else its process prints."""

import json
import subprocess
import sys

TALKING = """
import threading
from examples.cluster.lines import tell

tell("ready")
over = threading.Event()

def chatter():
    while not over.is_set():
        print("said by a thread", end="", flush=True)

threads = [threading.Thread(target=chatter) for _ in range(2)]
for one in threads:
    one.start()
for number in range(2000):
    tell("told", number=number, text="x" * 100)
over.set()
"""


def test_each_line_is_whole_while_threads_print() -> None:
    done = subprocess.run([sys.executable, "-c", TALKING], capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("number") for one in told] == [None, *range(2000)]
    assert "said by a thread" in done.stderr
