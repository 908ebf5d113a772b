"""Programs of the shapes that people publish do here what they do on LangGraph; only their imports differ."""

import asyncio
import importlib
import operator
import re
import string
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.prebuilt import ToolNode, create_react_agent, tools_condition
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

import engine


class Theirs:
    """LangGraph's names, wherever it has them; ours are all in one place."""

    def __getattr__(self, name: str) -> Any:
        places = ("graph", "types", "func", "config", "runtime", "checkpoint.memory", "store.memory")
        for place in places:
            found = getattr(importlib.import_module(f"langgraph.{place}"), name, None)
            if found is not None:
                return found
        raise AttributeError(name)


class Scripted(GenericFakeChatModel):
    """A model whose answers are written down, whatever tools it is given."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def scripted(*answers: Any) -> Scripted:
    return Scripted(messages=iter([AIMessage(a) if isinstance(a, str) else a for a in answers]))


def calls(name: str, id: str = "1", **args: Any) -> AIMessage:
    return AIMessage("Let me see.", tool_calls=[{"name": name, "args": args, "id": id}])


def thread(id: str = "1") -> Any:
    return {"configurable": {"thread_id": id}}


@tool
def search(query: str) -> str:
    """Look something up."""
    return f"found {query}"


def plain(value: Any) -> Any:
    """Return what a program showed without what differs from run to run."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in ("id", "langgraph_version")}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "content"):
        return type(value).__name__, value.content, getattr(value, "tool_calls", None)
    if type(value).__name__ in ("Interrupt", "Command", "Send", "StateSnapshot"):
        return type(value).__name__, plain(getattr(value, "value", None))
    return re.sub(r":[0-9a-f-]{36}", "", value) if isinstance(value, str) else value


# -- the programs ----------------------------------------------------------------------------------------


def chatbot_with_tools_and_memory(lg: Any) -> Any:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], lg.add_messages]

    model = scripted(calls("search", query="LangGraph"), "It is a library.", "As I said.")
    builder = lg.StateGraph(State)
    builder.add_node("chatbot", lambda s: {"messages": [model.bind_tools([search]).invoke(s["messages"])]})
    builder.add_node("tools", ToolNode([search]))
    builder.add_conditional_edges("chatbot", tools_condition)
    builder.add_edge("tools", "chatbot")
    builder.add_edge(lg.START, "chatbot")
    graph = builder.compile(checkpointer=lg.InMemorySaver())
    seen = [
        *graph.stream({"messages": [{"role": "user", "content": "What?"}]}, thread(), stream_mode="values")
    ]
    again = [*graph.stream({"messages": [("user", "Sure?")]}, thread(), stream_mode="updates")]
    history = [(s.next, len(s.values.get("messages", ()))) for s in graph.get_state_history(thread())]
    return seen, again, history


def react_from_scratch(lg: Any) -> Any:
    model = scripted(calls("search", query="a"), calls("search", id="2", query="b"), "Done.")

    def call_model(state: Any, config: RunnableConfig) -> Any:
        return {"messages": [model.invoke([SystemMessage("You are helpful."), *state["messages"]], config)]}

    def call_tools(state: Any) -> Any:
        asked = state["messages"][-1].tool_calls
        return {"messages": [ToolMessage(search.invoke(c["args"]), tool_call_id=c["id"]) for c in asked]}

    def should_continue(state: Any) -> Literal["tools", "__end__"]:
        return "tools" if state["messages"][-1].tool_calls else "__end__"

    builder = lg.StateGraph(lg.MessagesState).add_node("agent", call_model).add_node("tools", call_tools)
    builder.set_entry_point("agent")
    builder.add_conditional_edges("agent", should_continue, {"tools": "tools", "__end__": lg.END})
    builder.add_edge("tools", "agent")
    graph = builder.compile()
    tokens = [
        (message.content, about["langgraph_node"])
        for message, about in graph.stream({"messages": [("user", "go")]}, stream_mode="messages")
    ]
    return tokens, sorted(graph.get_graph().draw_mermaid().splitlines())


def approve_or_edit(lg: Any) -> Any:
    class State(TypedDict, total=False):
        text: str
        sent: list[str]

    def review(state: State) -> Any:
        answer = lg.interrupt({"question": "Send it?", "text": state["text"]})
        if answer["type"] == "reject":
            return lg.Command(goto=lg.END)
        return lg.Command(goto="send", update={"text": answer.get("text", state["text"])})

    builder = lg.StateGraph(State)
    builder.add_node("draft", lambda s: {"text": "Dear all"})
    builder.add_node("review", review, destinations=("send", lg.END))
    builder.add_node("send", lambda s: {"sent": [s["text"]]})
    builder.add_edge(lg.START, "draft")
    builder.add_edge("draft", "review")
    graph = builder.compile(checkpointer=lg.InMemorySaver())
    found = []
    for n, answer in enumerate(({"type": "accept"}, {"type": "edit", "text": "Hello"}, {"type": "reject"})):
        asked = graph.invoke({}, thread(str(n)))
        waiting = graph.get_state(thread(str(n)))
        result = graph.invoke(lg.Command(resume=answer), thread(str(n)))
        found.append((asked, waiting.next, [i.value for i in waiting.interrupts], result))
    return found


def tool_that_asks(lg: Any) -> Any:
    @tool
    def book(hotel: str) -> str:
        """Book a hotel."""
        answer = lg.interrupt(f"Book {hotel}?")
        return f"booked {answer.get('hotel', hotel)}" if answer["ok"] else "not booked"

    model = scripted(calls("book", hotel="Ritz"), "Done.")
    builder = lg.StateGraph(lg.MessagesState)
    builder.add_node("agent", lambda s: {"messages": [model.invoke(s["messages"])]})
    builder.add_node("tools", ToolNode([book]))
    builder.add_edge(lg.START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    graph = builder.compile(checkpointer=lg.InMemorySaver())
    asked = graph.invoke({"messages": [("user", "A room")]}, thread())
    return asked, graph.invoke(lg.Command(resume={"ok": True, "hotel": "Savoy"}), thread())


def map_reduce_of_jokes(lg: Any) -> Any:
    class Overall(TypedDict, total=False):
        topic: str
        subjects: list[str]
        jokes: Annotated[list[str], operator.add]
        best: str

    class OfOne(TypedDict):
        subject: str

    builder = lg.StateGraph(Overall)
    builder.add_node("topics", lambda s: {"subjects": [f"{s['topic']} {n}" for n in range(3)]})
    builder.add_node("joke", lambda s: {"jokes": [f"joke about {s['subject']}"]}, input_schema=OfOne)
    builder.add_node("best", lambda s: {"best": max(s["jokes"])})
    builder.add_edge(lg.START, "topics")
    builder.add_conditional_edges(
        "topics", lambda s: [lg.Send("joke", {"subject": one}) for one in s["subjects"]], ["joke"]
    )
    builder.add_edge("joke", "best")
    builder.add_edge("best", lg.END)
    graph = builder.compile()
    # The three of a superstep come as they end.
    parts = sorted(graph.stream({"topic": "cats"}), key=str)
    return parts, sorted(graph.get_graph().draw_mermaid().splitlines())


def plan_and_execute(lg: Any) -> Any:
    class State(TypedDict, total=False):
        plan: list[str]
        past: Annotated[list[tuple[str, str]], operator.add]
        response: str

    async def step(state: State) -> State:
        return {"past": [(state["plan"][0], await search.ainvoke({"query": state["plan"][0]}))]}

    async def replan(state: State) -> State:
        rest = state["plan"][1:]
        return {"plan": rest} if rest else {"response": f"{len(state['past'])} steps"}

    builder = lg.StateGraph(State)
    builder.add_node("planner", lambda s: {"plan": ["a", "b"]})
    builder.add_node("agent", step)
    builder.add_node("replan", replan)
    builder.add_edge(lg.START, "planner")
    builder.add_edge("planner", "agent")
    builder.add_edge("agent", "replan")
    builder.add_conditional_edges(
        "replan", lambda s: lg.END if s.get("response") else "agent", ["agent", lg.END]
    )
    graph = builder.compile()

    async def run() -> Any:
        return [part async for part in graph.astream({}, {"recursion_limit": 20})]

    return asyncio.run(run())


def reflection(lg: Any) -> Any:
    writer, critic = scripted("draft 1", "draft 2", "draft 3"), scripted("longer", "better")

    def reflect(state: Any) -> Any:
        return {"messages": [HumanMessage(critic.invoke(state["messages"]).content)]}

    builder = lg.StateGraph(lg.MessagesState)
    builder.add_node("generate", lambda s: {"messages": [writer.invoke(s["messages"])]})
    builder.add_node("reflect", reflect)
    builder.add_edge(lg.START, "generate")
    builder.add_conditional_edges("generate", lambda s: lg.END if len(s["messages"]) > 5 else "reflect")
    builder.add_edge("reflect", "generate")
    return [*builder.compile().stream({"messages": [HumanMessage("an essay")]})]


def supervised_teams(lg: Any) -> Any:
    def team(name: str) -> Any:
        def work(state: Any) -> Any:
            return {"messages": [HumanMessage(f"{name}: {len(state['messages'])}", name=name)]}

        return lg.StateGraph(lg.MessagesState).add_node("work", work).add_edge(lg.START, "work").compile()

    order = iter(["research", "writing", lg.END])
    builder = lg.StateGraph(lg.MessagesState)
    builder.add_node(
        "supervisor", lambda s: lg.Command(goto=next(order)), destinations=("research", "writing")
    )
    for name in ("research", "writing"):
        builder.add_node(name, team(name))
        builder.add_edge(name, "supervisor")
    builder.add_edge(lg.START, "supervisor")
    return [*builder.compile().stream({"messages": [("user", "report")]}, subgraphs=True)]


def corrective_rag(lg: Any) -> Any:
    class State(BaseModel):
        question: str
        documents: list[str] = []
        web: bool = False
        answer: str = ""

    builder = lg.StateGraph(State)
    builder.add_node("retrieve", lambda s: {"documents": ["good", "bad"]})
    builder.add_node(
        "grade", lambda s: {"documents": [d for d in s.documents if d == "good"], "web": "bad" in s.documents}
    )
    builder.add_node("transform", lambda s: {"question": s.question + "!"})
    builder.add_node("search", lambda s: {"documents": [*s.documents, search.invoke({"query": s.question})]})
    builder.add_node("generate", lambda s: {"answer": " ".join(s.documents)})
    builder.add_edge(lg.START, "retrieve")
    builder.add_edge("retrieve", "grade")
    builder.add_conditional_edges(
        "grade", lambda s: "yes" if s.web else "no", {"yes": "transform", "no": "generate"}
    )
    builder.add_edge("transform", "search")
    builder.add_edge("search", "generate")
    builder.add_edge("generate", lg.END)
    graph = builder.compile()
    return [*graph.stream({"question": "why?"})], graph.invoke({"question": "why?"})


def time_travel(lg: Any) -> Any:
    class State(TypedDict, total=False):
        topic: str
        joke: str

    builder = lg.StateGraph(State)
    builder.add_node("topic", lambda s: {"topic": "socks"})
    builder.add_node("joke", lambda s: {"joke": f"about {s['topic']}"})
    builder.add_edge(lg.START, "topic")
    builder.add_edge("topic", "joke")
    graph = builder.compile(checkpointer=lg.InMemorySaver())
    first = graph.invoke({}, thread())
    before = next(s for s in graph.get_state_history(thread()) if s.next == ("joke",))
    other = graph.update_state(before.config, {"topic": "chickens"})
    second = graph.invoke(None, other)
    return (
        first,
        second,
        [(s.next, s.values, s.metadata["source"]) for s in graph.get_state_history(thread())],
    )


def functional_essay(lg: Any) -> Any:
    @lg.task
    def write(topic: str) -> str:
        return f"an essay about {topic}"

    @lg.task
    def grade(essay: str) -> int:
        return len(essay)

    @lg.entrypoint(checkpointer=lg.InMemorySaver())
    def workflow(topic: str, *, previous: Any = None) -> Any:
        essays = [write(f"{topic} {n}") for n in range(2)]
        best = max((essay.result() for essay in essays), key=lambda e: grade(e).result())
        verdict = lg.interrupt({"essay": best, "before": previous})
        return lg.entrypoint.final(value={"essay": best, "verdict": verdict}, save=verdict)

    found = []
    for topic in ("cats", "dogs"):
        asked = [*workflow.stream(topic, thread())]
        rest = [*workflow.stream(lg.Command(resume=f"{topic} ok"), thread())]
        # Calls end in any order, and which of them a resumed run shows again depends on it.
        found.append([sorted(map(str, plain(asked[:-1]))), plain(asked[-1:]), plain(rest[-1:])])
    return found


def handoffs_between_agents(lg: Any) -> Any:
    @tool
    def to_bob() -> Any:
        """Ask Bob."""
        said = ToolMessage("over to Bob", tool_call_id="1")
        # LangGraph's ToolNode takes LangGraph's only.
        return Command(goto="bob", update={"messages": [said]}, graph=Command.PARENT)

    class Inner(lg.MessagesState):
        pass

    def alice(state: Any) -> Any:
        return {"messages": [calls("to_bob")]}

    agent = lg.StateGraph(Inner).add_node("model", alice).add_node("tools", ToolNode([to_bob]))
    agent = agent.add_edge(lg.START, "model").add_edge("model", "tools").compile()
    builder = lg.StateGraph(lg.MessagesState)
    builder.add_node("alice", agent, destinations=("bob",))
    builder.add_node("bob", lambda s: {"messages": [AIMessage(f"Bob read {len(s['messages'])}")]})
    builder.add_edge(lg.START, "alice")
    return builder.compile().invoke({"messages": [("user", "Ask Bob")]})


def letters(texts: list[str]) -> list[list[float]]:
    """Embed texts by the letters in them."""
    return [[float(text.lower().count(letter)) for letter in string.ascii_lowercase] for text in texts]


def semantic_memory(lg: Any) -> Any:
    store = lg.InMemoryStore(index={"embed": letters, "dims": 26, "fields": ["text"]})
    for n, text in enumerate(("I love pizza", "I am a plumber", "I have a cat")):
        store.put(("user_1", "memories"), str(n), {"text": text})

    def chat(state, *, store):  # type: ignore[no-untyped-def]
        found = store.search(("user_1", "memories"), query=state["messages"][-1].content, limit=1)
        return {"messages": [AIMessage(item.value["text"]) for item in found]}

    graph = (
        lg.StateGraph(lg.MessagesState).add_node("chat", chat).add_edge(lg.START, "chat").compile(store=store)
    )
    return graph.invoke({"messages": [("user", "I am a plumber")]})


def prebuilt_agent_as_a_node(lg: Any) -> Any:
    agent = create_react_agent(scripted(calls("search", query="x"), "Found."), [search])
    graph = lg.StateGraph(lg.MessagesState).add_node("agent", agent).add_edge(lg.START, "agent").compile()
    return graph.invoke({"messages": [("user", "x?")]})


PROGRAMS: tuple[Callable[[Any], Any], ...] = (
    chatbot_with_tools_and_memory,
    react_from_scratch,
    approve_or_edit,
    tool_that_asks,
    map_reduce_of_jokes,
    plan_and_execute,
    reflection,
    supervised_teams,
    corrective_rag,
    time_travel,
    functional_essay,
    handoffs_between_agents,
    semantic_memory,
    prebuilt_agent_as_a_node,
)


@pytest.mark.filterwarnings("ignore:.*create_react_agent has been moved")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_published_program_does_here_what_it_does_on_langgraph(program: Callable[[Any], Any]) -> None:
    assert plain(program(engine)) == plain(program(Theirs()))
