"""A run from the side of whoever drives it."""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from countermand._address import Role
from countermand._async.grant import CurrentGrant
from countermand._desk import Heard
from countermand._errors import CountermandError, FixTheCall, RunEnded
from countermand._grant import Asked, Authority
from countermand._ids import new_id
from countermand._leaving import note_of, reason_of, says_ended
from countermand._models.budgets import Budgets, budgets_of
from countermand._models.reports import Report
from countermand._models.runs import Run
from countermand._scope import Scope, scopes_of
from countermand._span import Span, seconds
from countermand._words import StopReason
from countermand._world import log
from countermand.v1 import session_service_pb2 as sessions
from countermand.work.stop import Stop
from countermand.work.tree import WorkNode

if TYPE_CHECKING:
    from countermand._async.client import Client


class ActiveRun:
    """A run that is open inside its block: finished at its end, cancelled when an exception leaves it."""

    def __init__(
        self, client: "Client", run_id: str | None, timeout: float | None, asked: dict[str, Any]
    ) -> None:
        #: Chosen before it is opened, so that an open whose answer is lost can be repeated.
        self.run_id = new_id("r") if run_id is None else run_id
        self._client = client
        self._timeout = timeout
        self._asked = asked
        self._opened: Run | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<ActiveRun {self.run_id}>"

    @property
    def opened(self) -> Run:
        """The run as the sidecar opened it."""
        if self._opened is None:
            raise FixTheCall(f"run {self.run_id} is not open: use 'with cm.open_run(...)'")
        return self._opened

    async def __aenter__(self) -> Self:
        try:
            answer = await self._client.issuer.open(run_id=self.run_id, timeout=self._timeout, **self._asked)
        except BaseException as error:
            if not isinstance(error, Exception):  # cancelled in mid-call: it may be open
                await self._client.background.finish(self._cancel_after, error)
            raise
        self._opened = answer.run
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ended:
            return
        if error is None:
            await self.finish()
        elif not says_ended(error, {self.run_id, *self.opened.ancestor_run_ids}):
            await self._client.background.finish(self._cancel_after, error)

    def grant(
        self,
        *,
        scopes: Iterable[Scope | str],
        ttl: Span | None = None,
        audience: str = "",
        budgets: Budgets | None = None,
        sealed: bool = False,
    ) -> CurrentGrant:
        """Answer authority for the actions in its `with` block. It is issued when the first of them needs it.

        `scopes` are `Scope`s or their text (`email.send mailto:*@example.com uses=3`); `ttl` counts from the
        issue; `audience` is the peer that may use it, the local tool if not said. `budgets` limit what it and
        every grant delegated from it may use; one that is `sealed` may not be handed on.
        """
        asked = Asked(
            run_id=self.run_id,
            scopes=scopes_of(scopes),
            ttl=None if ttl is None else seconds(ttl),
            audience=audience,
            budgets=budgets_of(budgets),
            sealed=sealed,
        )
        return CurrentGrant(self._client, Authority(asked))

    def child(
        self,
        *,
        agent: str = "",
        subject: str | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        ttl: Span | None = None,
        budgets: Budgets | None = None,
        run_id: str | None = None,
        timeout: float | None = None,
    ) -> "ActiveRun":
        """Open a run below this one, for a sub-agent; cancelling this one reaches it.

        Subject and tenant are this run's unless given.
        """
        return self._client.open_run(
            subject=self.opened.subject if subject is None else subject,
            tenant=self.opened.tenant if tenant is None else tenant,
            agent=agent,
            labels=labels,
            ttl=ttl,
            budgets=budgets,
            run_id=run_id,
            parent_run_id=self.run_id,
            timeout=timeout,
        )

    async def cancel(
        self,
        *,
        reason: StopReason | str = StopReason.USER_STOP,
        note: str = "",
        actor: str = "",
        tag: str = "",
        timeout: float | None = None,
    ) -> Report:
        """Stop it for good and answer the stop report: no commit that begins later is accepted."""
        limit = self._client.control_timeout if timeout is None else timeout
        answer = await self._client.issuer.cancel(
            self.run_id, reason=reason, note=note, actor=actor, tag=tag, timeout=limit
        )
        self._ended = True
        return answer.report

    def on_stop(self, heard: Heard) -> Callable[[], None]:
        """Have `heard` called, once, with why the run stopped, if it does; answer how to hear no more.

        It is a courtesy, mostly within milliseconds, that no commit waits for. It comes for a cancel from
        anywhere, of this run or one above it, for its end, its deadline, a lost store, and a freeze.
        """
        request = sessions.WatchRunRequest(run_id=self.run_id)
        return self._client.connection.watch(Role.ISSUER, request, None, heard)

    def watch(self, callback: Callable[[Stop], object], /) -> Callable[[], None]:
        """Call back once it is stopped; what `scope(source=run)` does, so as to be stopped with it."""
        request = sessions.WatchRunRequest(run_id=self.run_id)
        return self._client.connection.stop_source(Role.ISSUER, request, None, self.run_id, callback)

    def show(self, process: str, node: WorkNode | None) -> None:
        """Show what this process has at work for it to whoever looks, as a scope that is bound to it does."""
        self._client.connection.show(Role.ISSUER, self.run_id, None, process, node)

    async def finish(self, *, note: str = "", timeout: float | None = None) -> Run:
        """End it because its work is done; its grants end too. Raises `Revoked` if it was cancelled first."""
        try:
            answer = await self._client.issuer.finish(self.run_id, note=note, timeout=timeout)
        except RunEnded:
            self._ended = True
            raise
        self._ended = True
        return answer.run

    async def report(self, *, timeout: float | None = None) -> Report:
        """Tell what became of every action of it so far."""
        limit = self._client.control_timeout if timeout is None else timeout
        return await self._client.issuer.report(self.run_id, timeout=limit)

    async def _cancel_after(self, error: BaseException) -> None:
        """Cancel it because of an exception. Never raises: that exception is the one to see."""
        try:
            await self._client.issuer.cancel(self.run_id, reason=reason_of(error), note=note_of(error))
        except CountermandError as failure:
            error.add_note(f"countermand: run {self.run_id} could not be cancelled: {failure}")
            log.warning("run %s could not be cancelled: %s", self.run_id, failure)
