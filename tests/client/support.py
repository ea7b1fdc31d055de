"""A proxy in front of a real sidecar that loses, delays and forges answers, and remembers what was called."""

import asyncio
import shutil
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Detail
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

import countermand
from countermand._retry import Pacing
from countermand.testing import Sidecar

ROLES = ("issuer", "tool", "operator", "auditor", "compensator")

#: Takes what asks the sidecar, and the caller's context; answers the bytes that are answered.
Step = Callable[[Callable[[], bytes], grpc.ServicerContext], bytes]


def lose_request(ask: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
    """The request never arrives."""
    context.abort(grpc.StatusCode.UNAVAILABLE, "lost on the way there")


def lose_reply(ask: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
    """The sidecar decides, and nobody hears of it."""
    ask()
    context.abort(grpc.StatusCode.UNAVAILABLE, "lost on the way back")


def refuse(reason: str, code: grpc.StatusCode, domain: str = "countermand", **metadata: str) -> Step:
    """The sidecar refuses for a reason."""

    def step(ask: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
        detail = Detail()
        detail.Pack(ErrorInfo(reason=reason, domain=domain, metadata=metadata))
        status = Status(code=code.value[0], message=f"refused: {reason}", details=[detail])
        context.abort_with_status(rpc_status.to_status(status))

    return step


def then(after: Callable[[], None]) -> Step:
    """The sidecar answers, and something happens before the answer arrives."""

    def step(ask: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
        answer = ask()
        after()
        return answer

    return step


def forge(message: Any) -> Step:
    """Something else is answered."""
    return lambda ask, context: message.SerializeToString()


class Proxy:
    """Listens like a sidecar and passes every call on, in the role it came in by."""

    def __init__(self, behind: Path, home: Path | None = None) -> None:
        """Stand before the sidecar of one home, in another; one that went away can come back to its own."""
        self.home = home or Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
        #: What was called, in order.
        self.calls: list[str] = []
        self._steps: dict[str, deque[Step]] = defaultdict(deque)
        (self.home / "run").mkdir(parents=True)
        self._stopping = threading.Event()
        self._channels = {role: grpc.insecure_channel(f"unix:{behind}/run/{role}.sock") for role in ROLES}
        self._servers = {role: self._listen(role) for role in ROLES}

    def plan(self, rpc: str, *steps: Step) -> None:
        """Say what becomes of the next calls of an RPC; those after them are passed on."""
        self._steps[rpc].extend(steps)

    def forget(self) -> None:
        """Pass everything on from now on."""
        self._steps.clear()

    def hang(self, context: grpc.ServicerContext) -> bytes:
        """Answer nothing until the proxy stops."""
        self._stopping.wait(10)
        context.abort(grpc.StatusCode.UNAVAILABLE, "stopped")

    def _listen(self, role: str) -> grpc.Server:
        server = grpc.server(ThreadPoolExecutor(max_workers=8))
        server.add_generic_rpc_handlers([_Handler(role, self)])
        server.add_insecure_port(f"unix:{self.home}/run/{role}.sock")
        server.start()
        return server

    def answer(self, role: str, path: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Pass one call on, or do what was planned for it."""
        name = path.rpartition("/")[2]
        self.calls.append(name)
        ask = lambda: self._channels[role].unary_unary(path)(request, timeout=5)  # noqa: E731
        step = self._steps[name].popleft() if self._steps[name] else None
        try:
            return step(ask, context) if step else ask()
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), error.details())

    def stop(self) -> None:
        """Go away, sockets and all."""
        self._stopping.set()
        for server in self._servers.values():
            server.stop(grace=None).wait()
        for channel in self._channels.values():
            channel.close()
        shutil.rmtree(self.home, ignore_errors=True)


class Waits:
    """A clock for calls that only their waiting moves, in no time; and what was waited for."""

    def __init__(self, jitter: float = 1.0, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.pauses: list[float] = []
        self.pacing = Pacing(self.sleep, lambda: sum(self.pauses), lambda: jitter)
        #: What happens in each pause.
        self.meanwhile = meanwhile

    def sleep(self, pause: float) -> Any:
        """Wait, for code that blocks."""
        self.pauses.append(pause)
        self.meanwhile()


class AsyncWaits(Waits):
    """The same for code on an event loop."""

    async def sleep(self, pause: float) -> Any:
        """Wait, for code on an event loop."""
        self.pauses.append(pause)
        self.meanwhile()


class Person:
    """Somebody who is asked, and answers by a client of their own once they have been asked `looks` times."""

    def __init__(self, at: Sidecar, looks: int = 1) -> None:
        self._at = at
        self._looks = looks
        self._has_answered = False

    def agrees(self, **how: Any) -> Callable[[], None]:
        """Agree to whatever waits."""
        return lambda: self._answer(
            lambda door, asked: door.approve(asked.run_id, asked.op_id, digest=asked.digest, **how)
        )

    def says_no(self, **how: Any) -> Callable[[], None]:
        """Refuse whatever waits."""
        return lambda: self._answer(lambda door, asked: door.deny(asked.run_id, asked.op_id, **how))

    def _answer(self, decide: Callable[[Any, countermand.PendingApproval], object]) -> None:
        self._looks -= 1
        if self._looks > 0 or self._has_answered:
            return
        with self._at.connect_sync() as cm:
            # On a slow machine, a pause may come before the question.
            for asked in cm.operator.approvals().approvals:
                decide(cm.operator, asked)
                self._has_answered = True


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, role: str, proxy: Proxy) -> None:
        self._role = role
        self._proxy = proxy

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Handle every method the same way, in bytes."""
        path = details.method
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._proxy.answer(self._role, path, request, context)
        )


class Soon:
    """Waits for what another thread brings about."""

    @staticmethod
    def until(is_so: Callable[[], bool], seconds: float = 5) -> None:
        """Wait, for code that blocks."""
        ends = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < ends, "it did not come to pass"
            time.sleep(0.005)


class AsyncSoon:
    """The same for code on an event loop."""

    @staticmethod
    async def until(is_so: Callable[[], bool], seconds: float = 5) -> None:
        """Wait, for code on an event loop."""
        ends = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < ends, "it did not come to pass"
            await asyncio.sleep(0.005)
