"""The adapters to HTTP clients, as the conformance suite sees them."""

from contextlib import ExitStack

from countermand.testing.conformance import Fault, Grade, Seam
from tests.integrations.http.clients import Sender
from tests.integrations.http.target import serving

#: What the target does for each fault.
_WHAT = {None: "ok", Fault.RAISED: "500", Fault.LOST: "drop", Fault.HELD: "stall"}


class HttpSeam(Seam):
    """A write to a real server through one client."""

    grade = Grade.B
    kind: type[Sender]

    async def start(self) -> None:
        self._open = ExitStack()
        self._target = self._open.enter_context(serving())
        self._sender = self.kind(self._target.url)
        await self._sender.open()

    async def close(self) -> None:
        await self._sender.close()
        self._open.close()

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        await self._sender.send(self.kind.method, _WHAT[fault], key, body=b"x")

    def happened(self, key: str) -> int:
        return len(self._target.of(key))

    def release(self, key: str) -> None:
        self._target.release(key)


def seam_of(sender: type[Sender]) -> type[HttpSeam]:
    """Answer the seam of one client."""

    class Through(HttpSeam):
        name, action, kind = sender.name, sender.action.format(sender.method.lower()), sender

    return Through
