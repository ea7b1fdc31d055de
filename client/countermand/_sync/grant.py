# Derived from client/countermand/_async/grant.py by scripts/unasync.py. Do not edit.
"""The grant a block of code acts under."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from countermand._address import Role
from countermand._desk import Heard
from countermand._errors import FixTheCall, StopTheRun
from countermand._grant import Asked, Authority, held_grant, hold, let_go
from countermand._ids import new_id
from countermand._models.budgets import Budgets, budgets_of
from countermand._models.runs import ChildRun, Grant
from countermand._scope import Scope, scopes_of
from countermand._secret import SecretToken
from countermand._span import Span, seconds
from countermand._sync.tool_door import Tool
from countermand.v1 import session_service_pb2 as sessions
from countermand.work.stop import Stop
from countermand.work.tree import WorkNode

if TYPE_CHECKING:
    from countermand._sync.client import Client


class CurrentGrant:
    """Authority that is current inside its `with` block, in the tasks and threads started there too.

    It is issued or delegated when an action first needs it, once; its time counts from then.
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
        scopes = ", ".join(str(scope) for scope in self.authority.asked.scopes)
        return f"<CurrentGrant of run {self.run_id or 'unknown'}: {scopes or 'as its token says'}>"

    @property
    def run_id(self) -> str:
        """The run it is for; empty where only a token was handed over."""
        return self.authority.asked.run_id

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

    def to_act(self) -> SecretToken:
        """Answer its token for something new: extended first, if that was asked for and is due.

        A refusal to extend is no decision: the sidecar makes that when it is acted, and has it on record.
        """
        authority, clock = self.authority, self.client.issuer.clock
        if authority.is_to_be_extended(clock()):
            with authority.lock:
                if authority.is_to_be_extended(now := clock()):
                    with suppress(StopTheRun):
                        self.extend(authority.asked.extend)
                    authority.extended_at = now
        return self.token()

    def extend(self, ttl: Span | None = None) -> Grant:
        """Make it last `ttl` from now on, also if it has expired, and answer it; see `Issuer.extend`.

        It is asked on the issuer's socket: a process that can reach the tool's alone cannot extend anything.
        """
        token = self.authority.token
        if token is None:
            raise FixTheCall("the grant is not issued yet: 'grant.token()' first")
        extended = self.client.issuer.extend(token, ttl)
        authority = self.authority
        authority.grant, authority.token, authority.remaining = (
            extended.grant,
            extended.token,
            extended.remaining,
        )
        return extended.grant

    def on_stop(self, heard: Heard) -> Callable[[], None]:
        """Have `heard` called, once, with what a commit is refused with when it, or its run, is stopped.

        As `ActiveRun.on_stop`; a revoke that reaches this grant is told, too. Answers how to hear no more.
        """
        token = self.token()
        return self.client.connection.watch(Role.TOOL, sessions.WatchRunRequest(), token, heard)

    def watch(self, callback: Callable[[Stop], object], /) -> Callable[[], None]:
        """Call back once it, or its run, is stopped; what `scope(source=grant)` does. It has to be issued."""
        token = self.authority.token
        if token is None:
            raise FixTheCall("the grant is not issued yet: 'grant.token()' first")
        request = sessions.WatchRunRequest()
        return self.client.connection.stop_source(Role.TOOL, request, token, self.run_id, callback)

    def show(self, process: str, node: WorkNode | None) -> None:
        """Show what this process has at work for its run to whoever looks."""
        self.client.connection.show(Role.TOOL, "", self.authority.token, process, node)

    def _issue(self) -> None:
        authority, asked = self.authority, self.authority.asked
        if asked.above is None:
            issued = self.client.issuer.issue(
                asked.run_id,
                scopes=asked.scopes,
                ttl=asked.ttl,
                audience=asked.audience,
                budgets=asked.budgets,
                sealed=asked.sealed,
                request_id=authority.request_id,
            )
            authority.remaining = issued.remaining
            authority.grant, authority.token = issued.grant, issued.token
            return
        delegated = self.tool.delegate(
            CurrentGrant(self.client, asked.above).to_act(),
            scopes=asked.scopes,
            ttl=asked.ttl,
            audience=asked.audience,
            budgets=asked.budgets,
            sealed=asked.sealed,
            child=asked.child,
            request_id=authority.request_id,
        )
        authority.remaining = delegated.remaining
        authority.grant, authority.token = delegated.grant, delegated.token

    def delegate(
        self,
        *,
        scopes: Iterable[Scope | str],
        ttl: Span | None = None,
        audience: str = "",
        budgets: Budgets | None = None,
        sealed: bool = False,
    ) -> "CurrentGrant":
        """Answer a narrower grant for the actions in its `with` block. See the function of the same name."""
        return self._narrowed(scopes, ttl, audience, budgets, sealed, None)

    def delegate_run(
        self,
        *,
        agent: str,
        scopes: Iterable[Scope | str],
        ttl: Span | None = None,
        labels: Mapping[str, str] | None = None,
        budgets: Budgets | None = None,
        run_ttl: Span | None = None,
        run_id: str | None = None,
        audience: str = "",
        sealed: bool = False,
    ) -> "CurrentGrant":
        """Answer a narrower grant in a run of its own. See the function of the same name."""
        child = ChildRun(
            agent=agent,
            labels=dict(labels or {}),
            ttl=None if run_ttl is None else seconds(run_ttl),
            budgets=budgets_of(budgets),
            run_id=new_id("r") if run_id is None else run_id,
        )
        return self._narrowed(scopes, ttl, audience, None, sealed, child)

    def _narrowed(
        self,
        scopes: Iterable[Scope | str],
        ttl: Span | None,
        audience: str,
        budgets: Budgets | None,
        sealed: bool,
        child: ChildRun | None,
    ) -> "CurrentGrant":
        asked = Asked(
            run_id=child.run_id or "" if child else self.run_id,
            scopes=scopes_of(scopes),
            ttl=None if ttl is None else seconds(ttl),
            audience=audience,
            budgets=budgets_of(budgets),
            sealed=sealed,
            above=self.authority,
            child=child,
        )
        return CurrentGrant(self.client, Authority(asked))


def current_grant() -> CurrentGrant:
    """Answer the grant this code acts under; one of the other client's comes with this one's connection."""
    grant = held_grant()
    if isinstance(grant, CurrentGrant):
        return grant
    from countermand._sync.client import Client

    return CurrentGrant(grant.client.twin(Client), grant.authority)
