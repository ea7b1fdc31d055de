"""JournalService: what an auditor may ask. It changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import journal_service_pb2 as pb
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason, Refused, granted
from grant_service.core.evidence import read_head
from grant_service.core.fence import FENCES
from grant_service.core.listing import Filter, find_run, list_runs, pending_approvals
from grant_service.core.report import Report
from grant_service.core.run import RunState
from grant_service.core.store import Store
from grant_service.core.why import why
from grant_service.rpc import encode, limits
from grant_service.rpc.following import Followers
from grant_service.rpc.heads import HeadSigner
from grant_service.rpc.limits import invalid
from grant_service.rpc.line import Line
from grant_service.rpc.works import Works
from grant_service.tokens.claims import MAX_LIFE_MS

#: The largest answer that is sent; clients take as much.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

#: The largest report: an answer holds little beside it.
MAX_REPORT_BYTES = MAX_ANSWER_BYTES - 1024

_MAX_PAGE = 1000
_LONG = 1000
_DEFAULT_PAGE = 100


class JournalServicer:
    """Reads reports, runs, entries, fences, keys and what waits for a person."""

    def __init__(
        self,
        store: Store,
        reports: Line,
        counts: Line,
        followers: Followers,
        signer: HeadSigner,
        works: Works,
    ) -> None:
        self._store, self._reports, self._counts, self._signer = store, reports, counts, signer
        self._followers, self._works = followers, works

    async def GetReport(self, request: pb.GetReportRequest) -> pb.GetReportResponse:
        """Tell what became of every action of a run."""
        run_id = limits.identifier("run_id", request.run_id)
        at_seq = limits.sequence("at_seq", request.at_seq)
        async with self._reports.place() as seconds, asyncio.timeout(seconds):
            report = granted(await compile_report(self._store, run_id, at_seq))
            return pb.GetReportResponse(report=await report_message(report, self._signer))

    async def GetRun(self, request: pb.GetRunRequest) -> pb.GetRunResponse:
        """Tell how a run stands."""
        run, end, now = await find_run(self._store, limits.identifier("run_id", request.run_id))
        return pb.GetRunResponse(run=encode.run(run, end, now))

    async def ListRuns(self, request: pb.ListRunsRequest) -> pb.ListRunsResponse:
        """List runs, the youngest first."""
        wanted = Filter(
            state=_state(request.state),
            subject=limits.text("subject", request.subject),
            agent=limits.text("agent", request.agent),
            tenant=limits.text("tenant", request.tenant),
        )
        page = (_page_token(request.page_token), _page_size(request.page_size))
        standing = await self._store.standing()
        found, go_on = await list_runs(self._store, standing, wanted, *page)
        return pb.ListRunsResponse(
            runs=[encode.run(run, end, standing.now) for run, end in found],
            next_page_token=str(go_on) if go_on else "",
        )

    async def ListEntries(self, request: pb.ListEntriesRequest) -> pb.ListEntriesResponse:
        """Read a run's journal in order."""
        run_id = _journal_id(request.run_id)
        size = _page_size(request.page_size)
        after = limits.sequence("after_seq", request.after_seq)
        entries = await self._store.journal(run_id, after, size + 1)
        if not entries and not after:
            await self._must_be_known(run_id)
        more = len(entries) > size
        return pb.ListEntriesResponse(entries=[encode.entry(one) for one in entries[:size]], more=more)

    async def WatchEntries(self, request: pb.WatchEntriesRequest) -> AsyncIterator[pb.WatchEntriesResponse]:
        """Follow a run's journal."""
        run_id = _journal_id(request.run_id)
        after = limits.sequence("after_seq", request.after_seq)
        await self._must_be_known(run_id)
        async with aclosing(self._followers.follow(self._store, run_id, after)) as entries:
            async for one in entries:
                yield pb.WatchEntriesResponse(entry=encode.entry(one))

    async def GetHead(self, request: pb.GetHeadRequest) -> pb.GetHeadResponse:
        """Sign what a journal holds."""
        run_id = _journal_id(request.run_id)
        async with self._reports.place() as seconds, asyncio.timeout(seconds):
            standing = await self._store.standing()
            head = await read_head(self._store, run_id)
            if not head.entry_count:
                await self._must_be_known(run_id)
            return pb.GetHeadResponse(head=self._signer.signed(head, standing.now, standing.epoch))

    async def GetWork(self, request: pb.GetWorkRequest) -> pb.GetWorkResponse:
        """Tell what is at work for a run, as far as it is shown to a sidecar on this store."""
        run_id = limits.identifier("run_id", request.run_id)
        await self._must_be_known(run_id)
        return await self._works.of(run_id)

    async def _must_be_known(self, run_id: str) -> None:
        """Refuse the journal of a run that nobody knows."""
        if run_id != FENCES:
            await find_run(self._store, run_id)

    async def ExplainRefusal(self, request: pb.ExplainRefusalRequest) -> pb.ExplainRefusalResponse:
        """Say which rule refuses a run, grant or action, and since when."""
        asked = [
            limits.optional_identifier(name, getattr(request, name))
            for name in ("run_id", "grant_id", "op_id")
        ]
        if not any(asked[:2]):
            raise invalid("run_id", "must be given, or a grant_id")
        return encode.explanation(await why(self._store, *asked))

    async def ListFences(self, request: pb.ListFencesRequest) -> pb.ListFencesResponse:
        """List fences, the youngest first."""
        now = (await self._store.standing()).now
        fences = [encode.fence(one, now) for one in reversed(await self._store.fences())]
        standing = pb.FENCE_STATE_STANDING
        wanted = [one for one in fences if one.state == standing or not request.standing_only]
        return pb.ListFencesResponse(fences=wanted)

    async def GetFence(self, request: pb.GetFenceRequest) -> pb.GetFenceResponse:
        """Tell how a fence stands, and what it stands over now."""
        fence_id = limits.identifier("fence_id", request.fence_id)
        found = [one for one in await self._store.fences() if one.fence_id == fence_id]
        if not found:
            raise Refused(ErrorReason.FENCE_UNKNOWN, fence=fence_id)
        (fence,) = found
        now = (await self._store.standing()).now
        hit = await self._counts.count(self._store, fence.selector, fence.seq)
        return pb.GetFenceResponse(fence=encode.fence(fence, max(now, hit.time)), hit=encode.hit(hit))

    async def ListApprovals(self, _: pb.ListApprovalsRequest) -> pb.ListApprovalsResponse:
        """List the actions that wait for a person, the oldest first."""
        pending, more = await pending_approvals(self._store, MAX_LIFE_MS, _MAX_PAGE)
        approvals = [encode.pending_approval(*one) for one in pending]
        return pb.ListApprovalsResponse(approvals=approvals, more=more)

    async def ListEvidenceKeys(self, _: pb.ListEvidenceKeysRequest) -> pb.ListEvidenceKeysResponse:
        """List the public keys by which signed heads are verified."""
        return pb.ListEvidenceKeysResponse(keys=self._signer.keys())


async def report_message(report: Report, signer: HeadSigner) -> pb.Report:
    """Write a report and sign its heads, a long one in a thread; refuse one larger than an answer may be."""

    def written() -> pb.Report:
        message = encode.report(report)
        message.heads.extend(signer.heads(report))
        return message

    # A signature takes about as long as twenty actions.
    long = len(report.actions) + len(report.late_attempts) + 20 * len(report.heads) >= _LONG
    message = await asyncio.to_thread(written) if long else written()
    size = message.ByteSize()
    if size > MAX_REPORT_BYTES:
        told = {"run": report.run.run_id, "size": str(size), "limit": str(MAX_REPORT_BYTES)}
        raise Refused(ErrorReason.ANSWER_TOO_LARGE, **told, cause="it is too large to send")
    return message


def _journal_id(told: str) -> str:
    """Take whose journal it is: a run's, or that of the fences."""
    return FENCES if told == FENCES else limits.identifier("run_id", told)


def _state(number: int) -> RunState | None:
    if number == grant_pb.RUN_STATE_UNSPECIFIED:
        return None
    try:
        name = grant_pb.RunState.Name(number)  # type: ignore[arg-type]
    except ValueError:
        raise invalid("state", "must be ACTIVE, CANCELLED or FINISHED") from None
    return RunState(name.removeprefix("RUN_STATE_"))


def _page_token(token: str) -> int:
    if token and not (token.isascii() and token.isdigit() and len(token) < 19):
        raise invalid("page_token", "must come from an earlier answer")
    return limits.sequence("page_token", int(token or 0))


def _page_size(size: int) -> int:
    if size < 0:
        raise invalid("page_size", "must not be negative")
    return min(size or _DEFAULT_PAGE, _MAX_PAGE)
