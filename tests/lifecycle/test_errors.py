"""A node's error: after every part before it, as itself, with its task named and its siblings carried."""

from typing import Any

import anyio
import pytest

from engine import StreamWriter, siblings_of
from otel_stream.config import StreamConfig
from otel_stream.stream.modes import StreamPart
from tests.engine.samples import compiled, read_into, side_by_side, sub

MODES = StreamConfig(modes=["custom", "tasks"], subgraphs=True)


def writes_then_fails(state: Any, writer: StreamWriter) -> None:
    for number in range(3):
        writer(number)
    raise ValueError("kaboom")


async def failed(graph: Any) -> tuple[list[StreamPart], BaseException]:
    parts: list[StreamPart] = []
    async with graph.open_stream({"log": []}, MODES) as stream:
        with pytest.raises(Exception) as caught:
            await read_into(parts, stream)
        with pytest.raises(type(caught.value)) as awaited:
            await stream.wait()
    assert awaited.value is caught.value
    return parts, caught.value


@pytest.mark.clause("S-ERR-1")
@pytest.mark.parametrize("deep", [False, True])
async def test_every_part_before_the_error_comes_first_and_then_itself(deep: bool) -> None:
    graph = compiled(a=compiled(name="inner", i=writes_then_fails) if deep else writes_then_fails)
    parts, error = await failed(graph)
    assert [part.data for part in parts if part.type == "custom"] == [0, 1, 2]
    results = [part.data["error"] for part in parts if part.type == "tasks" and "error" in part.data]
    assert results == [error] * (2 if deep else 1)
    assert (type(error), str(error)) == (ValueError, "kaboom")


@pytest.mark.clause("S-ERR-2")
async def test_the_error_names_its_task_once_per_level() -> None:
    parts, error = await failed(compiled(a=sub(i=writes_then_fails)))
    ids = {part.data["name"]: part.data["id"] for part in parts if part.type == "tasks"}
    assert error.__notes__ == [f"During task with name '{name}' and id '{ids[name]}'" for name in ("i", "a")]


class Together:
    """Nodes that all fail at the same moment, in whatever order the event loop runs them."""

    def __init__(self, count: int) -> None:
        self.inside, self.count, self.all_inside = 0, count, anyio.Event()

    def node(self, error: Exception) -> Any:
        async def fail(state: Any) -> None:
            self.inside += 1
            if self.inside == self.count:
                self.all_inside.set()
            await self.all_inside.wait()
            raise error

        return fail


@pytest.mark.clause("S-ERR-3")
@pytest.mark.parametrize("_round", range(5))
async def test_of_several_that_fail_at_once_the_first_is_raised_and_carries_the_others(_round: int) -> None:
    together = Together(3)
    errors = [KeyError("a"), OSError("b"), ValueError("c")]
    graph = side_by_side(**{name: together.node(e) for name, e in zip("abc", errors, strict=True)})
    _, error = await failed(graph)
    assert error is errors[0]
    assert siblings_of(error) == tuple(errors[1:])
    assert error.__notes__[-1] == "Failed in the same superstep: b: OSError('b'); c: ValueError('c')"
    assert [siblings_of(one) for one in errors[1:]] == [(), ()]


async def test_one_that_fails_alone_has_no_siblings() -> None:
    _, error = await failed(compiled(a=writes_then_fails))
    assert siblings_of(error) == ()
