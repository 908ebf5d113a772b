"""Merging messages: LangGraph's rules with LangChain's classes, and the same rules without LangChain."""

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core import messages as lc
from langgraph.graph.message import add_messages as langgraph_add_messages

from engine import messages
from engine.messages import REMOVE_ALL_MESSAGES, Message, MessagesState, RemoveMessage, add_messages

ROOT = Path(__file__).parents[2]

# -- beside LangGraph's reducer ----------------------------------------------------------------------

ids = st.sampled_from(["1", "2", "3"])
texts = st.sampled_from(["", "a", "b"])
likes = st.one_of(
    st.tuples(
        st.sampled_from([lc.HumanMessage, lc.AIMessage, lc.SystemMessage, lc.AIMessageChunk]), texts, ids
    ).map(lambda made: lambda: made[0](content=made[1], id=made[2])),
    st.tuples(st.sampled_from(["user", "human", "ai", "assistant", "system"]), texts, ids).map(
        lambda made: lambda: {"role": made[0], "content": made[1], "id": made[2]}
    ),
    (ids | st.just(REMOVE_ALL_MESSAGES)).map(lambda name: lambda: lc.RemoveMessage(id=name)),
)
several = st.lists(likes, max_size=4) | likes


def build(recipe: Any) -> Any:
    return [make() for make in recipe] if isinstance(recipe, list) else recipe()


def outcome(reduce: Any, writes: list[Any]) -> Any:
    """The states a series of writes leads to, up to the first that is refused."""
    states: list[Any] = []
    state: Any = []
    for write in writes:
        try:
            state = reduce(state, build(write))
        except ValueError as error:
            return [*states, str(error).split(";")[0]]
        states.append(state)
    return states


@settings(max_examples=200, deadline=None)
@given(st.lists(several, max_size=5))
def test_any_series_of_writes_leads_where_langgraph_leads(writes: list[Any]) -> None:
    assert outcome(add_messages, writes) == outcome(langgraph_add_messages, writes)


@pytest.mark.parametrize(
    "like",
    [
        "hello",
        ("user", "hello"),
        ["ai", "hello"],
        {"role": "user", "content": "hello"},
        {"type": "ai", "content": "hello", "name": "bot"},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "args": {}, "id": "c1"}]},
        lc.AIMessageChunk(content="hello"),
    ],
    ids=repr,
)
def test_whatever_stands_for_a_message_becomes_the_one_langgraph_makes_of_it(like: Any) -> None:
    for right in ([like], [lc.HumanMessage("first"), like]):
        ours, theirs = add_messages([], right), langgraph_add_messages([], right)
        assert [type(message) for message in ours] == [type(message) for message in theirs]
        plain = [[m.model_dump(exclude={"id"}) for m in found] for found in (ours, theirs)]
        assert plain[0] == plain[1]
        assert [uuid.UUID(message.id).version for message in ours] == [4] * len(ours)


def test_the_format_of_openai_is_langgraphs() -> None:
    block = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/jpeg", "data": "1234"},
    }
    write = [{"role": "user", "content": [{"type": "text", "text": "see"}, block], "id": "1"}]
    reduced = [
        reduce(format="langchain-openai")([], write) for reduce in (add_messages, langgraph_add_messages)
    ]
    assert [m.content for m in reduced[0]] == [m.content for m in reduced[1]]
    assert [type(m) for m in reduced[0]] == [lc.HumanMessage]


@pytest.mark.parametrize(
    ("args", "options"), [(([], None), {}), ((None, []), {}), (([], []), {"format": "nope"})], ids=repr
)
def test_what_langgraph_refuses_is_refused_in_its_words(args: Any, options: Any) -> None:
    with pytest.raises(ValueError) as theirs:
        langgraph_add_messages(*args, **options)
    with pytest.raises(ValueError) as ours:
        add_messages(*args, **options)
    # Theirs names the wrong side when the one that was given is empty.
    assert str(ours.value).split("Only received")[0] == str(theirs.value).split("Only received")[0]


def test_removing_what_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError) as caught:
        add_messages([("user", "hi")], lc.RemoveMessage(id="nine"))
    assert str(caught.value) == (
        "Attempting to delete a message with an ID that doesn't exist ('nine'); "
        "remove only what is in the state, or everything with RemoveMessage(REMOVE_ALL_MESSAGES)"
    )


# -- what is promised beyond that --------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [lc.HumanMessage, lambda text, **more: Message(role="user", content=text, **more)]
)
def test_neither_list_changes(kind: Any) -> None:
    left, right = [kind("a", id="1"), kind("b")], [kind("c", id="1"), "text", kind("d")]
    before = [*left], [*right]
    merged = add_messages(left, right)
    assert [[id(m) for m in found] for found in (left, right)] == [[id(m) for m in found] for found in before]
    assert merged is not left
    assert merged is not right
    assert [m.content for m in merged] == ["c", "b", "text", "d"]


def test_a_message_that_can_change_gets_its_id_itself() -> None:
    given = lc.AIMessage("hello")
    [merged] = add_messages([], given)
    assert merged is given
    assert given.id is not None


def test_our_messages_stay_what_they_are_beside_langchains() -> None:
    own = Message(role="assistant", content="own", id="1")
    merged = add_messages([own, lc.HumanMessage("theirs", id="2")], [("user", "text"), RemoveMessage("2")])
    assert merged[0] is own
    assert [type(message) for message in merged] == [Message, lc.HumanMessage]
    assert [message.content for message in merged] == ["own", "text"]


def test_a_message_can_be_written_as_json_and_read_again() -> None:
    message = Message(role="tool", content=[{"type": "text", "text": "4"}], id="1", tool_call_id="c")
    written = msgspec.json.encode(message)
    assert written == b'{"role":"tool","content":[{"type":"text","text":"4"}],"id":"1","tool_call_id":"c"}'
    assert msgspec.json.decode(written, type=Message) == message


def test_the_ready_made_state_has_a_conversation() -> None:
    [(name, hint)] = get_type_hints(MessagesState, include_extras=True).items()
    assert (name, hint.__metadata__) == ("messages", (add_messages,))


# -- without LangChain -------------------------------------------------------------------------------


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if LangChain were not installed."""
    monkeypatch.setattr(messages, "_langchain", lambda: None)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("hello", Message(role="user", content="hello")),
        (("human", "hello"), Message(role="user", content="hello")),
        (["ai", "hello"], Message(role="assistant", content="hello")),
        ({"type": "ai", "content": [{}]}, Message(role="assistant", content=[{}])),
        (
            {"role": "tool", "content": "4", "tool_call_id": "c", "status": "ok"},
            Message(role="tool", content="4", tool_call_id="c", extra={"status": "ok"}),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c"}], "name": "bot"},
            Message(role="assistant", content=None, tool_calls=[{"id": "c"}], name="bot"),
        ),
    ],
    ids=repr,
)
def test_alone_whatever_stands_for_a_message_becomes_one_of_ours(like: Any, message: Message) -> None:
    [merged] = add_messages([], [like])
    assert uuid.UUID(merged.id).version == 4
    assert msgspec.structs.replace(merged, id=None) == message


@pytest.mark.usefixtures("alone")
def test_alone_the_rules_are_the_same() -> None:
    state: list[Any] = []
    contents = []
    for write in (
        [{"role": "user", "content": "a", "id": "1"}, {"role": "ai", "content": "b", "id": "2"}],
        {"role": "user", "content": "A", "id": "1"},
        [RemoveMessage("2"), ("user", "c")],
        {"role": "remove", "id": "1"},
        [("user", "lost"), RemoveMessage(REMOVE_ALL_MESSAGES), ("user", "d")],
    ):
        state = add_messages(state, write)
        contents.append([m.content for m in state])
    assert contents == [["a", "b"], ["A", "b"], ["A", "c"], ["c"], ["d"]]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("like", "error"),
    [
        (3, "message: 3 is no message; give text, (role, content), a mapping of both, or a Message"),
        ({"role": "user"}, "message: {'role': 'user'} lacks role or content; a message needs both"),
        (
            ("usr", "hello"),
            (
                "message: ('usr', 'hello') has the unknown role 'usr'; choose from user, human, assistant, "
                "ai, system, developer, tool, function"
            ),
        ),
    ],
)
def test_alone_what_is_no_message_is_refused(like: Any, error: str) -> None:
    with pytest.raises(ValueError) as caught:
        add_messages([], [like])
    assert str(caught.value) == error


@pytest.mark.usefixtures("alone")
def test_alone_a_format_of_langchains_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        add_messages([], ["hello"], format="langchain-openai")
    assert (
        str(caught.value) == "format='langchain-openai' needs langchain-core; install it, or leave format out"
    )


def run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=50
    )
    return done.stdout.splitlines()


def test_a_process_that_has_no_langchain_merges_messages() -> None:
    program = """
import sys
sys.modules["langchain_core"] = None  # as if it were not installed
from engine.messages import add_messages
from otel_stream.adapters import langchain
print(langchain.available(), langchain.loaded())
print(*(f"{m.role}: {m.content}" for m in add_messages(["hi"], [("ai", "hello")])))
"""
    assert run(program) == ["False False", "user: hi assistant: hello"]


def test_langchain_is_loaded_when_a_message_of_its_is_needed_and_not_before() -> None:
    program = """
import sys
from engine.messages import Message, add_messages
[message] = add_messages([], [Message(role="user", content="hi")])
print("langchain_core" in sys.modules)
[message] = add_messages([], ["hi"])
print(type(message).__name__)
"""
    assert run(program) == ["False", "HumanMessage"]
