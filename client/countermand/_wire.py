"""Between the contract's messages and our values. Nothing here decides anything."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from countermand._models.actions import Intent
from countermand._models.reports import Entry, LateAttempt, Report, ReportedAction, Undo
from countermand._models.runs import End, Grant, Run
from countermand._scope import Scope
from countermand._words import (
    ActionState,
    Durability,
    ErrorReason,
    Outcome,
    Reversibility,
    RunState,
    StopReason,
)
from countermand.v1 import action_service_pb2 as actions
from countermand.v1 import errors_pb2 as errors
from countermand.v1 import grant_service_pb2 as grants
from countermand.v1 import journal_service_pb2 as journal

W = TypeVar("W", bound=StrEnum)
T = TypeVar("T")

#: Our word, the contract's enum, and the prefix its members carry there.
ENUMS: dict[type[StrEnum], tuple[Any, str]] = {
    RunState: (grants.RunState, "RUN_STATE_"),
    ActionState: (actions.ActionState, "ACTION_STATE_"),
    Outcome: (actions.Outcome, "OUTCOME_"),
    Reversibility: (actions.Reversibility, "REVERSIBILITY_"),
    StopReason: (errors.StopReason, "STOP_REASON_"),
    ErrorReason: (errors.ErrorReason, "ERROR_REASON_"),
    Durability: (journal.Durability, "DURABILITY_"),
}


def word(kind: type[W], number: int) -> W:
    """Read an enum; a member that is newer than this client reads as UNSPECIFIED."""
    enum, prefix = ENUMS[kind]
    name = enum.Name(number).removeprefix(prefix) if number in enum.values() else "UNSPECIFIED"
    return kind[name] if name in kind.__members__ else kind["UNSPECIFIED"]


def number(member: StrEnum) -> Any:
    """Write an enum."""
    enum, prefix = ENUMS[type(member)]
    return enum.Value(f"{prefix}{member.name}")


def time(message: Message, field: str) -> datetime | None:
    """Read a time, None where there is none."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(tzinfo=UTC)


def every(convert: Callable[[Any], T], messages: Iterable[Any]) -> tuple[T, ...]:
    """Read a repeated field."""
    return tuple(convert(message) for message in messages)


def run(message: grants.Run) -> Run:
    """Read a run."""
    return Run(
        run_id=message.run_id,
        parent_run_id=message.parent_run_id,
        ancestor_run_ids=tuple(message.ancestor_run_ids),
        subject=message.subject,
        agent=message.agent,
        tenant=message.tenant,
        labels=dict(message.labels),
        state=word(RunState, message.state),
        open_time=time(message, "open_time"),
        deadline_time=time(message, "deadline_time"),
        end=_end(message.end) if message.HasField("end") else None,
        action_count=message.action_count,
        refusal_count=message.refusal_count,
        store_epoch=message.store_epoch,
    )


def _end(message: grants.End) -> End:
    why = word(StopReason, message.reason)
    who = (message.actor, message.note, message.tag)
    return End(why, *who, time(message, "time"), message.seq, message.run_id)


def grant(message: grants.Grant) -> Grant:
    """Read a grant."""
    return Grant(
        grant_id=message.grant_id,
        run_id=message.run_id,
        audience=message.audience,
        scopes=every(_scope, message.scopes),
        issue_time=time(message, "issue_time"),
        expire_time=time(message, "expire_time"),
    )


def _scope(message: grants.Scope) -> Scope:
    ceiling = word(Reversibility, message.ceiling)
    return Scope(message.action, message.resource or "*", message.max_uses, ceiling)


def scope_message(scope: Scope) -> grants.Scope:
    """Write a scope."""
    return grants.Scope(
        action=scope.action,
        resource=scope.resource,
        max_uses=scope.max_uses,
        ceiling=number(scope.ceiling),
    )


def intent_message(intent: Intent) -> actions.Intent:
    """Write an intent."""
    return actions.Intent(
        op_id=intent.op_id,
        action=intent.action,
        resource=intent.resource,
        digest=intent.digest,
        reversibility=number(intent.reversibility),
        compensation=intent.compensation,
    )


def report(message: journal.Report) -> Report:
    """Read a report."""
    return Report(
        run=run(message.run),
        descendant_run_ids=tuple(message.descendant_run_ids),
        cut_seq=message.cut_seq,
        last_seq=message.last_seq,
        time=time(message, "time"),
        store_epoch=message.store_epoch,
        durability=word(Durability, message.durability),
        quiesced=message.quiesced,
        complete=message.complete,
        gaps=tuple(message.gaps),
        done=every(_reported, message.done),
        interrupted=every(_reported, message.interrupted),
        in_flight=every(_reported, message.in_flight),
        unknown=every(_reported, message.unknown),
        not_done=every(_reported, message.not_done),
        pending=every(_reported, message.pending),
        late_attempts=every(_late_attempt, message.late_attempts),
        late_attempt_count=message.late_attempt_count,
        small_print=tuple(message.small_print),
    )


def _reported(message: journal.ReportedAction) -> ReportedAction:
    undo = message.undo
    return ReportedAction(
        op_id=message.op_id,
        run_id=message.run_id,
        action=message.action,
        resource=message.resource,
        state=word(ActionState, message.state),
        receipt=message.receipt,
        note=message.note,
        prepare_time=time(message, "prepare_time"),
        permit_time=time(message, "permit_time"),
        use_by_time=time(message, "use_by_time"),
        settle_time=time(message, "settle_time"),
        fence=message.fence,
        settled_after_cut=message.settled_after_cut,
        undo=Undo(undo.undoable, undo.how, undo.why_not, word(Reversibility, undo.reversibility)),
    )


def _late_attempt(message: journal.LateAttempt) -> LateAttempt:
    return LateAttempt(
        seq=message.seq,
        time=time(message, "time"),
        run_id=message.run_id,
        verb=message.verb,
        op_id=message.op_id,
        action=message.action,
        resource=message.resource,
        reason=word(ErrorReason, message.reason),
        prior_decision=word(ActionState, message.prior_decision) if message.prior_decision else None,
    )


def entry(message: journal.Entry) -> Entry:
    """Read a journal entry."""
    when = time(message, "time")
    return Entry(message.seq, when, message.run_id, message.kind, message.op_id, dict(message.data))
