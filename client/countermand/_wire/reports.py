"""Reports and journal entries."""

from countermand._models.reports import (
    CallOff,
    EvidenceKey,
    LateAttempt,
    Report,
    ReportedAction,
    SignedHead,
    Undo,
)
from countermand._wire.fences import fence
from countermand._wire.runs import run
from countermand._wire.words import every, time, word
from countermand._words import ActionState, CallOffState, Durability, ErrorReason, Reversibility
from countermand.v1 import journal_service_pb2 as journal


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
        fences=every(fence, message.fences),
        heads=every(signed_head, message.heads),
        at_seq=message.at_seq,
    )


def _reported(message: journal.ReportedAction) -> ReportedAction:
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
        undo=_undo(message.undo),
        resolved_by=message.resolved_by,
        evidence=message.evidence,
        call_off=_call_off(message.call_off) if message.HasField("call_off") else None,
        more_call_offs=every(_call_off, message.more_call_offs),
    )


def _undo(message: journal.Undo) -> Undo:
    return Undo(
        undoable=message.undoable,
        how=message.how,
        why_not=message.why_not,
        reversibility=word(Reversibility, message.reversibility),
        until_time=time(message, "until_time"),
        asked_by=message.asked_by,
        ask_time=time(message, "ask_time"),
        attempts=message.attempts,
        worker=message.worker,
        receipt=message.receipt,
        note=message.note,
        end_time=time(message, "end_time"),
    )


def _call_off(message: journal.CallOff) -> CallOff:
    return CallOff(
        canceller=message.canceller,
        handle=message.handle,
        state=word(CallOffState, message.state),
        attempts=message.attempts,
        worker=message.worker,
        note=message.note,
        end_time=time(message, "end_time"),
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


def signed_head(message: journal.SignedHead) -> SignedHead:
    """Read a signed head."""
    return SignedHead(
        run_id=message.run_id,
        last_seq=message.last_seq,
        entry_count=message.entry_count,
        hash=message.hash,
        marks=message.marks,
        stride=message.stride,
        time=time(message, "time"),
        store_epoch=message.store_epoch,
        key_id=message.key_id,
        signature=message.signature,
    )


def evidence_key(message: journal.EvidenceKey) -> EvidenceKey:
    """Read a public key."""
    return EvidenceKey(message.key_id, message.public_key, message.signing)
