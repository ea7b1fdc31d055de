"""What a person says about an action that waits for one."""

from dataclasses import replace

from grant_service.core import verbs
from grant_service.core.action import Action, ActionState, Approval
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.journal import Kind
from grant_service.core.lifecycle.questions import clock_unsure, ended
from grant_service.core.store import State


def approve(state: State, command: verbs.Approve) -> verbs.Approved | Refusal:
    """Let an action that waits for a person be committed, with these very arguments, once and for a while."""
    if unsure := clock_unsure(state):
        return unsure
    run = state.run(command.run_id)
    if run is None:
        return Refusal(ErrorReason.RUN_UNKNOWN, {"run": command.run_id})
    if refusal := ended(state, run.path, run.run_id):
        return refusal
    action = state.action(command.run_id, command.op_id)
    if action is None:
        return _unknown(command.run_id, command.op_id)
    if action.intent.digest == command.digest:
        if _is_same(action, command, state.now):
            return _answer(action, replayed=True)
        if action.state is ActionState.AWAITING_APPROVAL and state.now < action.expire_time:
            return _write(state, action, command)
    return _not_awaiting(state, action)


def _is_same(action: Action, command: verbs.Approve, now: int) -> bool:
    given = action.approval
    if given is None or action.state is not ActionState.PREPARED or now >= given.until:
        return False
    asked = (command.ttl_ms, command.amendment, command.amended_digest)
    return asked == (given.ttl_ms, given.amendment, given.digest)


def _write(state: State, action: Action, command: verbs.Approve) -> verbs.Approved:
    until = min(state.now + command.ttl_ms, action.expire_time)
    data = {"op": command.op_id, "actor": command.actor, "note": command.note, "until": str(until)}
    seq = state.append(
        command.run_id, Kind.APPROVED, data | {"digest": command.amended_digest or command.digest}
    )
    said = Approval(
        actor=command.actor,
        note=command.note,
        seq=seq,
        until=until,
        ttl_ms=command.ttl_ms,
        amendment=command.amendment,
        digest=command.amended_digest,
    )
    approved = replace(action, state=ActionState.PREPARED, approval=said)
    state.put(approved)
    return _answer(approved, replayed=False)


def _answer(action: Action, replayed: bool) -> verbs.Approved:
    seq, until = (action.approval.seq, action.approval.until) if action.approval else (0, 0)
    return verbs.Approved(action.intent.op_id, seq, until, replayed)


def deny(state: State, command: verbs.Deny) -> verbs.Denied | Refusal:
    """Refuse an action that waits for a person, or take back an approval until the instant it is used."""
    action = state.action(command.run_id, command.op_id)
    if action is None:
        return _unknown(command.run_id, command.op_id)
    if action.state is ActionState.DENIED and action.approval:
        return verbs.Denied(command.op_id, action.approval.seq, replayed=True)
    if action.state is ActionState.PERMITTED:
        return Refusal(ErrorReason.ALREADY_PERMITTED, {"run": command.run_id, "op": command.op_id})
    approved = action.state is ActionState.PREPARED and action.approval is not None
    if action.state is not ActionState.AWAITING_APPROVAL and not approved:
        return _not_awaiting(state, action)
    data = {"op": command.op_id, "actor": command.actor, "note": command.note}
    seq = state.append(command.run_id, Kind.DENIED, data)
    said = Approval(command.actor, command.note, seq)
    state.put(replace(action, state=ActionState.DENIED, approval=said))
    return verbs.Denied(command.op_id, seq, replayed=False)


def _unknown(run_id: str, op_id: str) -> Refusal:
    return Refusal(ErrorReason.ACTION_UNKNOWN, {"run": run_id, "op": op_id})


def _not_awaiting(state: State, action: Action) -> Refusal:
    given = action.approval
    lapsed = action.state is ActionState.AWAITING_APPROVAL and state.now >= action.expire_time
    if action.state is ActionState.PREPARED and given is not None:
        lapsed = state.now >= given.until
    told = {"run": action.run_id, "op": action.intent.op_id}
    return Refusal(
        ErrorReason.NOT_AWAITING, told | {"state": ActionState.DENIED if lapsed else action.state.value}
    )
