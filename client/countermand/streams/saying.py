"""All text that a model made, as its provider counts it: speech, thoughts, and arguments for tools."""

from typing import Any

from countermand.streams.shapes import get, kind_of


def said_of(chunk: object) -> str | None:
    """Answer all text that a chunk adds, whatever it is for; None for a shape that is not known."""
    if isinstance(chunk, str):
        return chunk
    if isinstance(chunk, bytes):
        return chunk.decode(errors="replace")
    kind, choices = kind_of(chunk), get(chunk, "choices")
    if kind == "raw_response_event":  # openai-agents hands on what came
        return said_of(get(chunk, "data"))
    if isinstance(choices, list):  # openai chat: each choice is an answer of its own, and counted
        return "".join(_of_message(get(choice, "delta")) for choice in choices)
    if kind == "AIMessageChunk":  # langchain
        calls = get(chunk, "tool_call_chunks") or []
        return _of_message(chunk) + "".join(_texts(call, "name", "args") for call in calls)
    if kind == "content_block_delta":  # anthropic
        return _texts(get(chunk, "delta"), "text", "thinking", "partial_json")
    if kind == "part_start":  # pydantic-ai
        return _texts(get(chunk, "part"), "content", "tool_name", "args")
    if kind == "part_delta":
        return _texts(get(chunk, "delta"), "content_delta", "tool_name_delta", "args_delta")
    if kind is None:
        return None
    if kind.startswith("response.") and kind.endswith(".delta"):  # openai responses
        return _texts(chunk, "delta")
    return ""  # an event that tells of something else, or says the same again


def _of_message(message: Any) -> str:
    content = get(message, "content")
    parts = content if isinstance(content, list) else []
    said = [_texts(message, "content", "refusal", "reasoning_content", "reasoning")]
    said += [one if isinstance(one, str) else _texts(one, "text", "thinking", "reasoning") for one in parts]
    calls = [get(call, "function") for call in get(message, "tool_calls") or []]
    said += [_texts(call, "name", "arguments") for call in [*calls, get(message, "function_call")]]
    return "".join(said)


def _texts(one: Any, *names: str) -> str:
    """Answer what of these is text."""
    return "".join(told for name in names if isinstance(told := get(one, name), str))
