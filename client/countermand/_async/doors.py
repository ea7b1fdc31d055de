"""The verbs as they are served, one object for each role: small frozen values in and out, one call each.

A door calls on its role's socket; what that role may not do, the sidecar refuses.
"""

from collections.abc import AsyncIterator, Iterable, Mapping

from countermand import _rpcs as rpcs
from countermand import _wire as wire
from countermand._async.control_door import Controller, Reader
from countermand._async.door import Delegator, Door
from countermand._ids import new_id
from countermand._models.budgets import Budgets
from countermand._models.reports import Cancelled, Entry, EntryPage, EvidenceKey, Report, SignedHead
from countermand._models.runs import Extended, Finished, Issued, Opened, Run, RunPage
from countermand._models.work import RunWork
from countermand._scope import Scope
from countermand._secret import SecretToken
from countermand._span import Span, duration
from countermand._words import RunState, StopReason
from countermand.v1 import control_service_pb2 as control
from countermand.v1 import grant_service_pb2 as grants
from countermand.v1 import journal_service_pb2 as journal


class Watcher(Door):
    """What every role but the tool may ask about a run."""

    async def report(self, run_id: str, *, at_seq: int = 0, timeout: float | None = None) -> Report:
        """Tell what became of every action of a run and of the runs below it.

        With `at_seq`, what was known when the entry of that number had just been written.
        """
        request = journal.GetReportRequest(run_id=run_id, at_seq=at_seq)
        return wire.report((await self._call(rpcs.GET_REPORT, request, timeout)).message.report)

    async def run(self, run_id: str, *, timeout: float | None = None) -> Run:
        """Tell how a run stands."""
        request = journal.GetRunRequest(run_id=run_id)
        return wire.run((await self._call(rpcs.GET_RUN, request, timeout)).message.run)

    async def work(self, run_id: str, *, timeout: float | None = None) -> RunWork:
        """Tell what is at work for a run and those below it, as far as processes show it to a sidecar."""
        request = journal.GetWorkRequest(run_id=run_id)
        return wire.run_work((await self._call(rpcs.GET_WORK, request, timeout)).message)

    async def evidence_keys(self, *, timeout: float | None = None) -> tuple[EvidenceKey, ...]:
        """List the public keys by which signed heads are verified, the one that signs now first."""
        request = journal.ListEvidenceKeysRequest()
        told = (await self._call(rpcs.LIST_EVIDENCE_KEYS, request, timeout)).message
        return wire.every(wire.evidence_key, told.keys)


class Stopper(Watcher):
    """What those may ask who may stop a run."""

    async def cancel(
        self,
        run_id: str,
        *,
        reason: StopReason | str,
        actor: str = "",
        note: str = "",
        tag: str = "",
        timeout: float | None = None,
    ) -> Cancelled:
        """Stop a run for good. Once this has answered, no commit that begins later is accepted."""
        why = wire.number(StopReason(reason))
        request = control.CancelRunRequest(run_id=run_id, reason=why, actor=actor, note=note, tag=tag)
        told = (await self._call(rpcs.CANCEL_RUN, request, timeout)).message
        return Cancelled(wire.report(told.report), told.replayed, told.known)


class Issuer(Stopper, Delegator):
    """What the owner of runs may ask."""

    async def open(
        self,
        *,
        run_id: str | None = None,
        parent_run_id: str = "",
        subject: str = "",
        agent: str = "",
        tenant: str = "",
        labels: Mapping[str, str] | None = None,
        ttl: Span | None = None,
        budgets: Budgets | None = None,
        timeout: float | None = None,
    ) -> Opened:
        """Open a run, under a new id unless one is given."""
        request = grants.OpenRunRequest(
            run_id=new_id("r") if run_id is None else run_id,
            parent_run_id=parent_run_id,
            subject=subject,
            agent=agent,
            tenant=tenant,
            labels=labels or {},
            ttl=duration(ttl),
            budgets=wire.budget_messages(budgets),
        )
        told = (await self._call(rpcs.OPEN_RUN, request, timeout)).message
        return Opened(wire.run(told.run), told.replayed)

    async def issue(
        self,
        run_id: str,
        *,
        scopes: Iterable[Scope | str],
        ttl: Span | None = None,
        audience: str = "",
        budgets: Budgets | None = None,
        sealed: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Issued:
        """Issue a grant; the same `request_id` gets the same grant."""
        request = grants.IssueGrantRequest(
            run_id=run_id,
            request_id=new_id("g") if request_id is None else request_id,
            audience=audience,
            scopes=wire.scope_messages(scopes),
            ttl=duration(ttl),
            budgets=wire.budget_messages(budgets),
            sealed=sealed,
        )
        told = (await self._call(rpcs.ISSUE_GRANT, request, timeout)).message
        return Issued(
            grant=wire.grant(told.grant),
            token=SecretToken(told.grant_token),
            replayed=told.replayed,
            remaining=dict(told.remaining),
        )

    async def extend(
        self, token: SecretToken | str, ttl: Span | None = None, *, timeout: float | None = None
    ) -> Extended:
        """Let a grant last `ttl` from now on, also one that has expired, if time is all it lacks.

        What it allows stays as it is. It never outlasts its run or the grant it comes from.
        """
        request = grants.ExtendGrantRequest(ttl=duration(ttl))
        told = (await self._call(rpcs.EXTEND, request, timeout, token)).message
        return Extended(
            grant=wire.grant(told.grant),
            token=SecretToken(told.grant_token),
            replayed=told.replayed,
            remaining=dict(told.remaining),
        )

    async def finish(self, run_id: str, *, note: str = "", timeout: float | None = None) -> Finished:
        """End a run that did its work."""
        request = grants.FinishRunRequest(run_id=run_id, note=note)
        told = (await self._call(rpcs.FINISH_RUN, request, timeout)).message
        return Finished(wire.run(told.run), told.replayed)


class Auditor(Watcher, Reader):
    """What those may ask who look into all runs."""

    async def runs(
        self,
        *,
        state: RunState | str = RunState.UNSPECIFIED,
        subject: str = "",
        agent: str = "",
        tenant: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> RunPage:
        """List runs, the youngest first."""
        request = journal.ListRunsRequest(
            page_size=page_size,
            page_token=page_token,
            state=wire.number(RunState(state)),
            subject=subject,
            agent=agent,
            tenant=tenant,
        )
        told = (await self._call(rpcs.LIST_RUNS, request, timeout)).message
        return RunPage(wire.every(wire.run, told.runs), told.next_page_token)

    async def entries(
        self, run_id: str, *, after_seq: int = 0, page_size: int = 0, timeout: float | None = None
    ) -> EntryPage:
        """Read the journal of a run in order."""
        request = journal.ListEntriesRequest(run_id=run_id, after_seq=after_seq, page_size=page_size)
        told = (await self._call(rpcs.LIST_ENTRIES, request, timeout)).message
        return EntryPage(wire.every(wire.entry, told.entries), told.more)

    async def watch(
        self, run_id: str, *, after_seq: int = 0, timeout: float | None = None
    ) -> AsyncIterator[Entry]:
        """Follow the journal of a run: what it holds behind a number, then what comes, also after its end.

        It ends with whoever iterates. A sidecar that goes away is waited for, `timeout` seconds at most, then
        asked for what is behind the last entry.
        """

        def request(last: journal.WatchEntriesResponse | None) -> journal.WatchEntriesRequest:
            seq = last.entry.seq if last else after_seq
            return journal.WatchEntriesRequest(run_id=run_id, after_seq=seq)

        limit = self.timeout if timeout is None else timeout
        async for one in self.connection.follow(self.role, rpcs.WATCH_ENTRIES, request, limit):
            yield wire.entry(one.entry)

    async def head(self, run_id: str, *, timeout: float | None = None) -> SignedHead:
        """Get the signed head of a run's journal. However large its report would be."""
        request = journal.GetHeadRequest(run_id=run_id)
        return wire.signed_head((await self._call(rpcs.GET_HEAD, request, timeout)).message.head)


class Operator(Auditor, Stopper, Controller):
    """What those may ask who stop any run."""
