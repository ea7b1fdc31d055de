"""Tokens read from the SDKs' own types."""

from typing import Any

import agents
import pytest
from agents.items import ModelResponse as AgentsResponse
from agents.models.interface import Model
from agents.stream_events import RawResponsesStreamEvent
from agents.usage import Usage as AgentsUsage
from anthropic.types import Message, MessageDeltaUsage
from anthropic.types import Usage as AnthropicUsage
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
)
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RequestUsage, RunUsage

import countermand
from countermand import Usage, usage_of

CHAT = CompletionUsage.model_validate(
    {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
)
RESPONSE = {
    "id": "r",
    "created_at": 1,
    "model": "m",
    "object": "response",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}
HEAD: dict[str, Any] = {"id": "c", "created": 1, "model": "m", "choices": []}
ANTHROPIC = AnthropicUsage(
    input_tokens=3, output_tokens=5, cache_read_input_tokens=4, cache_creation_input_tokens=3
)
MESSAGE = Message(id="m", type="message", role="assistant", model="m", content=[], usage=ANTHROPIC)
LANGCHAIN: Any = {
    "input_tokens": 10,
    "output_tokens": 5,
    "total_tokens": 15,
    "input_token_details": {"cache_read": 4, "cache_creation": 1},
    "output_token_details": {"reasoning": 2},
}
AGENTS = AgentsUsage(
    requests=1,
    input_tokens=10,
    output_tokens=5,
    total_tokens=15,
    input_tokens_details={"cached_tokens": 4, "cache_write_tokens": 1},
    output_tokens_details={"reasoning_tokens": 2},
)


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (CHAT, Usage(10, 5, 4, 0, 2)),
        (ChatCompletion(object="chat.completion", usage=CHAT, **HEAD), Usage(10, 5, 4, 0, 2)),
        (ChatCompletionChunk(object="chat.completion.chunk", usage=CHAT, **HEAD), Usage(10, 5, 4, 0, 2)),
        (ChatCompletionChunk(object="chat.completion.chunk", **HEAD), None),
        (Response.model_validate(RESPONSE), Usage(10, 5, 4, 1, 2)),
        (Response.model_validate(RESPONSE).usage, Usage(10, 5, 4, 1, 2)),
        (Response.model_validate(RESPONSE | {"usage": None}), None),
        (ANTHROPIC, Usage(10, 5, 4, 3)),
        (MESSAGE, Usage(10, 5, 4, 3)),
        (MessageDeltaUsage(output_tokens=5), Usage(0, 5)),
        (AGENTS, Usage(10, 5, 4, 1, 2)),
        (AgentsResponse(output=[], usage=AGENTS, response_id=None), Usage(10, 5, 4, 1, 2)),
        (AIMessage("hi", usage_metadata=LANGCHAIN), Usage(10, 5, 4, 1, 2)),
        (AIMessage("hi"), None),
        ([AIMessageChunk("h", usage_metadata=LANGCHAIN), AIMessageChunk("i")], Usage(10, 5, 4, 1, 2)),
        (
            RequestUsage(input_tokens=10, output_tokens=5, cache_read_tokens=4, cache_write_tokens=1),
            Usage(10, 5, 4, 1),
        ),
        (
            RawResponsesStreamEvent(
                ResponseCompletedEvent(
                    type="response.completed", sequence_number=1, response=Response.model_validate(RESPONSE)
                )
            ),
            Usage(10, 5, 4, 1, 2),
        ),
        (RunUsage(requests=2, input_tokens=10, output_tokens=5), Usage(10, 5)),
    ],
    ids=lambda told: type(told).__name__,
)
def test_the_types_of_the_sdks(told: object, usage: Usage | None) -> None:
    """Each by its own names for the same thing."""
    assert usage_of(told) == usage


class Fake(Model):
    """A model of openai-agents that answers at once."""

    async def get_response(self, *_: object, **__: object) -> AgentsResponse:
        text = ResponseOutputText(type="output_text", text="hi", annotations=[])
        message = ResponseOutputMessage(
            id="m", type="message", role="assistant", status="completed", content=[text]
        )
        return AgentsResponse(output=[message], usage=AGENTS, response_id=None)

    def stream_response(self, *_: object, **__: object) -> Any:
        raise NotImplementedError


async def test_a_whole_run_of_openai_agents() -> None:
    """The result of a run knows what all of its requests took."""
    agents.set_tracing_disabled(True)
    result = await agents.Runner.run(agents.Agent(name="a", model=Fake()), "hi")
    assert usage_of(result) == Usage(10, 5, 4, 1, 2)


async def test_a_whole_run_of_pydantic_ai() -> None:
    """So does that of pydantic-ai."""
    result = await Agent(TestModel(custom_output_text="hello")).run("hi")
    usage = usage_of(result)
    assert usage is not None
    assert (usage.input, usage.output) == (result.usage.input_tokens, result.usage.output_tokens)
    assert usage.input > 0


async def test_streams_of_the_frameworks_are_guarded_too() -> None:
    """Their text is known; the end of the loop is the end of their generator."""
    tokens = countermand.token_budget(shared=False)
    model = GenericFakeChatModel(messages=iter([AIMessage("good morning")]))
    async with countermand.guard(model.astream("hi"), tokens=tokens) as langchain:
        async for _ in langchain:
            pass
    assert (langchain.text, langchain.not_closed) == ("good morning", "")
    assert langchain.took == Usage(0, 4, estimated=4)

    async with (
        Agent(TestModel(custom_output_text="good morning")).iter("hi") as run,
        countermand.guard(run) as nodes,
    ):
        async for node in nodes:
            if Agent.is_model_request_node(node):
                async with node.stream(run.ctx) as events:
                    said = countermand.guard(events, close=_nothing, tokens=tokens)
                    async for _ in said:
                        pass
    assert said.text == "good morning"
    assert said.took == Usage(0, 4, estimated=4)


def _nothing() -> None:
    """Its block closes it."""
