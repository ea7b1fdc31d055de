"""The text of a chunk, by the shape of the SDK it came from; no SDK is imported for it."""

from typing import Any

from countermand.streams.shapes import get, kind_of


def text_of(chunk: object) -> str:
    """Answer the text that a chunk adds; empty for what adds none, and for shapes that are not known."""
    if isinstance(chunk, str):
        return chunk
    kind = kind_of(chunk)
    if kind == "raw_response_event":  # openai-agents hands on what came
        return text_of(get(chunk, "data"))
    if kind in ("response.output_text.delta", "content_block_delta"):  # openai responses, anthropic
        return _plain(get(chunk, "delta"))
    if kind == "part_start":  # pydantic-ai
        return _plain(get(chunk, "part"))
    if kind == "part_delta":
        return _plain(get(chunk, "delta"))
    choices = get(chunk, "choices")
    if isinstance(choices, list):  # openai chat; further choices are other answers
        return _plain(get(choices[0], "delta")) if choices else ""
    if kind == "AIMessageChunk":  # langchain
        return _plain(chunk)
    return ""


def _plain(part: Any) -> str:
    """Answer the text of a part: its `text`, `content` or `content_delta`, if that is text and no thought."""
    if isinstance(part, str):
        return part
    if get(part, "part_kind") not in (None, "text") or get(part, "part_delta_kind") not in (None, "text"):
        return ""
    for name in ("content_delta", "content", "text"):
        told = get(part, name)
        if isinstance(told, str):
            return told
        if name == "content" and isinstance(told, list):
            return "".join(one if isinstance(one, str) else _plain(one) for one in told)
    return ""
