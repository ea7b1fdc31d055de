"""Requests as commands: what a message says, checked, in the words of the core."""

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from grant_service.core import scope, verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.grant import GrantRef
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.rpc import limits
from grant_service.rpc.limits import invalid
from grant_service.rpc.roles import Role
from grant_service.settings import Settings

#: Makes a new random id with a prefix.
NewId = Callable[[str], str]

#: Reads a token's bytes, or refuses.
Verify = Callable[[str], GrantRef]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes the requests that came in by one listener."""

    settings: Settings
    role: Role
    verify: Verify
    new_id: NewId

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
        )

    def issue(self, request: grant_pb.IssueGrantRequest) -> verbs.Issue:
        """Decode IssueGrant. The request id names the grant, so that a repeated request finds it."""
        if not 1 <= len(request.scopes) <= scope.MAX_SCOPES:
            raise invalid("scopes", f"must be 1 to {scope.MAX_SCOPES} scopes")
        settings = self.settings
        return verbs.Issue(
            grant_id=limits.optional_identifier("request_id", request.request_id) or self.new_id("g-"),
            run_id=limits.identifier("run_id", request.run_id),
            audience=limits.optional_identifier("audience", request.audience) or Role.TOOL.value,
            scopes=tuple(_scope(index, told) for index, told in enumerate(request.scopes)),
            ttl_ms=limits.milliseconds("ttl", request, settings.grant_ttl, settings.grant_ttl_max),
        )

    def finish(self, request: grant_pb.FinishRunRequest) -> verbs.Finish:
        """Decode FinishRun."""
        note = limits.text("note", request.note, limits.MAX_NOTE)
        return verbs.Finish(limits.identifier("run_id", request.run_id), self.role.value, note)

    def cancel(self, request: control_pb.CancelRunRequest) -> verbs.Cancel:
        """Decode CancelRun. The actor is what the caller says, behind what the listener knows.

        Its texts are cleaned, not refused: no emoji in a note may keep a run from being stopped.
        """
        if request.reason == errors_pb2.STOP_REASON_UNSPECIFIED:
            raise invalid("reason", "must be given, such as USER_STOP or INCIDENT")
        actor = limits.cleaned(request.actor)
        return verbs.Cancel(
            run_id=limits.identifier("run_id", request.run_id),
            reason=_stop_reason(request.reason),
            actor=f"{self.role.value}:{actor}" if actor else self.role.value,
            note=limits.cleaned(request.note, limits.MAX_NOTE),
            tag=limits.cleaned(request.tag),
        )

    def prepare(self, request: action_pb.PrepareActionRequest) -> verbs.Prepare:
        """Decode PrepareAction."""
        settings = self.settings
        return verbs.Prepare(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            intent=_intent(request.intent),
            ttl_ms=limits.milliseconds("ttl", request, settings.prepare_ttl, settings.prepare_ttl_max),
            max_actions=settings.max_actions,
        )

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
            intent=_intent(request.intent),
            use_ms=self._use_within(request),
            max_actions=self.settings.max_actions,
        )

    def settle(self, request: action_pb.SettleActionRequest) -> verbs.Settle:
        """Decode SettleAction."""
        if request.outcome not in _OUTCOMES:
            raise invalid("outcome", "must be SUCCEEDED, FAILED or UNKNOWN")
        return verbs.Settle(
            grant=self.verify(request.grant_token),
            peer=self.role.value,
            op_id=limits.identifier("op_id", request.op_id),
            outcome=_OUTCOMES[request.outcome],
            receipt=limits.text("receipt", request.receipt, limits.MAX_NOTE),
            note=limits.text("note", request.note, limits.MAX_NOTE),
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


_OUTCOMES = {
    action_pb.OUTCOME_SUCCEEDED: ActionState.SUCCEEDED,
    action_pb.OUTCOME_FAILED: ActionState.FAILED,
    action_pb.OUTCOME_UNKNOWN: ActionState.UNKNOWN,
}


def _stop_reason(number: int) -> StopReason:
    try:
        name = errors_pb2.StopReason.Name(number)  # type: ignore[arg-type]
    except ValueError:
        raise invalid("reason", "must be a reason this sidecar knows") from None
    return StopReason(name.removeprefix("STOP_REASON_"))


def _reversibility(field: str, number: int) -> Reversibility:
    """Take a class of effects; one that is not declared is the worst."""
    if number == action_pb.REVERSIBILITY_UNSPECIFIED:
        return Reversibility.IRREVERSIBLE
    try:
        name = action_pb.Reversibility.Name(number)  # type: ignore[arg-type]
    except ValueError:
        raise invalid(field, "must be a class this sidecar knows") from None
    return Reversibility(name.removeprefix("REVERSIBILITY_"))


def _scope(index: int, told: grant_pb.Scope) -> Scope:
    field = f"scopes[{index}]"
    resource = told.resource or "*"
    for name, fault in (
        ("action", scope.action_pattern_fault(told.action)),
        ("resource", scope.resource_pattern_fault(resource)),
    ):
        if fault:
            raise invalid(f"{field}.{name}", fault)
    return Scope(told.action, resource, told.max_uses, _reversibility(f"{field}.ceiling", told.ceiling))


def _intent(told: action_pb.Intent) -> Intent:
    for name, fault in (
        ("action", scope.action_fault(told.action)),
        ("resource", scope.resource_fault(told.resource)),
    ):
        if fault:
            raise invalid(f"intent.{name}", fault)
    return Intent(
        op_id=limits.identifier("intent.op_id", told.op_id),
        action=told.action,
        resource=told.resource,
        digest=limits.digest("intent.digest", told.digest),
        reversibility=_reversibility("intent.reversibility", told.reversibility),
        compensation=limits.optional_identifier("intent.compensation", told.compensation),
    )
