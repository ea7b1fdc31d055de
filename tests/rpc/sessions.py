"""A session as a test opens it: by the generated messages, frame by frame."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from countermand.v1 import errors_pb2
from countermand.v1 import session_service_pb2 as pb
from tests.rpc.support import Caller

PATH = "/countermand.v1.SessionService/OpenSession"


class Opened:
    """An open session."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._ids = itertools.count(1)
        self.answers: dict[int, pb.SessionAnswer] = {}
        self.stops: list[pb.Stop] = []
        self.frames = 0

    async def send(self, *calls: dict[str, Any], timeout_ms: int = 0) -> list[int]:
        """Send calls in one message; each is `{its name: its fields}`. Answers their ids."""
        ids = [next(self._ids) for _ in calls]
        told = [
            pb.SessionCall(call_id=call_id, timeout_ms=timeout_ms, **call)
            for call_id, call in zip(ids, calls, strict=True)
        ]
        await self.call.write(pb.OpenSessionRequest(calls=told).SerializeToString())
        return ids

    async def read(self) -> bool:
        """Read one message; False at the end."""
        frame = await asyncio.wait_for(self.call.read(), 10)
        if frame is grpc.aio.EOF:
            return False
        told = pb.OpenSessionResponse.FromString(frame)
        self.frames += 1
        for answer in told.answers:
            assert answer.call_id not in self.answers, "answered twice"
            self.answers[answer.call_id] = answer
        self.stops += told.stops
        return True

    async def to_the_end(self) -> None:
        """Read until there is nothing more."""
        while await self.read():
            pass

    async def ask(self, *calls: dict[str, Any], timeout_ms: int = 0) -> list[pb.SessionAnswer]:
        """Send calls and wait for all answers, in the order of the calls."""
        ids = await self.send(*calls, timeout_ms=timeout_ms)
        while not all(call_id in self.answers for call_id in ids):
            assert await self.read(), "the session ended"
        return [self.answers[call_id] for call_id in ids]

    async def refused(self, **call: Any) -> pb.RefusedCall:
        """Make a call that must be refused."""
        (answer,) = await self.ask(call)
        assert answer.WhichOneof("answer") == "refusal", answer
        return answer.refusal

    async def told(self, **request: Any) -> pb.WatchRunResponse:
        """Watch, and answer what is told of it."""
        (answer,) = await self.ask({"watch": pb.WatchRunRequest(**request)})
        assert answer.WhichOneof("answer") == "watch", answer
        return answer.watch

    async def watch(self, token: str = "", run_id: str = "") -> int:
        """Watch, and answer the number of the watch."""
        told = await self.told(grant_token=token, run_id=run_id)
        assert not told.HasField("refusal"), told
        return told.watch_id

    async def stop(self) -> pb.Stop:
        """Wait for the next stop."""
        while not self.stops:
            assert await self.read(), "the session ended"
        return self.stops.pop(0)

    async def silent(self, seconds: float = 0.1) -> bool:
        """Say whether no message comes for a while."""
        try:
            frame = await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(self.call.read())), seconds)
        except TimeoutError:
            return True
        raise AssertionError(frame)


@asynccontextmanager
async def session(caller: Caller) -> AsyncIterator[Opened]:
    """Open a session, and wait until it says that it is ready."""
    call = caller.channel.stream_stream(PATH)()
    opened = Opened(call)
    try:
        assert await opened.read()
        assert not opened.answers
        yield opened
    finally:
        call.cancel()


def reason(refusal: pb.RefusedCall) -> str:
    """The reason of a refusal, by its short name."""
    return errors_pb2.ErrorReason.Name(refusal.reason).removeprefix("ERROR_REASON_")
