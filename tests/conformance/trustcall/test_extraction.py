"""What trustcall's README shows, with a model that says what it is told to."""

from collections.abc import Sequence
from typing import Any, TypedDict

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel, Field, field_validator
from trustcall import create_extractor


class Scripted(BaseChatModel):
    """A model whose answers are written down; whatever tools are bound to it, it is the same script."""

    script: list[AIMessage]
    heard: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        answer = self.script[len(self.heard)]
        self.heard.append(messages)
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy(deep=True))])


class Address(BaseModel):
    street: str
    number: int


class Person(BaseModel):
    """Somebody who was mentioned."""

    name: str
    address: Address
    languages: dict[str, str] = {}

    @field_validator("name")
    @classmethod
    def is_capital(cls, name: str) -> str:
        if not name[:1].isupper():
            raise ValueError("a name begins with a capital letter")
        return name


class PersonDict(TypedDict):
    """Somebody who was mentioned."""

    name: str
    address: Address


def person(name: str, address: Address) -> None:
    """Take note of somebody."""


RIGHT = {"name": "Ada", "address": {"street": "Elm", "number": 7}}
WRONG = {"name": "Ada", "address": {"street": "Elm", "number": "seven"}}
MEND = {"op": "replace", "path": "/address/number", "value": 7}

FORMS = {
    "model": (Person, "Person"),
    "typeddict": (PersonDict, "PersonDict"),
    "function": (person, "person"),
    "tool": (tool(person), "person"),
    "schema": ({"title": "Person", "description": "Somebody.", **Person.model_json_schema()}, "Person"),
}
INPUTS = {
    "text": lambda: "Ada lives in Elm street 7.",
    "messages": lambda: [SystemMessage("Extract."), HumanMessage("Ada lives in Elm street 7.")],
    "prompt": lambda: ChatPromptTemplate.from_messages([("system", "Extract."), ("user", "Ada")]).invoke({}),
    "state": lambda: {"messages": [("user", "Ada lives in Elm street 7.")]},
}


def says(*calls: tuple[str, str, dict[str, Any]]) -> AIMessage:
    return AIMessage("", tool_calls=[{"id": id, "name": name, "args": args} for id, name, args in calls])


def patch(document: str, *patches: dict[str, Any], id: str = "p", kind: str = "PatchFunctionErrors") -> Any:
    reason = {"reasoning": "as it was said", "planned_edits": "as it was said"}
    return id, kind, {"json_doc_id": document, "patches": list(patches), **reason}


def dumped(response: Any) -> Any:
    return response.model_dump() if isinstance(response, BaseModel) else response


@pytest.mark.parametrize("world", ["sync", "async"])
@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrong", [0, 1, 2])
async def test_what_was_said_is_extracted_and_repaired(form: str, given: str, wrong: int, world: str) -> None:
    target, name = FORMS[form]
    mend = says(patch("a", MEND))
    in_vain = says(patch("a", {**MEND, "value": "still seven"}))
    script = [says(("a", name, WRONG if wrong else RIGHT)), *[in_vain, mend][2 - wrong :]]
    model = Scripted(script=script)
    extractor = create_extractor(model, tools=[target], tool_choice=name)
    value = INPUTS[given]()
    result = await extractor.ainvoke(value) if world == "async" else extractor.invoke(value)
    assert [message.tool_calls[0]["args"] for message in result["messages"]] == [RIGHT]
    assert [message.tool_calls[0]["id"] for message in result["messages"]] == ["a"]
    found = [dumped(response) for response in result["responses"]]
    assert [{key: one[key] for key in RIGHT} for one in found] == [RIGHT]
    assert result["attempts"] == len(model.heard) == len(script)


async def test_the_model_is_told_what_was_wrong() -> None:
    model = Scripted(script=[says(("a", "Person", WRONG)), says(patch("a", MEND))])
    await create_extractor(model, tools=[Person]).ainvoke("Ada lives in Elm street 7.")
    told = [message for message in model.heard[1] if isinstance(message, ToolMessage)]
    assert [message.tool_call_id for message in told] == ["a"]
    assert "address.number" in str(told[0].content)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("repairs", [0, 1])
async def test_what_is_known_is_updated(form: str, repairs: int) -> None:
    target, name = FORMS[form]
    move = {"op": "replace", "path": "/address/street", "value": "Oak"}
    broken = {"op": "replace", "path": "/address/number", "value": "eight"}
    first = says(patch(name, move, *[broken] * repairs, kind="PatchDoc", id="a"))
    model = Scripted(script=[first, says(patch("a", {**broken, "value": 8}))])
    extractor = create_extractor(model, tools=[target])
    result = await extractor.ainvoke({"messages": [("user", "Ada moved.")], "existing": {name: RIGHT}})
    wanted = {"name": "Ada", "address": {"street": "Oak", "number": 8 if repairs else 7}}
    found = [dumped(response) for response in result["responses"]]
    assert [{key: one[key] for key in RIGHT} for one in found] == [wanted]


@pytest.mark.parametrize("known", ["tuples", "mapping"])
async def test_several_are_updated_and_inserted_at_once(known: str) -> None:
    existing: Any = [("1", "Person", RIGHT)] if known == "tuples" else {"Person": RIGHT}
    document = "1" if known == "tuples" else "Person"
    grace = {"name": "Grace", "address": {"street": "Fir", "number": 1}}
    move = {"op": "add", "path": "/languages", "value": {"English": "native"}}
    script = [says(patch(document, move, id="a", kind="PatchDoc"), ("b", "Person", grace))]
    extractor = create_extractor(Scripted(script=script), tools=[Person], enable_inserts=True)
    result = await extractor.ainvoke({"messages": [("user", "Ada and Grace.")], "existing": existing})
    assert sorted(dumped(one)["name"] for one in result["responses"]) == ["Ada", "Grace"]
    assert [one.languages for one in result["responses"] if one.name == "Ada"] == [{"English": "native"}]
    assert [meta.get("json_doc_id") for meta in result["response_metadata"]] == [document, None]


async def test_documents_can_be_removed() -> None:
    existing = [("1", "Person", RIGHT), ("2", "Person", {**RIGHT, "name": "Grace"})]
    model = Scripted(script=[says(("r", "RemoveDoc", {"json_doc_id": "2"}))])
    extractor = create_extractor(model, tools=[Person], enable_inserts=True, enable_deletes=True)
    result = await extractor.ainvoke({"messages": [("user", "Forget Grace.")], "existing": existing})
    assert [meta["json_doc_id"] for meta in result["response_metadata"]] == ["2"]


@pytest.mark.parametrize("policy", [True, False, "ignore"])
async def test_documents_of_unknown_schemas_follow_the_policy(policy: Any) -> None:
    model = Scripted(script=[says(patch("Person", MEND, kind="PatchDoc"))] * 2)
    extractor = create_extractor(model, tools=[Person], enable_inserts=False, existing_schema_policy=policy)
    given = {"messages": [("user", "Ada.")], "existing": {"Person": RIGHT, "Unknown": {"a": 1}}}
    if policy is True:
        with pytest.raises(ValueError, match="Unknown"):
            await extractor.ainvoke(given)
    else:
        result = await extractor.ainvoke(given)
        assert [one.name for one in result["responses"]] == ["Ada"]


async def test_several_calls_are_repaired_side_by_side() -> None:
    script = [
        says(("a", "Person", WRONG), ("b", "Person", {**WRONG, "name": "Grace"})),
        says(patch("a", MEND)),
        says(patch("b", MEND)),
    ]
    result = await create_extractor(Scripted(script=script), tools=[Person]).ainvoke("Ada and Grace.")
    assert sorted(one.name for one in result["responses"]) == ["Ada", "Grace"]


async def test_a_stream_shows_each_step() -> None:
    model = Scripted(script=[says(("a", "Person", WRONG)), says(patch("a", MEND))])
    extractor = create_extractor(model, tools=[Person])
    names = [name async for part in extractor.astream("Ada", stream_mode="updates") for name in part]
    assert names[0] != names[-1]
    assert len(model.heard) == 2
