"""Strategies: cases of every feature in every combination, small enough to be read when one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.differential.specs import END, START, Case, Graph, Node, Route

#: Names of nodes by depth: a part's origin can be read off its name.
NAMES = ("abcde", "pqr", "xy")
MODES = ("values", "updates", "custom", "tasks", "debug", "checkpoints", "messages")


def rarely(one_in: int) -> st.SearchStrategy[bool]:
    return st.integers(1, one_in).map(lambda number: number == one_in)


def some_of(names: Any, least: int = 0, most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    names = list(names)
    return st.lists(st.sampled_from(names), min_size=min(least, len(names)), max_size=most, unique=True).map(
        tuple
    )


@st.composite
def nodes(draw: st.DrawFn, name: str, depth: int, later: list[str], outer: str) -> Node:
    """One node. ``later`` names those a Command may go to, ``outer`` those of the graph around."""
    graph = draw(graphs(depth + 1)) if depth + 1 < len(NAMES) and draw(rarely(4)) else None
    returns = draw(
        st.sampled_from(["mapping"] * 6 + ["nothing", "command", "commands"] + ["parent"] * bool(outer))
    )
    if draw(rarely(30)):
        returns = "rubbish"
    goto = draw(some_of(later)) if later and returns in ("command", "commands") else ()
    if returns == "parent":
        goto = draw(some_of(outer, least=1, most=1))
    fails = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return Node(
        name,
        returns=returns,
        goto=goto,
        sets_last=draw(rarely(6)),
        says=draw(st.sampled_from([0, 1, 2])),
        injected=draw(st.booleans()),
        asks=draw(st.sampled_from([0, 0, 0, 0, 1, 2])),
        raises=draw(st.sampled_from([""] * 12 + ["ValueError", "KeyError"])),
        fails=fails,
        attempts=draw(st.sampled_from([3, fails + 1, 1])) if fails else 1,
        message=draw(st.sampled_from(["", "", "", "returned", "streamed"])),
        is_async=draw(st.booleans()),
        defer=draw(rarely(8)),
        graph=graph,
        calls=graph is not None and draw(st.booleans()),
    )


@st.composite
def graphs(draw: st.DrawFn, depth: int = 0) -> Graph:
    names = NAMES[depth][: draw(st.integers(1, len(NAMES[depth])))]
    outer = NAMES[depth - 1] if depth else ""
    made, edges, routes, senders = [], [(START, to) for to in draw(some_of(names, least=1))], [], set()
    for place, name in reversed(list(enumerate(names))):
        later = list(names[place + 1 :])
        # Loops within loops take long: below the root a Command leads onwards only.
        made.append(draw(nodes(name, depth, later or ([] if depth else [name]), outer)))
        for _ in range(draw(st.sampled_from([1, 1, 2]))):
            match draw(st.sampled_from(["edge", "edge", "join", "route", "loop", "send", "end"])):
                case "edge" if later:
                    edges += [(name, to) for to in draw(some_of(later, least=1)) if (name, to) not in edges]
                case "join" if later and place:
                    others = draw(some_of(names[:place], least=1))
                    join = ((*others, name), draw(st.sampled_from(later)))
                    edges += [join] * (join not in edges)
                case "route" if later:
                    routes.append(Route(name, draw(some_of(later, least=1))))
                case "loop" if depth < 2:
                    back = draw(some_of(names[: place + 1], least=1))
                    routes.append(Route(name, back, below=draw(st.integers(2, 8))))
                case "send" if later and (to := draw(st.sampled_from(later))) not in senders:
                    # What is sent to sends nothing itself: the number of tasks stays small.
                    senders.add(name)
                    routes.append(Route(name, (to,), items=draw(st.sampled_from([(1,), (1, 2), (3, 1, 2)]))))
                case _:
                    edges += [(name, END)] * ((name, END) not in edges)
    breakpoints = st.one_of(st.just(()), st.just(()), some_of(names))
    return Graph(
        tuple(reversed(made)),
        tuple(edges),
        tuple(routes),
        memory=draw(st.sampled_from([None, None, None, False, True])) if depth else None,
        own_keys=bool(depth) and draw(st.booleans()),
        before=draw(breakpoints),
        after=draw(breakpoints),
    )


def anywhere(graph: Graph, holds: Callable[[Graph], bool]) -> bool:
    """Whether something holds for a graph or one of its subgraphs."""
    return holds(graph) or any(node.graph is not None and anywhere(node.graph, holds) for node in graph.nodes)


def in_subgraphs(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    def changed(inner: Graph) -> Graph:
        return change(in_subgraphs(inner, change))

    return replace(
        graph,
        nodes=tuple(
            replace(node, graph=None if node.graph is None else changed(node.graph)) for node in graph.nodes
        ),
    )


def is_chain(graph: Graph) -> bool:
    """Whether no two of its tasks can run side by side."""
    sources = [source for source, _ in graph.edges]
    return len(set(sources)) == len(sources) and not graph.routes and not any(n.goto for n in graph.nodes)


def without_races(graph: Graph) -> Graph:
    """Leave out what LangGraph itself does not do the same way twice.

    A subgraph is tried again, and hands a Command to the graph around it, only if nothing runs beside: how
    far the siblings got would be seen.
    """
    nodes = []
    for given in graph.nodes:
        node = given
        if node.graph is not None:
            alone = not anywhere(node.graph, lambda one: not is_chain(one))
            inner = without_races(node.graph)
            if inner.memory and not is_chain(graph):
                inner = replace(inner, memory=None)  # two at once would share it
            node = replace(node, graph=inner, attempts=node.attempts if alone else 1)
        if node.returns == "parent" and not is_chain(graph):
            node = replace(node, returns="command", goto=())
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def without_what_differs(case: Case) -> Case:
    """Leave out combinations that ``docs/differences.md`` says are different: its tests look at them."""
    graph = without_races(case.graph)
    if anywhere(graph, lambda one: any(node.asks for node in one.nodes)):
        graph = in_subgraphs(graph, lambda one: replace(one, before=(), after=()))
    loses = case.durability == "sync" and anywhere(graph, lambda one: one.memory is False)
    return replace(case, graph=graph, durability="async" if loses else case.durability)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    one_or_several = st.one_of(
        st.sampled_from([*MODES, None]),
        st.lists(st.sampled_from(MODES), min_size=1, max_size=3, unique=True),
        st.just([*MODES]),
    )
    saver = draw(st.booleans())
    case = Case(
        draw(graphs()),
        world=draw(st.sampled_from(["astream", "stream", "astream", "stream", "ainvoke", "invoke"])),
        modes=draw(one_or_several),
        version=draw(st.sampled_from(["v1", "v2"])),
        subgraphs=draw(st.booleans()),
        saver=saver,
        durability=draw(st.sampled_from([None, "sync", "async", "exit"])) if saver else None,
        limit=draw(st.sampled_from([12, 12, 4])),
        abreast=draw(st.booleans()),
    )
    return without_what_differs(case)
