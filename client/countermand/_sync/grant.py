# Derived from client/countermand/_async/grant.py by scripts/unasync.py. Do not edit.
"""The grant a block of code acts under."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from countermand._grant import Authority, held_grant, hold, let_go
from countermand._models.runs import Grant
from countermand._secret import SecretToken
from countermand._sync.tool_door import Tool

if TYPE_CHECKING:
    from countermand._sync.client import Client


class CurrentGrant:
    """Authority that is current inside its `with` block, in the tasks and threads started there too.

    It is issued when an action first needs it, once; its time counts from then.
    """

    def __init__(self, client: "Client", authority: Authority) -> None:
        self.client = client
        self.authority = authority

    def __enter__(self) -> Self:
        hold(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        let_go(self)

    def __repr__(self) -> str:
        scopes = ", ".join(str(scope) for scope in self.authority.scopes)
        return f"<CurrentGrant of run {self.authority.run_id or 'unknown'}: {scopes or 'as its token says'}>"

    @property
    def issued(self) -> Grant | None:
        """The grant as the sidecar issued it; None before, and where only its token was handed over."""
        return self.authority.grant

    @property
    def tool(self) -> Tool:
        """The door its actions go through."""
        return self.client.tool

    def token(self) -> SecretToken:
        """Answer its token, to act with or to hand to a tool in another process."""
        authority = self.authority
        if authority.token is None:
            with authority.lock:
                if authority.token is None:
                    self._issue()
        assert authority.token is not None  # noqa: S101 - tells the type checker what the lock made sure of
        return authority.token

    def _issue(self) -> None:
        asked = self.authority
        issued = self.client.issuer.issue(
            asked.run_id,
            scopes=asked.scopes,
            ttl=asked.ttl,
            audience=asked.audience,
            request_id=asked.request_id,
        )
        asked.grant, asked.token = issued.grant, issued.token


def current_grant() -> CurrentGrant:
    """Answer the grant this code acts under; one of the other client's comes with this one's connection."""
    grant = held_grant()
    if isinstance(grant, CurrentGrant):
        return grant
    from countermand._sync.client import Client

    return CurrentGrant(grant.client.twin(Client), grant.authority)
