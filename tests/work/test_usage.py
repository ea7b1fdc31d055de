"""Tokens and text, read from the shapes the SDKs answer with; the SDKs' own types are tests/integrations'."""

import pytest

from countermand import Usage, usage_of
from countermand.streams.text import text_of

CHAT = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CHAT_DETAILS = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": None}
RESPONSES = {"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}
ANTHROPIC = {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 4}
ANTHROPIC |= {"cache_creation_input_tokens": 3}
LANGCHAIN = {"input_tokens": 10, "output_tokens": 5, "input_token_details": {"cache_read": 4}}
PYDANTIC = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 4, "cache_write_tokens": 1}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (CHAT | CHAT_DETAILS, Usage(10, 5, cached=4)),
        ({"usage": CHAT}, Usage(10, 5)),
        (RESPONSES, Usage(10, 5, reasoning=2)),
        ({"type": "response.completed", "response": {"usage": RESPONSES}}, Usage(10, 5, reasoning=2)),
        (ANTHROPIC, Usage(10, 5, cached=4, cache_written=3)),
        (ANTHROPIC | {"cache_read_input_tokens": None}, Usage(6, 5, cache_written=3)),
        ({"usage_metadata": LANGCHAIN, "content": "x"}, Usage(10, 5, cached=4)),
        (PYDANTIC, Usage(10, 5, cached=4, cache_written=1)),
        ({"context_wrapper": {"usage": RESPONSES}}, Usage(10, 5, reasoning=2)),
        (Usage(1, 2), Usage(1, 2)),
        ({"usage": None}, None),
        ({"choices": []}, None),
        ("10 tokens", None),
        (None, None),
        ([], None),
    ],
)
def test_what_is_told_is_read(told: object, usage: Usage | None) -> None:
    """`input` is all that the model read, and nothing is made up where nobody said anything."""
    assert usage_of(told) == usage


def test_the_chunks_of_a_stream_are_put_together() -> None:
    """Counts that grow replace each other; those of langchain add up."""
    start = {"type": "message_start", "message": {"usage": ANTHROPIC | {"output_tokens": 1}}}
    deltas = [{"type": "message_delta", "usage": {"output_tokens": count}} for count in (3, 5)]
    assert usage_of([start, {"type": "ping"}, *deltas]) == Usage(10, 5, cached=4, cache_written=3)

    parts = [{"usage_metadata": {"input_tokens": 10, "output_tokens": 0}}]
    parts += [{"usage_metadata": {"input_tokens": 0, "output_tokens": 2}}] * 2
    assert usage_of(parts) == Usage(10, 4)
    assert Usage(1, 2, 3, 4, 5) + Usage(10, 20, 30, 40, 50) == Usage(11, 22, 33, 44, 55)
    assert Usage(1, 2).total == 3


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ("a", "a"),
        ({"choices": [{"delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"delta": {"content": None}}]}, ""),
        ({"choices": []}, ""),
        ({"type": "response.output_text.delta", "delta": "a"}, "a"),
        ({"type": "response.output_text.done", "text": "aaa"}, ""),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}, "a"),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}}, ""),
        ({"type": "text", "text": "a"}, ""),  # anthropic says the same again, for convenience
        ({"type": "AIMessageChunk", "content": [{"type": "text", "text": "a"}, "b"]}, "ab"),
        ({"event_kind": "part_delta", "delta": {"part_delta_kind": "text", "content_delta": "a"}}, "a"),
        ({"event_kind": "part_delta", "delta": {"part_delta_kind": "thinking", "content_delta": "a"}}, ""),
        ({"event_kind": "part_start", "part": {"part_kind": "text", "content": "a"}}, "a"),
        (b"a", ""),
        (7, ""),
    ],
)
def test_the_text_of_a_chunk(chunk: object, text: str) -> None:
    """What the model says, once, and nothing of what it thinks."""
    assert text_of(chunk) == text
