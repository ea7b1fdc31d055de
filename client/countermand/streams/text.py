"""The text of a chunk, by the shape of the SDK it came from; no SDK is imported for it."""

from typing import Any


def text_of(chunk: object) -> str:
    """Answer the text that a chunk adds; empty for what adds none, and for shapes that are not known."""
    if isinstance(chunk, str):
        return chunk
    kind = _get(chunk, "type") or _get(chunk, "event_kind")
    if kind == "raw_response_event":  # openai-agents hands on what came
        return text_of(_get(chunk, "data"))
    if kind in ("response.output_text.delta", "content_block_delta"):  # openai responses, anthropic
        return _plain(_get(chunk, "delta"))
    if kind == "part_start":  # pydantic-ai
        return _plain(_get(chunk, "part"))
    if kind == "part_delta":
        return _plain(_get(chunk, "delta"))
    choices = _get(chunk, "choices")
    if isinstance(choices, list):  # openai chat; further choices are other answers
        return _plain(_get(choices[0], "delta")) if choices else ""
    if kind == "AIMessageChunk":  # langchain
        return _plain(chunk)
    return ""


def _plain(part: Any) -> str:
    """Answer the text of a part: its `text`, `content` or `content_delta`, if that is text and no thought."""
    if isinstance(part, str):
        return part
    if _get(part, "part_kind") not in (None, "text") or _get(part, "part_delta_kind") not in (None, "text"):
        return ""
    for name in ("content_delta", "content", "text"):
        told = _get(part, name)
        if isinstance(told, str):
            return told
        if name == "content" and isinstance(told, list):
            return "".join(one if isinstance(one, str) else _plain(one) for one in told)
    return ""


def _get(one: Any, name: str) -> Any:
    return one.get(name) if isinstance(one, dict) else getattr(one, name, None)
