"""Requests as commands: what a message says, checked, in the words of the core."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import session_service_pb2 as session_pb
from countermand.v1 import undo_service_pb2 as undo_pb
from grant_service.core import budget, verbs
from grant_service.core.action import ActionState
from grant_service.core.duty import ALL_DUTIES, MAX_JOBS, Duty, DutyKind, DutyState
from grant_service.core.errors import ErrorReason, Refused
from grant_service.core.grant import GrantRef
from grant_service.core.tools import Tools
from grant_service.rpc import limits, parts
from grant_service.rpc.limits import invalid
from grant_service.rpc.roles import Role
from grant_service.settings import Settings
from grant_service.tokens.claims import MAX_LIFE_MS

#: Makes a new random id with a prefix.
NewId = Callable[[str], str]

#: Reads a token's bytes, or refuses.
Verify = Callable[[str], GrantRef]


#: A freeze that is to last longer has no end of its own: it is lifted.
_LONGEST_FREEZE_S = 366 * 86_400

KNOWN_OUTCOMES = {
    action_pb.OUTCOME_SUCCEEDED: ActionState.SUCCEEDED,
    action_pb.OUTCOME_FAILED: ActionState.FAILED,
}
_OUTCOMES = {
    action_pb.OUTCOME_SUCCEEDED: ActionState.SUCCEEDED,
    action_pb.OUTCOME_FAILED: ActionState.FAILED,
    action_pb.OUTCOME_UNKNOWN: ActionState.UNKNOWN,
}


#: How many functions a compensator may have.
_MAX_NAMES = 256

_DUTY_KINDS = {
    undo_pb.DUTY_KIND_UNDO: DutyKind.UNDO,
    undo_pb.DUTY_KIND_CALL_OFF: DutyKind.CALL_OFF,
    undo_pb.DUTY_KIND_ASK: DutyKind.ASK,
}


@dataclass(frozen=True, slots=True)
class ClaimAsked:
    """A claim of whatever there is: the functions the caller has, by kind."""

    names: Mapping[DutyKind, frozenset[str]]
    worker: str
    lease: str
    lease_ms: int
    max_attempts: int

    def of(self, duty: Duty) -> verbs.Claim:
        """Claim this one."""
        which = (duty.run_id, duty.op_id, duty.kind, self.worker, self.lease)
        return verbs.Claim(*which, self.lease_ms, self.max_attempts, job=duty.job)


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes the requests that came in by one listener."""

    settings: Settings
    role: Role
    verify: Verify
    new_id: NewId
    tools: Tools = field(default_factory=Tools)

    def open(self, request: grant_pb.OpenRunRequest) -> verbs.Open:
        """Decode OpenRun."""
        told, settings = request, self.settings
        return verbs.Open(
            run_id=limits.optional_identifier("run_id", told.run_id) or self.new_id("r-"),
            parent=limits.optional_identifier("parent_run_id", told.parent_run_id),
            subject=limits.text("subject", told.subject),
            agent=limits.text("agent", told.agent),
            tenant=limits.text("tenant", told.tenant),
            labels=limits.labels("labels", told.labels),
            ttl_ms=limits.milliseconds("ttl", told, settings.run_ttl, settings.run_ttl_max),
            keep_ms=round(settings.keep * 1000),
            budgets=parts.budgets("budgets", told.budgets),
        )

    def issue(self, request: grant_pb.IssueGrantRequest) -> verbs.Issue:
        """Decode IssueGrant. The request id names the grant, so that a repeated request finds it."""
        settings = self.settings
        return verbs.Issue(
            grant_id=limits.optional_identifier("request_id", request.request_id) or self.new_id("g-"),
            run_id=limits.identifier("run_id", request.run_id),
            audience=limits.optional_identifier("audience", request.audience) or Role.TOOL.value,
            scopes=parts.scopes(request.scopes),
            ttl_ms=limits.milliseconds("ttl", request, settings.grant_ttl, settings.grant_ttl_max),
            budgets=parts.budgets("budgets", request.budgets),
            sealed=request.sealed,
        )

    def delegate(self, request: grant_pb.DelegateGrantRequest) -> verbs.Delegate:
        """Decode DelegateGrant. An issuer may hand on any grant; a tool those that are for it."""
        settings = self.settings
        grant_id = limits.optional_identifier("request_id", request.request_id) or self.new_id("g-")
        return verbs.Delegate(
            grant=self.verify(request.grant_token),
            peer="" if self.role is Role.ISSUER else self.role.value,
            grant_id=grant_id,
            scopes=parts.scopes(request.scopes),
            ttl_ms=limits.milliseconds("ttl", request, settings.grant_ttl, settings.grant_ttl_max),
            max_delegations=settings.max_delegations,
            audience=limits.optional_identifier("audience", request.audience),
            budgets=parts.budgets("budgets", request.budgets),
            sealed=request.sealed,
            child=self._child(request.child_run, grant_id) if request.HasField("child_run") else None,
        )

    def extend(self, request: grant_pb.ExtendGrantRequest) -> verbs.Extend:
        """Decode ExtendGrant. An issuer may extend any grant."""
        settings = self.settings
        ttl_ms = limits.milliseconds("ttl", request, settings.grant_ttl, settings.grant_ttl_max)
        return verbs.Extend(self.verify(request.grant_token), peer="", ttl_ms=ttl_ms)

    def _child(self, told: grant_pb.ChildRun, grant_id: str) -> verbs.Open:
        """Decode a run to open; without an id it takes the grant's, so that a repeated request finds it."""
        settings = self.settings
        asked = told.HasField("ttl")
        return verbs.Open(
            run_id=limits.optional_identifier("child_run.run_id", told.run_id) or grant_id,
            agent=limits.text("child_run.agent", told.agent),
            labels=limits.labels("child_run.labels", told.labels),
            ttl_ms=limits.milliseconds("ttl", told, 0, settings.run_ttl_max) if asked else 0,
            keep_ms=round(settings.keep * 1000),
            budgets=parts.budgets("child_run.budgets", told.budgets),
        )

    def finish(self, request: grant_pb.FinishRunRequest) -> verbs.Finish:
        """Decode FinishRun."""
        note = limits.text("note", request.note, limits.MAX_NOTE)
        return verbs.Finish(limits.identifier("run_id", request.run_id), self.role.value, note)

    def cancel(self, request: control_pb.CancelRunRequest) -> verbs.Cancel:
        """Decode CancelRun. The actor is what the caller says, behind what the listener knows.

        Its texts are cleaned, not refused: no emoji in a note may keep a run from being stopped.
        """
        return verbs.Cancel(
            run_id=limits.identifier("run_id", request.run_id),
            reason=parts.stop_reason(request.reason),
            actor=self._actor(request.actor),
            note=limits.cleaned(request.note, limits.MAX_NOTE),
            tag=limits.cleaned(request.tag),
        )

    def revoke(self, request: control_pb.RevokeGrantsRequest) -> verbs.Revoke:
        """Decode RevokeGrants. Its texts are cleaned, as those of a cancel are."""
        return verbs.Revoke(
            fence_id=limits.optional_identifier("request_id", request.request_id) or self.new_id("f-"),
            selector=parts.selector(request.selector),
            reason=parts.stop_reason(request.reason),
            kill_ms=MAX_LIFE_MS,
            actor=self._actor(request.actor),
            note=limits.cleaned(request.note, limits.MAX_NOTE),
        )

    def freeze(self, request: control_pb.FreezeGrantsRequest) -> verbs.Freeze:
        """Decode FreezeGrants."""
        lasts = request.HasField("ttl")
        return verbs.Freeze(
            fence_id=limits.optional_identifier("request_id", request.request_id) or self.new_id("f-"),
            selector=parts.selector(request.selector),
            reason=parts.stop_reason(request.reason),
            kill_ms=MAX_LIFE_MS,
            actor=self._actor(request.actor),
            note=limits.cleaned(request.note, limits.MAX_NOTE),
            ttl_ms=limits.milliseconds("ttl", request, 0, _LONGEST_FREEZE_S) if lasts else 0,
        )

    def lift(self, request: control_pb.LiftFenceRequest) -> verbs.Lift:
        """Decode LiftFence."""
        return verbs.Lift(
            fence_id=limits.identifier("fence_id", request.fence_id),
            actor=self._actor(request.actor),
            note=limits.text("note", request.note, limits.MAX_NOTE),
        )

    def approve(self, request: control_pb.ApproveActionRequest) -> verbs.Approve:
        """Decode ApproveAction. An amendment comes with its digest, or neither comes."""
        amended = bool(request.amendment)
        if amended != bool(request.amended_digest):
            raise invalid("amended_digest", "must come with an amendment, and only with one")
        return verbs.Approve(
            run_id=limits.identifier("run_id", request.run_id),
            op_id=limits.identifier("op_id", request.op_id),
            digest=limits.digest("digest", request.digest),
            ttl_ms=limits.milliseconds("ttl", request, self.settings.approval_use, MAX_LIFE_MS / 1000),
            actor=self._actor(request.actor),
            note=limits.text("note", request.note, limits.MAX_NOTE),
            amendment=limits.json_object("amendment", request.amendment) if amended else "",
            amended_digest=limits.digest("amended_digest", request.amended_digest) if amended else "",
        )

    def deny(self, request: control_pb.DenyActionRequest) -> verbs.Deny:
        """Decode DenyAction. Its texts are cleaned: no note may keep an action from being refused."""
        return verbs.Deny(
            run_id=limits.identifier("run_id", request.run_id),
            op_id=limits.identifier("op_id", request.op_id),
            actor=self._actor(request.actor),
            note=limits.cleaned(request.note, limits.MAX_NOTE),
        )

    def resolve(self, request: control_pb.ResolveActionRequest) -> verbs.Resolve:
        """Decode ResolveAction. An outcome without evidence is a guess."""
        if request.outcome not in KNOWN_OUTCOMES:
            raise invalid("outcome", "must be SUCCEEDED or FAILED")
        if not request.evidence.strip():
            raise invalid("evidence", "must say how you know, such as what the vendor's console shows")
        return verbs.Resolve(
            run_id=limits.identifier("run_id", request.run_id),
            op_id=limits.identifier("op_id", request.op_id),
            outcome=KNOWN_OUTCOMES[request.outcome],
            actor=self._actor(request.actor),
            evidence=limits.text("evidence", request.evidence, limits.MAX_NOTE),
        )

    def undo(self, request: control_pb.UndoRunRequest, run_id: str, op_id: str) -> verbs.Undo:
        """Decode what UndoRun asks about one action."""
        note = limits.cleaned(request.note, limits.MAX_NOTE)
        return verbs.Undo(run_id, op_id, self._actor(request.actor), note)

    def withdraw(self, request: control_pb.WithdrawUndoRequest) -> list[verbs.Withdraw]:
        """Decode WithdrawUndo. Its texts are cleaned: no note may keep an authority from being taken back."""
        run_id, actor = limits.identifier("run_id", request.run_id), self._actor(request.actor)
        if not request.op_ids:
            raise invalid("op_ids", "must name at least one action")
        note = limits.cleaned(request.note, limits.MAX_NOTE)
        ids = dict.fromkeys(limits.identifier("op_ids", op_id) for op_id in request.op_ids)
        return [verbs.Withdraw(run_id, op_id, actor, note) for op_id in ids]

    def _actor(self, said: str) -> str:
        """Put what a caller says of itself behind what its listener knows."""
        actor = limits.cleaned(said)
        return f"{self.role.value}:{actor}" if actor else self.role.value

    def prepare(self, request: action_pb.PrepareActionRequest) -> verbs.Prepare:
        """Decode PrepareAction."""
        settings = self.settings
        longest = max(settings.prepare_ttl_max, settings.approval_wait)
        return verbs.Prepare(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            intent=parts.intent(request.intent, self.tools),
            ttl_ms=limits.milliseconds("ttl", request, settings.prepare_ttl, settings.prepare_ttl_max),
            max_actions=settings.max_actions,
            wait_ms=limits.milliseconds("ttl", request, settings.approval_wait, longest),
            undo_ms=round(settings.undo_ttl * 1000),
        )

    def watched(self, request: session_pb.WatchRunRequest | session_pb.ShowWorkRequest) -> GrantRef:
        """Decode whom a tool watches: the run of a grant that is for it."""
        ref = self.verify(request.grant_token)
        if self.role is Role.TOOL and ref.audience != self.role:
            raise Refused(ErrorReason.WRONG_AUDIENCE, audience=ref.audience, peer=self.role.value)
        return ref

    def watched_run(self, request: session_pb.WatchRunRequest | session_pb.ShowWorkRequest) -> str:
        """Decode whom an issuer watches."""
        return limits.identifier("run_id", request.run_id)

    def commit(self, request: action_pb.CommitActionRequest) -> verbs.Commit:
        """Decode CommitAction."""
        return verbs.Commit(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            op_id=limits.identifier("op_id", request.op_id),
            digest=limits.digest("digest", request.digest),
            use_ms=self._use_within(request),
        )

    def perform(self, request: action_pb.PerformActionRequest) -> verbs.Perform:
        """Decode PerformAction."""
        return verbs.Perform(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            intent=parts.intent(request.intent, self.tools),
            use_ms=self._use_within(request),
            max_actions=self.settings.max_actions,
            wait_ms=round(self.settings.approval_wait * 1000),
            undo_ms=round(self.settings.undo_ttl * 1000),
        )

    def spend(self, request: action_pb.SpendBudgetRequest) -> verbs.Spend:
        """Decode SpendBudget."""
        if fault := budget.name_fault(request.budget):
            raise invalid("budget", fault)
        return verbs.Spend(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            op_id=limits.identifier("op_id", request.op_id),
            budget=request.budget,
            amount=limits.amount("amount", request.amount),
            max_spendings=self.settings.max_actions,
            incurred=request.incurred,
        )

    def settle(self, request: action_pb.SettleActionRequest) -> verbs.Settle:
        """Decode SettleAction. Where tools are registered, they name the canceller."""
        if request.outcome not in _OUTCOMES:
            raise invalid("outcome", "must be SUCCEEDED, FAILED or UNKNOWN")
        if request.canceller and not request.handle:
            raise invalid("canceller", "must come only with a handle")
        args = request.compensation_args
        return verbs.Settle(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            op_id=limits.identifier("op_id", request.op_id),
            outcome=_OUTCOMES[request.outcome],
            receipt=limits.text("receipt", request.receipt, limits.MAX_NOTE),
            note=limits.text("note", request.note, limits.MAX_NOTE),
            result_args=limits.json_object("compensation_args", args) if args else "",
            handle=limits.text("handle", request.handle, limits.MAX_NOTE),
            canceller=limits.optional_identifier("canceller", request.canceller),
        )

    def abandon(self, request: action_pb.AbandonActionRequest) -> verbs.Abandon:
        """Decode AbandonAction."""
        return verbs.Abandon(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            op_id=limits.identifier("op_id", request.op_id),
            note=limits.text("note", request.note, limits.MAX_NOTE),
        )

    def _use_within(self, request: Message) -> int:
        settings = self.settings
        return limits.milliseconds("use_within", request, settings.permit_use, settings.permit_use_max)

    def claim(self, request: undo_pb.ClaimDutyRequest) -> ClaimAsked:
        """Decode ClaimDuty."""
        told = {
            DutyKind.CALL_OFF: ("cancellers", request.cancellers),
            DutyKind.UNDO: ("compensations", request.compensations),
            DutyKind.ASK: ("probes", request.probes),
        }
        if not 1 <= sum(len(names) for _, names in told.values()) <= _MAX_NAMES:
            raise invalid("compensations", f"must be, with cancellers and probes, 1 to {_MAX_NAMES} names")
        return ClaimAsked(
            names={
                kind: frozenset(limits.identifier(field, name) for name in names)
                for kind, (field, names) in told.items()
            },
            worker=self._actor(request.worker),
            lease=self.new_id("l-"),
            lease_ms=self._lease(request),
            max_attempts=self.settings.undo_attempts,
        )

    def renew(self, request: undo_pb.RenewDutyRequest) -> verbs.Renew:
        """Decode RenewDuty."""
        return verbs.Renew(*_held(request), self._lease(request), job=request.job)

    def complete(self, request: undo_pb.CompleteDutyRequest) -> verbs.Complete:
        """Decode CompleteDuty. Texts are cleaned: none may keep what was done from being known."""
        held = _held(request)
        kind = held[2]
        if request.refused and kind is not DutyKind.CALL_OFF:
            raise invalid("refused", "must only be said of a CALL_OFF")
        if (kind is DutyKind.ASK) != (request.outcome in KNOWN_OUTCOMES):
            raise invalid("outcome", "must be SUCCEEDED or FAILED for an ASK, and only be said of one")
        outcome: str = DutyState.REFUSED if request.refused else DutyState.DONE
        if kind is DutyKind.ASK:
            outcome = KNOWN_OUTCOMES[request.outcome]
        receipt = limits.cleaned(request.receipt, limits.MAX_NOTE)
        note = limits.cleaned(request.note, limits.MAX_NOTE)
        return verbs.Complete(*held, outcome, receipt, note, job=request.job)

    def fail(self, request: undo_pb.FailDutyRequest) -> verbs.Fail:
        """Decode FailDuty."""
        settings = self.settings
        return verbs.Fail(
            *_held(request),
            retry_ms=round(settings.undo_retry * 1000),
            max_attempts=settings.undo_attempts,
            note=limits.cleaned(request.note, limits.MAX_NOTE),
            final=request.final,
            job=request.job,
        )

    def _lease(self, request: Message) -> int:
        settings = self.settings
        return limits.milliseconds("lease", request, settings.undo_lease, settings.undo_lease_max)


def _held(
    request: undo_pb.RenewDutyRequest | undo_pb.CompleteDutyRequest | undo_pb.FailDutyRequest,
) -> tuple[str, str, DutyKind, str]:
    """Take which duty is meant, and by which claim."""
    if request.kind not in _DUTY_KINDS:
        raise invalid("kind", "must be UNDO, CALL_OFF or ASK")
    if (_DUTY_KINDS[request.kind], request.job) not in ALL_DUTIES:
        raise invalid("job", f"must be 0, or for a CALL_OFF at most {MAX_JOBS - 1}")
    return (
        limits.identifier("run_id", request.run_id),
        limits.identifier("op_id", request.op_id),
        _DUTY_KINDS[request.kind],
        limits.identifier("lease_id", request.lease_id),
    )
