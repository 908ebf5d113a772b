"""Asks a human in one process, and goes on in another. It knows nothing of telemetry."""

import pickle
import sys
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt


class Order(TypedDict, total=False):
    item: str
    approved: bool


class FileSaver(InMemorySaver):
    """Keeps its checkpoints in a file between processes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.exists():
            storage, writes, blobs = pickle.loads(path.read_bytes())
            for thread, spaces in storage.items():
                for space, checkpoints in spaces.items():
                    self.storage[thread][space].update(checkpoints)
            self.writes.update(writes)
            self.blobs.update(blobs)

    def save(self) -> None:
        storage = {
            thread: {ns: dict(one) for ns, one in spaces.items()} for thread, spaces in self.storage.items()
        }
        self.path.write_bytes(pickle.dumps((storage, dict(self.writes), dict(self.blobs))))


def approve(order: Order) -> Any:
    return {"approved": interrupt(f"Buy {order['item']}?") == "yes"}


if __name__ == "__main__":
    saver = FileSaver(Path(sys.argv[1]))
    graph: Any = StateGraph(Order).add_node("approve", approve).add_edge(START, "approve")
    app = graph.compile(checkpointer=saver, name="approval")
    given = Command(resume=sys.argv[2]) if len(sys.argv) > 2 else {"item": "a boat"}
    print(app.invoke(given, {"configurable": {"thread_id": "order 1"}}))
    saver.save()
