"""Streams of the real SDKs, opened at the fake provider in every way, and how one is seen to be closed."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.integrations.provider import SAYS, Exchange

HI: Any = [{"role": "user", "content": "hi"}]
#: How long a provider may take to notice, on a machine that is busy; and then to go on sending, if it did.
NOTICED, LISTEN = 2.0, 0.1

#: The clients a test has made; they are closed when it is over.
clients: list[Any] = []


def _open(kind: Callable[..., Any], base_url: str) -> Any:
    """Make a client."""
    clients.append(kind(api_key="x", base_url=base_url, max_retries=0, timeout=10))
    return clients[-1]


async def chat(url: str, model: str) -> Any:
    """Open a chat stream of openai's."""
    client = _open(openai.AsyncOpenAI, base_url=f"{url}/v1")
    return await client.chat.completions.create(model=model, stream=True, messages=HI)


async def responses(url: str, model: str) -> Any:
    """Open a stream of openai's responses."""
    client = _open(openai.AsyncOpenAI, base_url=f"{url}/v1")
    return await client.responses.create(model=model, stream=True, input="hi")


async def raw_messages(url: str, model: str) -> Any:
    """Open the bare events of anthropic's."""
    client = _open(anthropic.AsyncAnthropic, base_url=url)
    return await client.messages.create(model=model, stream=True, max_tokens=9, messages=HI)


async def messages(url: str, model: str) -> Any:
    """Open anthropic's stream with snapshots."""
    client = _open(anthropic.AsyncAnthropic, base_url=url)
    return await client.messages.stream(model=model, max_tokens=9, messages=HI).__aenter__()


def chat_blocking(url: str, model: str) -> Any:
    """Open a chat stream of openai's that blocks."""
    client = _open(openai.OpenAI, base_url=f"{url}/v1")
    return client.chat.completions.create(model=model, stream=True, messages=HI)


def responses_blocking(url: str, model: str) -> Any:
    """Open a stream of openai's responses that blocks."""
    client = _open(openai.OpenAI, base_url=f"{url}/v1")
    return client.responses.create(model=model, stream=True, input="hi")


def raw_messages_blocking(url: str, model: str) -> Any:
    """Open the bare events of anthropic's, blocking."""
    client = _open(anthropic.Anthropic, base_url=url)
    return client.messages.create(model=model, stream=True, max_tokens=9, messages=HI)


def messages_blocking(url: str, model: str) -> Any:
    """Open anthropic's stream with snapshots, blocking."""
    client = _open(anthropic.Anthropic, base_url=url)
    return client.messages.stream(model=model, max_tokens=9, messages=HI).__enter__()


Opens = Callable[[str, str], Awaitable[Any]]
ASYNC = pytest.mark.parametrize("opens", [chat, responses, raw_messages, messages])
BLOCKING = pytest.mark.parametrize(
    "opens", [chat_blocking, responses_blocking, raw_messages_blocking, messages_blocking]
)
TALKS = pytest.mark.parametrize("model", ["chatty", "silent"])


def assert_it_was_stopped(exchange: Exchange, stopped_at: float) -> None:
    """The provider saw the client hang up, and sent nothing from then on."""
    assert exchange.is_closed_within(NOTICED)
    assert exchange.closed_at - stopped_at < NOTICED
    assert len(exchange.sent) >= SAYS
    time.sleep(LISTEN)
    assert exchange.sent_after(exchange.closed_at) == 0
