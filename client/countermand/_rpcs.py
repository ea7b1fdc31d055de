"""The calls this client makes: who makes each, where it goes, and what comes back."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from countermand._secret import SecretToken
from countermand.v1 import action_service_pb2 as actions
from countermand.v1 import control_service_pb2 as control
from countermand.v1 import grant_service_pb2 as grants
from countermand.v1 import journal_service_pb2 as journal
from countermand.v1 import session_service_pb2 as session
from countermand.v1 import undo_service_pb2 as undo

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Q, R]):
    """One call of the contract."""

    service: str
    name: str
    request: type[Q]
    response: type[R]
    #: Whether there are many answers to one request.
    streams: bool = False
    #: What it is called in a session, if it may travel in one.
    session: str = ""

    @property
    def path(self) -> str:
        """Answer its name on the wire."""
        return f"/countermand.v1.{self.service}/{self.name}"


OPEN_RUN = Rpc("GrantService", "OpenRun", grants.OpenRunRequest, grants.OpenRunResponse)
ISSUE_GRANT = Rpc("GrantService", "IssueGrant", grants.IssueGrantRequest, grants.IssueGrantResponse)
DELEGATE = Rpc("GrantService", "DelegateGrant", grants.DelegateGrantRequest, grants.DelegateGrantResponse)
EXTEND = Rpc("GrantService", "ExtendGrant", grants.ExtendGrantRequest, grants.ExtendGrantResponse)
FINISH_RUN = Rpc("GrantService", "FinishRun", grants.FinishRunRequest, grants.FinishRunResponse)
PREPARE = Rpc(
    "ActionService",
    "PrepareAction",
    actions.PrepareActionRequest,
    actions.PrepareActionResponse,
    session="prepare",
)
COMMIT = Rpc(
    "ActionService",
    "CommitAction",
    actions.CommitActionRequest,
    actions.CommitActionResponse,
    session="commit",
)
PERFORM = Rpc(
    "ActionService",
    "PerformAction",
    actions.PerformActionRequest,
    actions.PerformActionResponse,
    session="perform",
)
SETTLE = Rpc(
    "ActionService",
    "SettleAction",
    actions.SettleActionRequest,
    actions.SettleActionResponse,
    session="settle",
)
ABANDON = Rpc(
    "ActionService",
    "AbandonAction",
    actions.AbandonActionRequest,
    actions.AbandonActionResponse,
    session="abandon",
)
SPEND = Rpc(
    "ActionService", "SpendBudget", actions.SpendBudgetRequest, actions.SpendBudgetResponse, session="spend"
)
CANCEL_RUN = Rpc("ControlService", "CancelRun", control.CancelRunRequest, control.CancelRunResponse)
REVOKE = Rpc("ControlService", "RevokeGrants", control.RevokeGrantsRequest, control.RevokeGrantsResponse)
FREEZE = Rpc("ControlService", "FreezeGrants", control.FreezeGrantsRequest, control.FreezeGrantsResponse)
LIFT = Rpc("ControlService", "LiftFence", control.LiftFenceRequest, control.LiftFenceResponse)
APPROVE = Rpc("ControlService", "ApproveAction", control.ApproveActionRequest, control.ApproveActionResponse)
DENY = Rpc("ControlService", "DenyAction", control.DenyActionRequest, control.DenyActionResponse)
RESOLVE = Rpc("ControlService", "ResolveAction", control.ResolveActionRequest, control.ResolveActionResponse)
UNDO_RUN = Rpc("ControlService", "UndoRun", control.UndoRunRequest, control.UndoRunResponse)
WITHDRAW_UNDO = Rpc(
    "ControlService", "WithdrawUndo", control.WithdrawUndoRequest, control.WithdrawUndoResponse
)
CLAIM_DUTY = Rpc("UndoService", "ClaimDuty", undo.ClaimDutyRequest, undo.ClaimDutyResponse)
RENEW_DUTY = Rpc("UndoService", "RenewDuty", undo.RenewDutyRequest, undo.RenewDutyResponse)
COMPLETE_DUTY = Rpc("UndoService", "CompleteDuty", undo.CompleteDutyRequest, undo.CompleteDutyResponse)
FAIL_DUTY = Rpc("UndoService", "FailDuty", undo.FailDutyRequest, undo.FailDutyResponse)
GET_REPORT = Rpc("JournalService", "GetReport", journal.GetReportRequest, journal.GetReportResponse)
GET_RUN = Rpc("JournalService", "GetRun", journal.GetRunRequest, journal.GetRunResponse)
LIST_RUNS = Rpc("JournalService", "ListRuns", journal.ListRunsRequest, journal.ListRunsResponse)
LIST_ENTRIES = Rpc("JournalService", "ListEntries", journal.ListEntriesRequest, journal.ListEntriesResponse)
WATCH_ENTRIES = Rpc(
    "JournalService", "WatchEntries", journal.WatchEntriesRequest, journal.WatchEntriesResponse, streams=True
)
GET_WORK = Rpc("JournalService", "GetWork", journal.GetWorkRequest, journal.GetWorkResponse)
GET_HEAD = Rpc("JournalService", "GetHead", journal.GetHeadRequest, journal.GetHeadResponse)
EXPLAIN = Rpc(
    "JournalService", "ExplainRefusal", journal.ExplainRefusalRequest, journal.ExplainRefusalResponse
)
LIST_FENCES = Rpc("JournalService", "ListFences", journal.ListFencesRequest, journal.ListFencesResponse)
GET_FENCE = Rpc("JournalService", "GetFence", journal.GetFenceRequest, journal.GetFenceResponse)
LIST_APPROVALS = Rpc(
    "JournalService", "ListApprovals", journal.ListApprovalsRequest, journal.ListApprovalsResponse
)
LIST_EVIDENCE_KEYS = Rpc(
    "JournalService", "ListEvidenceKeys", journal.ListEvidenceKeysRequest, journal.ListEvidenceKeysResponse
)


class Sealed(Generic[Q]):
    """A request whose grant token is put in only while its bytes are written.

    So the token is in no frame that a traceback with local variables, or a crash reporter, would show.
    """

    __slots__ = ("_request", "_token")

    def __init__(self, request: Q, token: SecretToken | None = None) -> None:
        self._request = request
        self._token = token

    @staticmethod
    def write(sealed: "Sealed[Q]") -> bytes:
        """Write the request as bytes."""
        request: Any = sealed._request  # one that has room for a token, if there is a token
        token = sealed._token
        if token is None:
            return _bytes(request)
        request.grant_token = token.reveal()
        try:
            return _bytes(request)
        finally:
            request.ClearField("grant_token")

    def with_more(self, more: Q) -> "Sealed[Q]":
        """Answer the same request with more in it."""
        request: Any = type(self._request)()
        request.CopyFrom(self._request)
        request.MergeFrom(more)
        return Sealed(request, self._token)

    @property
    def size(self) -> int:
        """How many bytes the request has, its token left out."""
        return self._request.ByteSize()

    @staticmethod
    def write_call(sealed: "Sealed[Q]", name: str, call_id: int, timeout: float) -> bytes:
        """Write it as one of a session's calls."""
        message = session.OpenSessionRequest()
        timeout_ms = round(min(max(timeout * 1000, 1), 2**31))
        call = message.calls.add(call_id=call_id, timeout_ms=timeout_ms)
        request = getattr(call, name)
        request.MergeFrom(sealed._request)
        request.SetInParent()
        if sealed._token is not None:
            request.grant_token = sealed._token.reveal()
        return _bytes(message)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()
