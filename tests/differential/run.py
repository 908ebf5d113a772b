"""Running a case with either engine: what it yields, leg by leg, and how each leg ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.differential.build import Builder
from tests.differential.specs import Case

#: How often a run is gone on with after it has stopped.
LEGS = 4
INPUT = {"log": ["in"], "total": 0}


@dataclass
class Leg:
    """What came of one call."""

    items: list[Any] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None
    #: What the thread holds afterwards.
    state: Any = None


def run(api: Any, case: Case) -> list[Leg]:
    return asyncio.run(_run_async(api, case)) if case.world.startswith("a") else _run_sync(api, case)


def _prepare(api: Any, case: Case) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    builder = Builder(api, is_async=case.world.startswith("a"))
    graph = builder.graph(case.graph, api.InMemorySaver() if case.saver else None)
    config: dict[str, Any] = {"configurable": {"thread_id": "1"}, "recursion_limit": case.limit}
    if case.in_order:
        config["max_concurrency"] = 1
    options: dict[str, Any] = {"version": case.version}
    if case.modes is not None:
        options["stream_mode"] = case.modes
    if case.subgraphs and case.streams:
        options["subgraphs"] = True
    if case.saver and case.durability is not None:
        options["durability"] = case.durability
    return graph, config, options


def _next_input(api: Any, leg: Leg, legs: int) -> Any:
    """Say what to go on with: answers, or nothing new. False when there is nothing to go on with."""
    if leg.state is None or isinstance(leg.state, Exception) or not leg.state.next or legs >= LEGS:
        return False
    asked = leg.state.interrupts
    if not asked:
        return None
    if len(asked) == 1:
        return api.Command(resume=f"leg {legs}")
    return api.Command(resume={one.id: f"to {one.value}" for one in asked})


def _take(leg: Leg, answer: Any) -> None:
    """Keep the answer of ``invoke``, which with most modes is a list of what ``stream`` yields."""
    if isinstance(answer, list):
        leg.items = answer
    else:
        leg.result = answer


def _run_sync(api: Any, case: Case) -> list[Leg]:
    try:
        graph, config, options = _prepare(api, case)
    except Exception as error:
        return [Leg(error=error)]
    legs: list[Leg] = []
    following: Any = INPUT
    while following is not False:
        leg = Leg()
        legs.append(leg)
        try:
            if case.world == "invoke":
                _take(leg, graph.invoke(following, config, **options))
            else:
                for item in graph.stream(following, config, **options):
                    leg.items.append(item)
        except Exception as error:
            leg.error = error
        if case.saver:
            try:
                leg.state = graph.get_state(config)
            except Exception as error:
                leg.error, leg.state = leg.error or error, error
        following = _next_input(api, leg, len(legs))
    return legs


async def _run_async(api: Any, case: Case) -> list[Leg]:
    try:
        graph, config, options = _prepare(api, case)
    except Exception as error:
        return [Leg(error=error)]
    legs: list[Leg] = []
    following: Any = INPUT
    while following is not False:
        leg = Leg()
        legs.append(leg)
        try:
            if case.world == "ainvoke":
                _take(leg, await graph.ainvoke(following, config, **options))
            else:
                async for item in graph.astream(following, config, **options):
                    leg.items.append(item)
        except Exception as error:
            leg.error = error
        if case.saver:
            try:
                leg.state = await graph.aget_state(config)
            except Exception as error:
                leg.error, leg.state = leg.error or error, error
        following = _next_input(api, leg, len(legs))
    return legs
