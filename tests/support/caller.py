"""A caller of every verb of one sidecar, each through the socket of its role, and the refusals it gets."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import grpc

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import action_service_pb2_grpc as action_grpc
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import control_service_pb2_grpc as control_grpc
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import grant_service_pb2_grpc as grant_grpc
from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import journal_service_pb2_grpc as journal_grpc
from countermand.v1 import undo_service_pb2 as undo_pb
from countermand.v1 import undo_service_pb2_grpc as undo_grpc
from tests.support import messages as say
from tests.support.sidecar import CHANNEL_OPTIONS, SidecarProcess

TIMEOUT = 10.0


class Caller:
    """Calls a sidecar. Its connections belong to one life of the sidecar: after a restart take another."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self._sidecar, self._open = sidecar, ExitStack()
        self._grants = grant_grpc.GrantServiceStub(self.channel("issuer"))
        self._owner = control_grpc.ControlServiceStub(self.channel("issuer"))
        self._actions = action_grpc.ActionServiceStub(self.channel("tool"))
        self._control = control_grpc.ControlServiceStub(self.channel("operator"))
        self._undo = undo_grpc.UndoServiceStub(self.channel("compensator"))
        self._journal = journal_grpc.JournalServiceStub(self.channel("auditor"))

    def channel(self, role: str) -> grpc.Channel:
        """Make a connection that is closed with this caller."""
        channel = grpc.insecure_channel(self._sidecar.target(role), options=CHANNEL_OPTIONS)
        return self._open.enter_context(channel)

    def close(self) -> None:
        """Hang up."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, run: str, **more: Any) -> grant_pb.OpenRunResponse:
        """Open a run."""
        return self._grants.OpenRun(say.open_run(run, **more), timeout=TIMEOUT)

    def issue(self, run: str, **more: Any) -> str:
        """Issue a grant and answer its token."""
        return str(self._grants.IssueGrant(say.issue(run, **more), timeout=TIMEOUT).grant_token)

    def begin(self, run: str, **more: Any) -> str:
        """Open a run and answer the token of a grant for it."""
        self.open(run)
        return self.issue(run, **more)

    def finish(self, run: str) -> grant_pb.FinishRunResponse:
        """Finish a run."""
        return self._grants.FinishRun(grant_pb.FinishRunRequest(run_id=run), timeout=TIMEOUT)

    def prepare(self, token: str, op: str, **more: Any) -> action_pb.PrepareActionResponse:
        """Prepare an action."""
        return self._actions.PrepareAction(say.prepare(token, op, **more), timeout=TIMEOUT)

    def commit(self, token: str, op: str, **more: Any) -> action_pb.Permit:
        """Commit a prepared action."""
        return self._actions.CommitAction(say.commit(token, op, **more), timeout=TIMEOUT).permit

    def perform(self, token: str, op: str, **more: Any) -> action_pb.Permit:
        """Prepare and commit."""
        return self._actions.PerformAction(say.perform(token, op, **more), timeout=TIMEOUT).permit

    def settle(self, token: str, op: str, **more: Any) -> action_pb.SettleActionResponse:
        """Say what became of an action."""
        return self._actions.SettleAction(say.settle(token, op, **more), timeout=TIMEOUT)

    def abandon(self, token: str, op: str) -> action_pb.AbandonActionResponse:
        """Give up a prepared action."""
        request = action_pb.AbandonActionRequest(grant_token=token, op_id=op)
        return self._actions.AbandonAction(request, timeout=TIMEOUT)

    def cancel(self, run: str, **more: Any) -> control_pb.CancelRunResponse:
        """Cancel a run, as its operator."""
        return self._control.CancelRun(say.cancel(run, **more), timeout=TIMEOUT)

    def did(self, run: str, *ops: str) -> str:
        """Open a run, let these effects happen that can be undone, and answer the token."""
        token = self.begin(run)
        for op in ops:
            self.undoable(token, op)
            self.settle(token, op)
        return token

    def undoable(self, token: str, op: str) -> action_pb.Permit:
        """Get the permit for an effect that can be undone."""
        return self._actions.PerformAction(say.undoable(token, op), timeout=TIMEOUT).permit

    def undo(self, run: str, *ops: str, note: str = "") -> control_pb.UndoRunResponse:
        """Ask for a run to be undone, or these of its actions."""
        request = control_pb.UndoRunRequest(run_id=run, op_ids=ops, note=note)
        return self._control.UndoRun(request, timeout=TIMEOUT)

    def withdraw(self, run: str, *ops: str, note: str = "") -> control_pb.WithdrawUndoResponse:
        """Take back the authority to undo these."""
        request = control_pb.WithdrawUndoRequest(run_id=run, op_ids=ops, note=note)
        return self._control.WithdrawUndo(request, timeout=TIMEOUT)

    def resolve(self, run: str, op: str, outcome: str = "SUCCEEDED") -> control_pb.ResolveActionResponse:
        """Say what became of an action nobody settled."""
        return self._control.ResolveAction(say.resolve(run, op, outcome), timeout=TIMEOUT)

    def claim(self, worker: str = "w-1", lease: float | None = None) -> undo_pb.Duty | None:
        """Claim an undo, if there is one."""
        answer = self._undo.ClaimDuty(say.claim(worker, lease), timeout=TIMEOUT)
        return answer.duty if answer.HasField("duty") else None

    def complete(self, duty: undo_pb.Duty, **more: Any) -> undo_pb.CompleteDutyResponse:
        """Say that it is done."""
        return self._undo.CompleteDuty(undo_pb.CompleteDutyRequest(**say.held(duty), **more), timeout=TIMEOUT)

    def fail(self, duty: undo_pb.Duty, **more: Any) -> undo_pb.FailDutyResponse:
        """Say that an attempt did not work."""
        return self._undo.FailDuty(undo_pb.FailDutyRequest(**say.held(duty), **more), timeout=TIMEOUT)

    def freeze(self, fence: str, **selector: str) -> control_pb.FreezeGrantsResponse:
        """Freeze by selector, as an operator."""
        named = journal_pb.Selector(**selector)
        request = control_pb.FreezeGrantsRequest(request_id=fence, selector=named)
        request.reason = errors_pb2.STOP_REASON_INCIDENT
        return self._control.FreezeGrants(request, timeout=TIMEOUT)

    def report(self, run: str) -> journal_pb.Report:
        """Read a report."""
        return self._journal.GetReport(journal_pb.GetReportRequest(run_id=run), timeout=TIMEOUT).report

    def run(self, run: str) -> grant_pb.Run:
        """Read a run."""
        return self._journal.GetRun(journal_pb.GetRunRequest(run_id=run), timeout=TIMEOUT).run

    def runs(self) -> list[grant_pb.Run]:
        """List the runs, which fit into one page in every test."""
        answer = self._journal.ListRuns(journal_pb.ListRunsRequest(page_size=1000), timeout=TIMEOUT)
        assert not answer.next_page_token
        return list(answer.runs)

    def entries(self, run: str) -> list[journal_pb.Entry]:
        """Read a run's journal, which fits into one page in every test."""
        request = journal_pb.ListEntriesRequest(run_id=run, page_size=1000)
        answer = self._journal.ListEntries(request, timeout=TIMEOUT)
        assert not answer.more
        return list(answer.entries)

    def kinds(self, run: str) -> list[str]:
        """Tell a run's journal in one word for each entry."""
        return [entry.kind for entry in self.entries(run)]


class Told:
    """What a refused call was told, once it was."""

    reason = message = code = ""
    details: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed


@contextmanager
def refused(*reasons: str) -> Iterator[Told]:
    """Require that the block is refused for this reason, or one of these; '' if it was not the service's."""
    told = Told()
    try:
        yield told
    except grpc.RpcError as error:
        refusal = say.refusal_of(error)
        told.reason, told.message, told.code = refusal.reason, refusal.message, refusal.code
        told.details = refusal.details
        assert told.reason in reasons, refusal
        assert "\n" not in told.message
    else:
        raise AssertionError(f"not refused; should have been, as {' or '.join(reasons)}")
