"""Duties, and what is answered to who asks for undos."""

import json
from collections.abc import Mapping

from countermand._clock import Clock
from countermand._digest import plain
from countermand._errors import InvalidRequest
from countermand._models.duties import Duty, Lease, UndoAsked, UndoStep, UndoWithdrawn
from countermand._wire.words import every, time, word
from countermand._words import ActionState, DutyKind
from countermand.v1 import control_service_pb2 as control
from countermand.v1 import undo_service_pb2 as undo

#: Bytes: what the sidecar takes.
_LONGEST = 4096


def args_text(field: str, args: Mapping[str, object] | None) -> str:
    """Write a compensation's arguments as JSON; none at all are no text."""
    if not args:
        return ""
    text = json.dumps(plain(args, field), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    if len(text) > _LONGEST:
        rule = f"must have at most {_LONGEST} bytes as JSON; pass what the compensation can look up by"
        raise InvalidRequest(f"{field} {rule}", metadata={"field": field, "rule": rule})
    return text


def duty(message: undo.Duty, sent_at: float, clock: Clock) -> Duty:
    """Read a duty whose claim was sent at this time of the clock."""
    return Duty(
        run_id=message.run_id,
        op_id=message.op_id,
        kind=word(DutyKind, message.kind),
        name=message.name,
        key=message.key,
        action=message.action,
        resource=message.resource,
        args=json.loads(message.args) if message.args else {},
        handle=message.handle,
        attempt=message.attempt,
        until_time=time(message, "until_time"),
        lease=Lease(message.lease_id, sent_at + message.lease.ToMicroseconds() / 1e6, clock),
        job=message.job,
    )


def undo_asked(message: control.UndoRunResponse) -> UndoAsked:
    """Read what will be undone."""
    return UndoAsked(every(_undo_step, message.steps))


def _undo_step(message: control.UndoStep) -> UndoStep:
    return UndoStep(
        run_id=message.run_id,
        op_id=message.op_id,
        action=message.action,
        resource=message.resource,
        how=message.how,
        why_not=message.why_not,
        state=word(ActionState, message.state),
        seq=message.seq,
        replayed=message.replayed,
    )


def undo_withdrawn(message: control.WithdrawUndoResponse) -> UndoWithdrawn:
    """Read what can no longer be undone."""
    return UndoWithdrawn(tuple(message.seqs), time(message, "busy_until_time"))
