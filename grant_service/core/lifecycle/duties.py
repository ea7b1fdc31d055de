"""Duties that outlive the run: undoing, calling off, asking; and resolving an outcome nobody knows."""

from dataclasses import replace

from grant_service.core import verbs
from grant_service.core.action import Action, ActionState
from grant_service.core.duty import (
    ASK_MS,
    AT_ONCE,
    JOBS_AT_ONCE,
    MAX_JOBS,
    NEVER,
    Duty,
    DutyKind,
    DutyState,
    retry_after,
)
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.journal import Kind
from grant_service.core.lifecycle.questions import clock_unsure, ended
from grant_service.core.run import RECENT_MS, RunState, may_lack_entries
from grant_service.core.scope import NOT_UNDOABLE, PERMIT_MAY_BE_LOST
from grant_service.core.store import State, View

#: What never happened, so that there is nothing to undo.
_NOTHING_HAPPENED = frozenset({ActionState.FAILED, ActionState.ABANDONED, ActionState.DENIED})
_NOT_PERMITTED = frozenset({ActionState.PREPARED, ActionState.AWAITING_APPROVAL})
_KNOWN = frozenset({ActionState.SUCCEEDED, ActionState.FAILED})

#: What there is no use in, once an outcome is known.
_MOOT = {
    ActionState.SUCCEEDED: (DutyKind.ASK,),
    ActionState.FAILED: (DutyKind.ASK, DutyKind.CALL_OFF, DutyKind.UNDO),
}

_TOO_LATE = "its time is over"

#: Ends of a run that a person, or time, brought about while it was at work.
_CUT_OFF = frozenset({ErrorReason.REVOKED, ErrorReason.RUN_DEADLINE, ErrorReason.STORE_EPOCH})

#: What the journal says of a duty that was given up.
_GIVEN_UP = {
    DutyKind.UNDO: (Kind.UNDO_FAILED, ""),
    DutyKind.CALL_OFF: (Kind.CALLED_OFF, "UNREACHABLE"),
    DutyKind.ASK: (Kind.UNANSWERED, ""),
}


def put_ask(state: State, action: Action, keep_until: int) -> None:
    """Let somebody ask what became of a permitted action, if its tool can tell and nobody says so in time.

    There is time for that after the permit, as long as the records are kept.
    """
    if action.intent.probe:
        duty = _duty(state, action, DutyKind.ASK, action.intent.probe, action.fence, action.use_by)
        until = max(action.undo_until, min(action.use_by + ASK_MS, keep_until))
        state.put(replace(duty, until=until))


def put_call_off(state: State, action: Action, job: int, canceller: str) -> None:
    """Let what the outside world has only accepted be called off, should the run be cancelled."""
    duty = _duty(state, action, DutyKind.CALL_OFF, canceller, action.settle_seq, NEVER)
    state.put(replace(duty, job=job, handle=action.handles[job]))
    run = state.run(action.run_id)
    over = run is None or _has_ended(state, action.run_id)
    state.look_below(action.run_id, AT_ONCE if run is None or over else run.deadline)


def _duty(state: State, action: Action, kind: DutyKind, name: str, seq: int, due: int) -> Duty:
    return Duty(
        run_id=action.run_id,
        op_id=action.intent.op_id,
        kind=kind,
        name=name,
        state=DutyState.OPEN,
        seq=seq,
        fence=action.fence,
        epoch=state.epoch,
        due=due,
        until=action.undo_until,
    )


def close_moot(state: State, action: Action) -> None:
    """Close what there is no use in any more: asking, once one knows; all else, if nothing happened."""
    for kind in _MOOT.get(action.state, ()):
        for job in range(min(len(action.handles), MAX_JOBS) if kind is DutyKind.CALL_OFF else 1):
            duty = state.duty(action.run_id, action.intent.op_id, kind, job)
            if duty and duty.state is DutyState.OPEN:
                state.put(replace(duty, state=DutyState.MOOT))


def resolve(state: State, command: verbs.Resolve) -> verbs.Resolved | Refusal:
    """Record what became of an action nobody settled. While its permit can be used, nobody can know.

    An action without a permit on record had none, unless the store may have lost it: then the report calls it
    unknown, and it can be resolved once such a permit would be over.
    """
    action = state.action(command.run_id, command.op_id)
    if action is None:
        return _unknown(command.run_id, command.op_id)
    told = {"run": action.run_id, "op": command.op_id}
    if action.state in _KNOWN:
        if action.state is not command.outcome:
            return Refusal(ErrorReason.ALREADY_SETTLED, told | {"state": action.state})
        return verbs.Resolved(command.op_id, action.settle_seq, action.state, replayed=True)
    use_by = action.use_by
    if action.state in _NOT_PERMITTED and _may_lack_entries(state, action.run_id):
        use_by = action.expire_time + RECENT_MS  # no grant, and so no permit, lasts longer from any moment on
    elif action.state not in (ActionState.PERMITTED, ActionState.UNKNOWN):
        return Refusal(ErrorReason.NEVER_PERMITTED, told | {"state": action.state})
    if action.state is not ActionState.UNKNOWN and state.now < use_by:
        return Refusal(ErrorReason.IN_FLIGHT, told | {"left_ms": str(use_by - state.now)})
    seq = _write_resolved(state, action, command.outcome, command.actor, command.evidence)
    return verbs.Resolved(command.op_id, seq, command.outcome, replayed=False)


def _may_lack_entries(state: State, run_id: str) -> bool:
    """Say whether entries of a run, and with them a permit, may be lost."""
    run = state.run(run_id)
    return run is None or may_lack_entries([state.run(link) for link in run.path], state.epoch)


def _write_resolved(state: State, action: Action, outcome: ActionState, actor: str, evidence: str) -> int:
    data = {"op": action.intent.op_id, "outcome": outcome, "actor": actor, "evidence": evidence}
    seq = state.append(action.run_id, Kind.RESOLVED, data)
    # Where the permit's line is lost this one stands in for it: what is lost was the last that was written.
    fence = action.fence or seq
    resolved = replace(action, state=outcome, settle_seq=seq, fence=fence, resolved=True)
    state.put(resolved)
    close_moot(state, resolved)
    return seq


def undo(state: State, command: verbs.Undo) -> verbs.UndoAsked | Refusal:
    """Ask for an effect to be undone, once its run has ended. One that was given up is tried afresh."""
    if unsure := clock_unsure(state):
        return unsure
    action = state.action(command.run_id, command.op_id)
    if action is None:
        return _unknown(command.run_id, command.op_id)
    told = {"run": action.run_id, "op": command.op_id}
    if not _has_ended(state, action.run_id):
        return Refusal(ErrorReason.RUN_ACTIVE, {"run": action.run_id})
    duty = state.duty(action.run_id, command.op_id, DutyKind.UNDO)
    if duty and (
        duty.state is DutyState.DONE or (duty.state is DutyState.OPEN and duty.epoch == state.epoch)
    ):
        return verbs.UndoAsked(command.op_id, duty.seq, duty.state, replayed=True)
    if rule := _why_not_undoable(state, action, duty):
        return Refusal(ErrorReason.NOT_UNDOABLE, told | {"rule": rule})
    data = {"op": command.op_id, "actor": command.actor, "note": command.note}
    seq = state.append(action.run_id, Kind.UNDO_ASKED, data)
    new = _duty(state, action, DutyKind.UNDO, action.intent.compensation, seq, state.now)
    if duty:  # whoever holds it still does
        new = replace(new, worker=duty.worker, lease=duty.lease, lease_until=duty.lease_until)
        new = replace(new, failed_lease=duty.failed_lease, failed_seq=duty.failed_seq)
    state.put(new)
    return verbs.UndoAsked(command.op_id, seq, DutyState.OPEN, replayed=False)


def _why_not_undoable(state: State, action: Action, duty: Duty | None) -> str:
    if why := NOT_UNDOABLE.get(action.intent.reversibility, ""):
        return why
    if not action.intent.compensation:
        return "no compensation is registered"
    if action.state in _NOT_PERMITTED and _may_lack_entries(state, action.run_id):
        return PERMIT_MAY_BE_LOST
    if action.state in _NOTHING_HAPPENED or action.state in _NOT_PERMITTED:
        return "it did not happen"
    if duty and duty.state is DutyState.WITHDRAWN:
        return "the authority to undo it was taken back"
    return "the time in which it could be undone is over" if state.now >= action.undo_until else ""


def _has_ended(state: State, run_id: str) -> bool:
    run = state.run(run_id)
    return run is None or ended(state, run.path, run_id) is not None


def withdraw(state: State, command: verbs.Withdraw) -> verbs.Withdrawn | Refusal:
    """Take back the authority to undo an effect, whether anybody asked for that or not."""
    action = state.action(command.run_id, command.op_id)
    if action is None:
        return _unknown(command.run_id, command.op_id)
    told = {"run": action.run_id, "op": command.op_id}
    duty = state.duty(action.run_id, command.op_id, DutyKind.UNDO)
    if duty and duty.state is DutyState.WITHDRAWN:
        return verbs.Withdrawn(command.op_id, duty.seq, duty.lease_until, replayed=True)
    if duty and duty.state is DutyState.DONE:
        return Refusal(ErrorReason.DUTY_OVER, told | {"duty": DutyKind.UNDO, "state": duty.state})
    if not action.intent.compensation:
        return Refusal(ErrorReason.NOT_UNDOABLE, told | {"rule": "no compensation is registered"})
    data = {"op": command.op_id, "actor": command.actor, "note": command.note}
    seq = state.append(action.run_id, Kind.UNDO_WITHDRAWN, data)
    if duty is None:
        duty = _duty(state, action, DutyKind.UNDO, action.intent.compensation, seq, state.now)
    state.put(replace(duty, state=DutyState.WITHDRAWN, seq=seq))
    return verbs.Withdrawn(command.op_id, seq, duty.lease_until, replayed=False)


def claim(state: State, command: verbs.Claim) -> verbs.Claimed | Refusal:
    """Give a duty to one compensator for the length of a lease. Each claim is an attempt."""
    if unsure := clock_unsure(state):
        return unsure
    found = _found(state, command)
    if isinstance(found, Refusal):
        return found
    action, duty = found
    if refusal := _not_open(command, duty):
        return refusal
    if duty.lease_until > state.now:
        if duty.lease != command.lease:
            left = str(duty.lease_until - state.now)
            return Refusal(ErrorReason.DUTY_TAKEN, _told(command) | {"worker": duty.worker, "left_ms": left})
        return verbs.Claimed(duty, duty.lease_until - state.now, replayed=True)
    if duty.kind is DutyKind.CALL_OFF and not was_cut_off(state, duty.run_id):
        if duty.due != NEVER:  # its time was over when this was made due, and then it finished after all
            state.put(replace(duty, due=NEVER))
        return Refusal(ErrorReason.DUTY_NOT_DUE, _told(command) | {"rule": "its run was not stopped"})
    if duty.attempts >= command.max_attempts:
        return _over(state, command, duty, "the last attempt was never heard of again")
    if state.now >= duty.until:
        return _over(state, command, duty, _TOO_LATE)
    if rule := _why_not_due(state, action, duty):
        return Refusal(ErrorReason.DUTY_NOT_DUE, _told(command) | {"rule": rule})
    attempts = duty.attempts + 1
    data = {"op": duty.op_id, "duty": duty.kind, "worker": command.worker, "attempt": str(attempts)}
    state.append(duty.run_id, Kind.CLAIMED, data | {"handle": duty.handle})
    claimed = replace(
        duty,
        attempts=attempts,
        worker=command.worker,
        lease=command.lease,
        lease_until=min(state.now + command.lease_ms, duty.until),
        failed_lease="" if duty.failed_lease == command.lease else duty.failed_lease,
    )
    state.put(claimed)
    return verbs.Claimed(claimed, claimed.lease_until - state.now, replayed=False)


def _why_not_due(state: State, action: Action, duty: Duty) -> str:
    if state.now < duty.due and duty.due != NEVER:
        return "it is not due yet"
    if duty.kind is DutyKind.UNDO:
        if duty.epoch != state.epoch:
            return "the store may have lost facts since: ask for the undo again"
        if action.state is not ActionState.SUCCEEDED:
            return "its outcome is not known yet"
        if state.last_undo(duty.run_id) != duty.op_id:
            return "a later effect is undone first"
    return ""


def was_cut_off(state: View, run_id: str) -> bool:
    """Say whether somebody cancelled the run or one above it, or its time was over while it was at work."""
    run = state.run(run_id)
    if run is None:
        return True
    states = [one.state for link in run.path if (one := state.run(link))]
    if RunState.CANCELLED in states or RunState.FINISHED in states:
        return RunState.CANCELLED in states
    refusal = ended(state, run.path, run_id)
    return refusal is not None and refusal.reason in _CUT_OFF


def call_off_stopped(state: State, most: int) -> int:
    """Make the jobs of runs that were stopped due, so that compensators find them; answer how many were."""
    return sum(_call_off_below(state, run_id) for run_id in state.stops_due(most))


def _call_off_below(state: State, run_id: str) -> int:
    """Look at one run; of one that was cancelled at those below, too. The others are noted by themselves."""
    run = state.run(run_id)
    if not was_cut_off(state, run_id):
        at_work = run is not None and not _has_ended(state, run_id)
        state.looked_below(run_id, run.deadline if run and at_work else NEVER)
        return 0
    jobs = state.jobs(run_id, run is not None and run.state is RunState.CANCELLED, JOBS_AT_ONCE)
    for duty in jobs:
        state.put(replace(duty, due=state.now))
    if len(jobs) < JOBS_AT_ONCE:
        state.looked_below(run_id, NEVER)
    return len(jobs)


def renew(state: State, command: verbs.Renew) -> verbs.Claimed | Refusal:
    """Keep a duty that is still the caller's, but never beyond its own time."""
    found = _held(state, command)
    if isinstance(found, Refusal):
        return found
    _, duty = found
    if refusal := _not_open(command, duty):
        return refusal
    if state.now >= duty.until:
        return _over(state, command, duty, _TOO_LATE)
    kept = replace(duty, lease_until=min(state.now + command.lease_ms, duty.until))
    state.put(kept)
    return verbs.Claimed(kept, kept.lease_until - state.now, replayed=False)


def complete(state: State, command: verbs.Complete) -> verbs.Completed | Refusal:
    """Record that a duty is carried out. From whoever holds it that is information, and never refused.

    Only where the outcome is known already there is nothing left to answer.
    """
    found = _held(state, command)
    if isinstance(found, Refusal):
        return found
    action, duty = found
    if duty.state in (DutyState.DONE, DutyState.REFUSED):
        return verbs.Completed(duty.op_id, duty.seq, duty.state, replayed=True)
    if duty.state is DutyState.MOOT or (duty.kind is DutyKind.ASK and action.state in _KNOWN):
        return Refusal(ErrorReason.DUTY_OVER, _told(command) | {"state": DutyState.MOOT})
    refused = command.outcome == DutyState.REFUSED
    if duty.kind is DutyKind.ASK:
        seq = _write_resolved(state, action, ActionState(command.outcome), duty.worker, command.note)
    else:
        data = {"op": duty.op_id, "worker": duty.worker, "receipt": command.receipt, "note": command.note}
        if duty.kind is DutyKind.CALL_OFF:
            data |= {"outcome": "REFUSED" if refused else "ACKNOWLEDGED", "handle": duty.handle}
        kind = Kind.UNDONE if duty.kind is DutyKind.UNDO else Kind.CALLED_OFF
        seq = state.append(duty.run_id, kind, data)
    done = replace(duty, state=DutyState.REFUSED if refused else DutyState.DONE, seq=seq)
    state.put(done)
    return verbs.Completed(duty.op_id, seq, done.state, replayed=False)


def fail(state: State, command: verbs.Fail) -> verbs.Failed | Refusal:
    """Record that an attempt did not work; after the last one the duty stays visible as failed.

    Whoever says it again, because the answer was lost, is answered the same.
    """
    found = _found(state, command)
    if isinstance(found, Refusal):
        return found
    _, duty = found
    if duty.failed_lease == command.lease:
        gave_up = duty.lease == command.lease
        told = (DutyState.FAILED, 0) if gave_up else (DutyState.OPEN, duty.due)
        return verbs.Failed(duty.op_id, duty.failed_seq, *told, replayed=True)
    if refusal := _lost(command, duty) or _not_open(command, duty):
        return refusal
    if command.final or duty.attempts >= command.max_attempts:
        seq = _give_up(state, duty, command.note, failed_lease=duty.lease)
        return verbs.Failed(duty.op_id, seq, DutyState.FAILED, 0, replayed=False)
    due = state.now + retry_after(duty.attempts, command.retry_ms)
    data = {"op": duty.op_id, "duty": duty.kind, "worker": duty.worker, "note": command.note}
    seq = state.append(duty.run_id, Kind.TRIED, data | {"due": str(due), "handle": duty.handle})
    free = replace(duty, due=due, worker="", lease="", lease_until=0)
    state.put(replace(free, failed_lease=duty.lease, failed_seq=seq))
    return verbs.Failed(duty.op_id, seq, DutyState.OPEN, due, replayed=False)


def _give_up(state: State, duty: Duty, note: str, failed_lease: str = "") -> int:
    """Write that a duty is not tried again. Whoever had it last may yet say that it is done."""
    kind, outcome = _GIVEN_UP[duty.kind]
    data = {"op": duty.op_id, "worker": duty.worker, "note": note, "outcome": outcome}
    data |= {"handle": duty.handle}
    seq = state.append(duty.run_id, kind, data)
    failed = (failed_lease, seq) if failed_lease else (duty.failed_lease, duty.failed_seq)
    given_up = replace(duty, state=DutyState.FAILED, seq=seq, lease_until=0)
    state.put(replace(given_up, failed_lease=failed[0], failed_seq=failed[1]))
    return seq


def _over(state: State, command: verbs.Claim | verbs.Renew, duty: Duty, note: str) -> Refusal:
    _give_up(state, duty, note)
    return Refusal(ErrorReason.DUTY_OVER, _told(command) | {"state": DutyState.FAILED})


_Command = verbs.Claim | verbs.Renew | verbs.Complete | verbs.Fail


def _found(state: State, command: _Command) -> tuple[Action, Duty] | Refusal:
    action = state.action(command.run_id, command.op_id)
    duty = state.duty(command.run_id, command.op_id, command.kind, command.job)
    if action is None or duty is None:
        return Refusal(ErrorReason.DUTY_UNKNOWN, _told(command))
    if duty.state is DutyState.OPEN and duty.kind in _MOOT.get(action.state, ()):
        # Whoever put the outcome on record broke off before it was closed.
        duty = replace(duty, state=DutyState.MOOT)
        state.put(duty)
    return action, duty


def _held(state: State, command: verbs.Renew | verbs.Complete) -> tuple[Action, Duty] | Refusal:
    """Find a duty that nobody else has claimed since."""
    found = _found(state, command)
    if isinstance(found, Refusal):
        return found
    return _lost(command, found[1]) or found


def _lost(command: verbs.Renew | verbs.Complete | verbs.Fail, duty: Duty) -> Refusal | None:
    """Refuse whoever has let go of a duty, or lost it to somebody else."""
    if duty.lease == command.lease:
        return None
    worker = {"worker": duty.worker} if duty.worker else {}
    return Refusal(ErrorReason.LEASE_LOST, _told(command) | worker)


def _not_open(command: _Command, duty: Duty) -> Refusal | None:
    if duty.state is DutyState.OPEN:
        return None
    return Refusal(ErrorReason.DUTY_OVER, _told(command) | {"state": duty.state})


def _told(command: _Command) -> dict[str, str]:
    return {"run": command.run_id, "op": command.op_id, "duty": command.kind}


def _unknown(run_id: str, op_id: str) -> Refusal:
    return Refusal(ErrorReason.ACTION_UNKNOWN, {"run": run_id, "op": op_id})
