"""Running a graph on many inputs at once: ``batch`` and ``abatch``, as LangChain's runnables have them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import anyio

from ..executors import stops
from ..types import Config

Configs = Config | Sequence[Config] | None


def per_input(inputs: Sequence[Any], config: Configs) -> list[Config]:
    """Return one config per input.

    Raises:
        ValueError: there are more or fewer configs than inputs.
    """
    if config is None or isinstance(config, dict):
        return [config or {} for _ in inputs]
    if len(config) != len(inputs):
        raise ValueError(f"config: {len(config)} configs for {len(inputs)} inputs; give one, or one each")
    return list(config)


def _limit(configs: Sequence[Config]) -> int | None:
    return next((c["max_concurrency"] for c in configs if c.get("max_concurrency")), None)


def run_batch(
    invoke: Callable[[Any, Config], Any], inputs: Sequence[Any], config: Configs, return_exceptions: bool
) -> list[Any]:
    """Call ``invoke`` for every input in a pool of threads; return the results in their order."""
    if not inputs:
        return []
    configs = per_input(inputs, config)

    def one(input: Any, config: Config) -> tuple[Any, BaseException | None]:
        try:
            return invoke(input, config), None
        except BaseException as error:  # noqa: BLE001 - returned, or raised below
            return error, None if return_exceptions and isinstance(error, Exception) else error

    with ThreadPoolExecutor(_limit(configs), thread_name_prefix="batch") as pool:
        futures = [
            pool.submit(copy_context().run, one, input, config)
            for input, config in zip(inputs, configs, strict=True)
        ]
        outcomes = [future.result() for future in futures]
    for _, error in outcomes:
        if error is not None:
            raise error
    return [result for result, _ in outcomes]


async def run_abatch(
    ainvoke: Callable[[Any, Config], Coroutine[Any, Any, Any]],
    inputs: Sequence[Any],
    config: Configs,
    return_exceptions: bool,
) -> list[Any]:
    """Await ``ainvoke`` for every input, side by side; return the results in their order.

    The first failure stops the others, unless exceptions are returned.
    """
    configs = per_input(inputs, config)
    results: list[Any] = [None] * len(inputs)
    failures: list[BaseException] = []
    limit = anyio.CapacityLimiter(_limit(configs) or max(1, len(inputs)))

    async def one(index: int) -> None:
        async with limit:
            try:
                results[index] = await ainvoke(inputs[index], configs[index])
            except BaseException as error:
                if stops(error):
                    raise
                results[index] = error  # returned, or raised below: as itself and not as a group
                if not (return_exceptions and isinstance(error, Exception)):
                    failures.append(error)
                    group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for index in range(len(inputs)):
            group.start_soon(one, index)
    if failures:
        raise failures[0]
    return results
