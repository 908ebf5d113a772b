"""Words that LangGraph writes into configs and checkpoints: fixed for as long as those are to be read."""

from __future__ import annotations

from typing import Final

CONF: Final = "configurable"

# -- keys of a config's "configurable" ---------------------------------------------------------------

CHECKPOINT_NS: Final = "checkpoint_ns"
RESUMING: Final = "__pregel_resuming"
RUNTIME: Final = "__pregel_runtime"
SCRATCHPAD: Final = "__pregel_scratchpad"
TASK_ID: Final = "__pregel_task_id"
THREAD_ID: Final = "thread_id"

# -- channels of writes that are not the user's ------------------------------------------------------

ERROR: Final = "__error__"
INTERRUPT: Final = "__interrupt__"
PUSH: Final = "__pregel_push"
RESUME: Final = "__resume__"
RETURN: Final = "__return__"
TASKS: Final = "__pregel_tasks"
#: Ours: with the pending writes of the checkpoint that an unfinished run leaves behind, who left it there.
#: The engine uses the same one, so that either can go on from the other's checkpoints.
ORIGIN: Final = "otel_stream"

# --

#: The tag of tasks that are not shown: the one that takes the input.
HIDDEN: Final = "langsmith:hidden"
NS_SEPARATOR: Final = "|"
#: Channels that hold what triggers nodes; no state of the user's.
BRANCH: Final = "branch:to:"
