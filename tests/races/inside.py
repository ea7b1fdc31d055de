"""A sidecar's services without its sockets: so that a campaign's time goes into decisions, not into gRPC.

Calls look as they do over a channel, refusals included. What is left out is listener, guard and wire, none of
which decides anything; the races of `make test` and `make race` go through them.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self

import grpc

from grant_service.app import _mint, random_id
from grant_service.core.errors import Refused
from grant_service.core.store import Store
from grant_service.rpc.action import ActionServicer
from grant_service.rpc.control import ControlServicer
from grant_service.rpc.decode import Decoder
from grant_service.rpc.errors import status
from grant_service.rpc.following import Followers
from grant_service.rpc.grant import GrantServicer
from grant_service.rpc.heads import HeadSigner
from grant_service.rpc.journal import JournalServicer
from grant_service.rpc.line import Line, caller_waits
from grant_service.rpc.roles import Role
from grant_service.rpc.tally import Tally
from grant_service.rpc.undo import UndoServicer
from grant_service.rpc.works import Works
from grant_service.settings import Settings
from grant_service.tokens.keys import Keyring
from grant_service.tokens.verify import Verifier

Method = Callable[[Any], Awaitable[Any]]
#: Longer than any call of a round takes.
_LONG = 60.0


class Inside:
    """The services over one store."""

    def __init__(self, store: Store, keyring: Keyring, settings: Settings) -> None:
        self._store, self._keyring, self._settings = store, keyring, settings
        self._verifier = Verifier(keyring)

    def channel(self, role: str) -> "_Channel":
        """Let a role call them."""
        store, signer = self._store, HeadSigner(self._keyring)
        decode = Decoder(self._settings, Role(role), self._verifier.verify, random_id)
        tally = Tally()
        line, counts = Line(_LONG, 8, 512), Line(_LONG, 8, 512)
        return _Channel(
            {
                "GrantService": GrantServicer(store, decode, partial(_mint, self._keyring), tally),
                "ActionService": ActionServicer(store, decode, tally),
                "ControlService": ControlServicer(store, decode, counts, signer, tally, _LONG),
                "JournalService": JournalServicer(store, line, counts, Followers(8, _LONG), signer, Works()),
                "UndoService": UndoServicer(store, decode, _LONG),
            }
        )


class _Channel:
    """Takes the place of a channel for the generated stubs."""

    def __init__(self, servicers: dict[str, object]) -> None:
        self._servicers = servicers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def unary_unary(self, path: str, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Find the method of a path; one that is not served cannot be called."""
        service, name = path.rpartition(".")[2].split("/")
        return partial(_call, getattr(self._servicers[service], name, None))

    def unary_stream(self, path: str, **_: Any) -> None:
        """Streams are not raced."""

    def stream_stream(self, path: str, **_: Any) -> None:
        """Nor are sessions."""


async def _call(method: Method, request: Any, *, timeout: float) -> Any:
    caller_waits(timeout)
    try:
        return await method(request)
    except Refused as refused:
        told = status(refused.refusal)
        metadata = grpc.aio.Metadata(*told.trailing_metadata)
        raise grpc.aio.AioRpcError(told.code, grpc.aio.Metadata(), metadata, told.details) from None
