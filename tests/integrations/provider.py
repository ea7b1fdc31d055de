"""A provider of models on loopback: it streams as openai and anthropic do, and keeps count of what it sends.

It runs on a loop and in a thread of its own, so that clients that block can talk to it.
"""

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

PAUSE = 0.005  # seconds between two tokens of a stream that talks
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)
SAYS = 3  # tokens, and then a silent one says no more


@dataclass
class Exchange:
    """One request, as the provider saw it."""

    path: str
    asked: dict[str, Any]
    #: When each token was sent, by the monotonic clock.
    sent: list[float] = field(default_factory=list)
    closed_at: float = 0.0
    closed: threading.Event = field(default_factory=threading.Event)

    def is_closed_within(self, seconds: float) -> bool:
        """Wait for the client to hang up."""
        return self.closed.wait(seconds)

    def sent_after(self, moment: float) -> int:
        """How many tokens it sent later than that."""
        return sum(one > moment for one in self.sent)


class Provider:
    """Listens in a `with` block. The model's name says how it talks: `chatty`, `silent` or `brief`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.exchanges: list[Exchange] = []
        #: How many tokens it says when it talks; it ends early once they are fewer.
        self.talks = 2000
        self.url = ""
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, name="provider", daemon=True)

    def __enter__(self) -> "Provider":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def last(self) -> Exchange:
        """The exchange that was begun last."""
        return self.exchanges[-1]

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.wait_for(self._idle(), 10)

    async def _idle(self) -> None:
        while self._writers:  # noqa: ASYNC110 - each takes itself out when its transport is closed
            await asyncio.sleep(0.005)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            length = next(int(line.split(":")[1]) for line in head if line.startswith("content-length"))
            exchange = Exchange(head[0].split()[1], json.loads(await reader.readexactly(length)))
            self.exchanges.append(exchange)
            await self._stream(exchange, reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self._writers.discard(writer)

    async def _stream(
        self, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        gone = asyncio.ensure_future(reader.read())  # nothing more is asked: it ends when the client hangs up
        gone.add_done_callback(lambda _: _hung_up(exchange))
        writer.write(_HEAD)
        async for is_token, event in self._events(exchange, gone):
            if gone.done():
                return
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            if is_token:
                exchange.sent.append(time.monotonic())
        writer.write(b"0\r\n\r\n")
        await asyncio.wait({gone})

    async def _events(
        self, exchange: Exchange, gone: "asyncio.Future[bytes]"
    ) -> AsyncIterator[tuple[bool, bytes]]:
        """Answer the events of a stream, and which are tokens."""
        model = exchange.asked["model"]
        before, token, after = _SHAPES[exchange.path.rpartition("/")[2]](exchange.asked)
        for event in before:
            yield False, event
        count = 0
        while count < (SAYS if model in ("silent", "brief") else self.talks):
            yield True, token
            count += 1
            await asyncio.wait({gone}, timeout=PAUSE)
            if gone.done():
                return
        if model == "silent":
            await asyncio.wait({gone})
            return
        for event in after:
            yield False, event


def _hung_up(exchange: Exchange) -> None:
    exchange.closed_at = time.monotonic()
    exchange.closed.set()


def _event(told: dict[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(told)}\n\n".encode()


Shape = tuple[list[bytes], bytes, list[bytes]]


def _chat(asked: dict[str, Any]) -> Shape:
    def chunk(choices: list[Any], **more: Any) -> bytes:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return _event(head | {"choices": choices} | more)

    def choice(delta: dict[str, str], end: str | None = None) -> list[Any]:
        return [{"index": 0, "delta": delta, "finish_reason": end}]

    usage = {"prompt_tokens": 7, "completion_tokens": SAYS, "total_tokens": 7 + SAYS}
    usage |= {"prompt_tokens_details": {"cached_tokens": 4}}  # type: ignore[dict-item]
    wanted = (asked.get("stream_options") or {}).get("include_usage")
    last = [chunk([], usage=usage)] if wanted else []
    return [], chunk(choice({"content": "a"})), [chunk(choice({}, "stop")), *last, b"data: [DONE]\n\n"]


def _responses(_: dict[str, Any]) -> Shape:
    def event(kind: str, **more: Any) -> bytes:
        return _event({"type": kind, "sequence_number": 1} | more, kind)

    usage = {"input_tokens": 7, "output_tokens": SAYS, "total_tokens": 7 + SAYS}
    usage |= {"input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}}  # type: ignore[dict-item]
    usage |= {"output_tokens_details": {"reasoning_tokens": 1}}  # type: ignore[dict-item]
    answer = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "tools": []}
    answer |= {"parallel_tool_calls": True, "tool_choice": "auto", "status": "in_progress"}
    delta = event(
        "response.output_text.delta", delta="a", item_id="i", output_index=0, content_index=0, logprobs=[]
    )
    done = event("response.completed", response=answer | {"status": "completed", "usage": usage})
    return [event("response.created", response=answer)], delta, [done]


def _messages(_: dict[str, Any]) -> Shape:
    def event(kind: str, **more: Any) -> bytes:
        return _event({"type": kind} | more, kind)

    usage = {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 4}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    start = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    token = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"})
    told = {"stop_reason": "end_turn", "stop_sequence": None}
    end = [
        event("content_block_stop", index=0),
        event("message_delta", delta=told, usage={"output_tokens": SAYS}),
        event("message_stop"),
    ]
    return [event("message_start", message=message), start], token, end


_SHAPES = {"completions": _chat, "responses": _responses, "messages": _messages}


@contextlib.contextmanager
def provider(tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """Run one."""
    with Provider(tls) as running:
        yield running
