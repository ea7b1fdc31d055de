"""The two forms of an answer: OpenAI's chat completions, and its responses."""

import json
import time
from collections.abc import Iterator
from typing import Any, Protocol
from uuid import uuid4


class Form(Protocol):
    """How an answer is written, at once or piece by piece."""

    prompt: str
    stream: bool

    def whole(self, text: str) -> dict[str, Any]: ...
    def begin(self) -> str: ...
    def piece(self, word: str) -> str: ...
    def end(self, text: str) -> Iterator[str]: ...


class Chat:
    """`/v1/chat/completions`."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.stream = bool(asked.get("stream"))
        self.prompt = str(asked["messages"][-1]["content"])
        self._head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": "fake"}

    def whole(self, text: str) -> dict[str, Any]:
        """The answer in one piece."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        return self._head | {"object": "chat.completion", "choices": [choice]}

    def begin(self) -> str:
        """What comes before the first word."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, word: str) -> str:
        """One word."""
        return self._chunk({"content": word})

    def end(self, text: str) -> Iterator[str]:
        """What comes after the last word."""
        yield self._chunk({}, "stop")
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event(self._head | {"object": "chat.completion.chunk", "choices": [choice]})


class Responses:
    """`/v1/responses`."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.stream = bool(asked.get("stream"))
        self.prompt = str(asked["input"])
        self._item = f"msg_{uuid4().hex}"
        self._head = {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": "fake",
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
        }
        self._number = 0

    def whole(self, text: str) -> dict[str, Any]:
        """The answer in one piece."""
        said = {"type": "output_text", "text": text, "annotations": []}
        item = {"type": "message", "id": self._item, "role": "assistant", "status": "completed"}
        return self._head | {"status": "completed", "output": [item | {"content": [said]}]}

    def begin(self) -> str:
        """What comes before the first word."""
        answer = self._head | {"status": "in_progress", "output": []}
        return self._event("response.created", response=answer)

    def piece(self, word: str) -> str:
        """One word."""
        return self._event(
            "response.output_text.delta",
            item_id=self._item,
            output_index=0,
            content_index=0,
            delta=word,
            logprobs=[],
        )

    def end(self, text: str) -> Iterator[str]:
        """What comes after the last word."""
        yield self._event("response.completed", response=self.whole(text))

    def _event(self, kind: str, **content: Any) -> str:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **content}, kind)


def event(content: dict[str, Any], kind: str = "") -> str:
    """Write one server-sent event."""
    return (f"event: {kind}\n" if kind else "") + f"data: {json.dumps(content)}\n\n"
