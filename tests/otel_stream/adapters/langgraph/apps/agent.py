"""An agent with a tool. It knows nothing of telemetry."""

import warnings
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langgraph.prebuilt import create_react_agent


@tool
def weather(city: str) -> str:
    """Say how the weather is."""
    return f"rain in {city}"


class Model(GenericFakeChatModel):
    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self


call = {"name": "weather", "args": {"city": "Delft"}, "id": "1"}
model = Model(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Take an umbrella.")]))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    agent = create_react_agent(model, [weather], name="forecaster")

if __name__ == "__main__":
    answer = agent.invoke({"messages": [HumanMessage("What do I need in Delft?")]})
    print(answer["messages"][-1].content)
