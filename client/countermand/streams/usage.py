"""How many tokens a model took, read from what the SDKs answer, by its shape; none of them is imported."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from countermand.streams.shapes import get

#: Where a total is found, in the order of the SDKs: openai chat; openai responses, anthropic and the rest.
_INPUT, _OUTPUT = ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")
#: Where its details are: openai chat, openai responses, langchain.
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
#: What an answer, or an event of its stream, keeps its usage in.
_HOLDERS = ("usage", "usage_metadata", "response", "message", "context_wrapper", "data", "result")

#: How deep: an event of openai-agents holds one of openai's, which holds a response, which holds its usage.
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model took. Whatever the SDK counts, here `input` is all that was read, cached or not."""

    input: int = 0
    output: int = 0
    #: Of the input: what came from a cache, and what was written to one.
    cached: int = 0
    cache_written: int = 0
    #: Of the output: what the model thought.
    reasoning: int = 0
    #: Of all of it: what no provider has told, but was estimated here.
    estimated: int = 0

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input + self.output

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.cache_written + other.cache_written,
            self.reasoning + other.reasoning,
            self.estimated + other.estimated,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input - other.input,
            self.output - other.output,
            self.cached - other.cached,
            self.cache_written - other.cache_written,
            self.reasoning - other.reasoning,
            self.estimated - other.estimated,
        )


def usage_of(told: object) -> Usage | None:
    """Read the tokens from an answer, its usage, an event of a stream, or the list of all its chunks.

    Knows openai (chat and responses), anthropic, openai-agents, langchain and pydantic-ai. None: it says
    nothing of them, as a chat stream of openai's does without `stream_options={"include_usage": True}`.
    """
    if isinstance(told, list | tuple):
        return _of_chunks(told)
    found = _find(told, _DEPTH)
    return None if found is None else _read(found)


def _of_chunks(chunks: Iterable[object]) -> Usage | None:
    told = Told()
    for chunk in chunks:
        told.add(chunk)
    return told.usage


class Told:
    """What the chunks of a stream told so far, put together.

    Those of langchain, and the answers within the stream of an agent, add up; within an answer the others
    count what was taken so far.
    """

    def __init__(self) -> None:
        self._added: Usage | None = None
        self._latest: dict[str, Any] = {}
        self._answer: object = None

    def add(self, chunk: object) -> None:
        """Read one chunk more."""
        found = _find(chunk, _DEPTH)
        if found is None:
            return
        event = get(chunk, "data") if get(chunk, "type") == "raw_response_event" else chunk  # openai-agents
        if get(event, "usage_metadata") is not None:
            self._added = _read(found) + (self._added or Usage())
            return
        answer = _answer_of(event)
        if answer is not None and answer != self._answer:
            self._added, self._latest, self._answer = self.usage, {}, answer
        self._latest |= {name: value for name in _NAMES if (value := get(found, name)) is not None}

    @property
    def usage(self) -> Usage | None:
        """All of it; None if nothing was told."""
        latest = _read(self._latest) if self._latest else None
        return self._added + latest if self._added and latest else self._added or latest


def _answer_of(event: Any) -> object:
    """Answer which answer an event is of, if it says so by itself or by what it holds."""
    for one in (get(event, "response"), get(event, "message"), event):
        name = get(one, "id")
        if isinstance(name, str) and name:
            return name
    return None


def _find(told: Any, depth: int) -> Any:
    """Answer what holds the counts: this, or what it keeps them in."""
    if told is None or isinstance(told, str | bytes | int) or not depth:
        return None
    if _is_usage(told):
        return told
    for name in _HOLDERS:
        held = get(told, name)
        found = _find(held, depth - 1) if held is not None and not callable(held) else None
        if found is not None:
            return found
    return None


def _is_usage(told: Any) -> bool:
    return isinstance(told, Usage) or any(type(get(told, name)) is int for name in (*_INPUT, *_OUTPUT))


def _read(told: Any) -> Usage:
    if isinstance(told, Usage):
        return told
    into, out = _first(told, _INPUT_DETAILS), _first(told, _OUTPUT_DETAILS)
    given = _count(told, _INPUT)
    cached = _count(into, ("cached_tokens", "cache_read"))
    written = _count(into, ("cache_write_tokens", "cache_creation"))
    cached += _count(told, ("cache_read_tokens",))  # pydantic-ai
    written += _count(told, ("cache_write_tokens",))
    apart = [_count(told, (name,)) for name in ("cache_read_input_tokens", "cache_creation_input_tokens")]
    # anthropic: counted beside the input, and not in it
    reasoning = _count(out, ("reasoning_tokens", "reasoning", "thinking_tokens"))
    return Usage(given + sum(apart), _count(told, _OUTPUT), cached + apart[0], written + apart[1], reasoning)


_NAMES = (
    *(*_INPUT, *_OUTPUT, *_INPUT_DETAILS, *_OUTPUT_DETAILS),
    *("cache_read_tokens", "cache_write_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
)


def _count(told: Any, names: tuple[str, ...]) -> int:
    found = _first(told, names)
    return found if type(found) is int else 0


def _first(told: Any, names: tuple[str, ...]) -> Any:
    return next((held for name in names if (held := get(told, name)) is not None), None)
