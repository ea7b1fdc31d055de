"""Preparing, committing and settling: the boundary every side effect passes."""

from dataclasses import replace

from grant_service.core import verbs
from grant_service.core.action import OUTCOMES, Action, ActionState, Intent
from grant_service.core.budget import charges, costs_text
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.journal import Kind
from grant_service.core.lifecycle.duties import close_moot, put_ask, put_call_off
from grant_service.core.lifecycle.jobs import Named, named
from grant_service.core.lifecycle.questions import (
    Authority,
    Call,
    authority,
    authority_of,
    ended,
    has_uses_left,
    kept,
    left,
    own_action,
    scope_line,
)
from grant_service.core.lifecycle.spendings import hold, let_go, run_out, short_of, take
from grant_service.core.scope import Rule, choose
from grant_service.core.store import State, View

_SAID_NO = "a person said no"
_NOBODY_SAID_YES = "nobody agreed in time"
_YES_LAPSED = "the approval was not used in time"


def prepare(state: State, command: verbs.Prepare) -> verbs.Prepared | Refusal:
    """Record an intended action, if it could be committed now, or once a person has agreed."""
    call = Call("prepare", command.grant, command.peer, command.intent.op_id)
    answer = _prepare(state, call, command)
    return kept(state, call, answer, command.intent) if isinstance(answer, Refusal) else answer


def _prepare(state: State, call: Call, command: verbs.Prepare) -> verbs.Prepared | Refusal:
    by = authority(state, call, command.intent.action)
    if isinstance(by, Refusal):
        return by
    existing = state.action(by.run.run_id, call.op_id)
    if existing:
        refusal = _not_same(existing, call, command.intent) or _not_open(state, existing)
        return refusal or _prepared(state, by, existing, replayed=True)
    action = _new_action(state, by, command)
    return action if isinstance(action, Refusal) else _prepared(state, by, action, replayed=False)


def _prepared(state: State, by: Authority, action: Action, *, replayed: bool) -> verbs.Prepared:
    return verbs.Prepared(
        op_id=action.intent.op_id,
        seq=action.prepare_seq,
        expire_time=action.expire_time,
        replayed=replayed,
        state=action.state,
        approval=action.approval,
        remaining=left(state, by),
        undo_until=action.undo_until,
    )


def commit(state: State, command: verbs.Commit) -> verbs.Permitted | Refusal:
    """Decide whether a prepared action may happen now. The linearization point of the whole product."""
    call = Call("commit", command.grant, command.peer, command.op_id)
    action = state.action(command.grant.run_id, command.op_id)
    answer = _commit(state, call, command, action)
    return (
        kept(state, call, answer, action.intent if action else None)
        if isinstance(answer, Refusal)
        else answer
    )


def _commit(
    state: State, call: Call, command: verbs.Commit, action: Action | None
) -> verbs.Permitted | Refusal:
    by = authority(state, call, action.intent.action if action else "", action)
    if isinstance(by, Refusal):
        return by
    if action is None:
        return Refusal(ErrorReason.ACTION_UNKNOWN)
    if action.grant_id != by.grant.grant_id:
        return Refusal(ErrorReason.WRONG_GRANT)
    if action.digest != command.digest:
        return Refusal(ErrorReason.DIGEST_MISMATCH)
    return _not_permitted(state, by, action) or _permit(state, by, action, command.use_ms, held=True)


def perform(state: State, command: verbs.Perform) -> verbs.Permitted | Refusal:
    """Prepare and commit in one step; a repeated one gets the permit of the first.

    Where a person has to agree first, it is on record afterwards, and refused until they have.
    """
    call = Call("perform", command.grant, command.peer, command.intent.op_id)
    existing = state.action(command.grant.run_id, command.intent.op_id)
    answer = _perform(state, call, command, existing)
    return kept(state, call, answer, command.intent) if isinstance(answer, Refusal) else answer


def _perform(
    state: State, call: Call, command: verbs.Perform, existing: Action | None
) -> verbs.Permitted | Refusal:
    by = authority(state, call, command.intent.action, existing)
    if isinstance(by, Refusal):
        return by
    if existing:
        refusal = _not_same(existing, call, command.intent)
        if refusal is None and existing.digest != existing.intent.digest:
            refusal = Refusal(ErrorReason.DIGEST_MISMATCH)  # a person agreed to other arguments
        decided = refusal or _not_permitted(state, by, existing)
        return decided or _permit(state, by, existing, command.use_ms, held=True)
    action = _new_action(state, by, command)
    if isinstance(action, Refusal):
        return action
    if action.state is ActionState.AWAITING_APPROVAL:
        return Refusal(ErrorReason.AWAITING_APPROVAL)
    return _permit(state, by, action, command.use_ms, held=False)


def _new_action(state: State, by: Authority, command: verbs.Prepare | verbs.Perform) -> Action | Refusal:
    """Put an action on record under the first scope of the grant that allows it."""
    grant, intent = by.grant, command.intent
    if state.now >= grant.expire_time:
        return Refusal(ErrorReason.GRANT_EXPIRED)
    scope = choose(grant.scopes, grant.used, intent.action, intent.resource, intent.reversibility)
    if isinstance(scope, Rule) and scope is not Rule.USES:
        return Refusal(ErrorReason.OUT_OF_SCOPE, {"rule": scope})
    if isinstance(scope, Rule) or not has_uses_left(by, scope):
        return Refusal(ErrorReason.USES_EXHAUSTED)
    if by.run.actions >= command.max_actions:
        return Refusal(ErrorReason.RUN_FULL, {"limit": str(command.max_actions)})
    for short in short_of(state, by, charges(intent.costs)):
        return run_out(state, short)
    waits = grant.scopes[scope].demands_approval(intent.reversibility)
    at_once = isinstance(command, verbs.Perform) and not waits
    if isinstance(command, verbs.Perform):
        ttl_ms = command.wait_ms if waits else command.use_ms
    else:
        ttl_ms = command.wait_ms if waits else command.ttl_ms
    action = _write_prepared(state, by, command, scope, ttl_ms, waits=waits)
    if not at_once:
        hold(state, by, action)
    return action


def _write_prepared(
    state: State,
    by: Authority,
    command: verbs.Prepare | verbs.Perform,
    scope: int,
    ttl_ms: int,
    *,
    waits: bool,
) -> Action:
    grant, run, intent = by.grant, by.run, command.intent
    undo_until = min(state.now + command.undo_ms, run.keep_until)
    expire_time = min(state.now + ttl_ms, grant.expire_time)
    data = {"op": intent.op_id, "grant": grant.grant_id, "action": intent.action, "resource": intent.resource}
    data |= {"digest": intent.digest, "reversibility": intent.reversibility}
    data |= {"compensation": intent.compensation, "probe": intent.probe, "undo_until": str(undo_until)}
    data |= {"expire": str(expire_time)}
    data |= {"costs": costs_text(intent.costs), "summary": intent.summary, "awaits": "1" if waits else ""}
    action = Action(
        run_id=run.run_id,
        grant_id=grant.grant_id,
        intent=intent,
        scope=scope,
        state=ActionState.AWAITING_APPROVAL if waits else ActionState.PREPARED,
        prepare_time=state.now,
        prepare_seq=state.append(run.run_id, Kind.PREPARED, data),
        expire_time=expire_time,
        undo_until=undo_until,
    )
    state.put(action)
    state.put(replace(run, actions=run.actions + 1))
    return action


def _not_same(existing: Action, call: Call, intent: Intent) -> Refusal | None:
    """Refuse to take the same op_id for something else, or from under another grant."""
    if existing.intent != intent:
        return Refusal(ErrorReason.OP_ID_CONFLICT)
    if existing.grant_id != call.grant.grant_id:
        return Refusal(ErrorReason.WRONG_GRANT)
    return None


def _not_open(state: View, action: Action) -> Refusal | None:
    """Refuse an action that is not, or no longer, waiting for its commit or for a person."""
    if action.state is ActionState.PERMITTED:
        return Refusal(ErrorReason.ALREADY_PERMITTED)
    if action.state in OUTCOMES:
        return Refusal(ErrorReason.ALREADY_SETTLED, {"state": action.state})
    if action.state is ActionState.ABANDONED:
        return Refusal(ErrorReason.ACTION_ABANDONED)
    if action.state is ActionState.DENIED:
        return _denied(action, _SAID_NO)
    if state.now >= action.expire_time:
        waits = action.state is ActionState.AWAITING_APPROVAL
        return _denied(action, _NOBODY_SAID_YES) if waits else Refusal(ErrorReason.PREPARE_EXPIRED)
    if action.approval and state.now >= action.approval.until:
        return _denied(action, _YES_LAPSED)
    return None


def _denied(action: Action, cause: str) -> Refusal:
    said = action.approval
    return Refusal(
        ErrorReason.DENIED,
        {"cause": cause, "actor": said.actor if said else "", "note": said.note if said else ""},
    )


def _not_permitted(state: State, by: Authority, action: Action) -> verbs.Permitted | Refusal | None:
    """Answer the permit given before, as long as it can be used, or refuse one; None if one may be given.

    A permit lasts no longer than its grant, so none is repeated when a fence is no longer looked for.
    """
    if action.state is ActionState.PERMITTED and state.now < action.use_by:
        given = (action.fence, action.use_by, action.use_by - state.now)
        return verbs.Permitted(action.intent.op_id, *given, True, left(state, by))
    return refusal_now(state, by, action)


def refusal_now(state: View, by: Authority, action: Action) -> Refusal | None:
    """Refuse a permit that was not given before, or None if it may be given now."""
    if refusal := _not_open(state, action):
        return refusal
    if action.state is ActionState.AWAITING_APPROVAL:
        return Refusal(ErrorReason.AWAITING_APPROVAL)
    if state.now >= by.grant.expire_time:
        return Refusal(ErrorReason.GRANT_EXPIRED)
    return None if has_uses_left(by, action.scope) else Refusal(ErrorReason.USES_EXHAUSTED)


def _permit(state: State, by: Authority, action: Action, use_ms: int, *, held: bool) -> verbs.Permitted:
    """Give the permit; its use-by never outlives the grant. What it needs of budgets is taken for good."""
    use_by = min(state.now + use_ms, by.grant.expire_time)
    fence = state.append(action.run_id, Kind.PERMITTED, {"op": action.intent.op_id, "use_by": str(use_by)})
    for grant, index in scope_line(by, action.scope):
        if grant.scopes[index].max_uses:  # nothing asks how often a scope without a limit was used
            used = tuple(count + (place == index) for place, count in enumerate(grant.used))
            state.put(replace(grant, used=used))
    if by.has_budgets:
        if held:
            let_go(state, by, action)
        take(state, by, charges(action.intent.costs))
    permitted = replace(action, state=ActionState.PERMITTED, fence=fence, use_by=use_by)
    state.put(permitted)
    put_ask(state, permitted, by.run.keep_until)
    return verbs.Permitted(action.intent.op_id, fence, use_by, use_by - state.now, False, left(state, by))


def settle(state: State, command: verbs.Settle) -> verbs.Settled | Refusal:
    """Record what became of a permitted action: information, so neither expiry nor a cancel refuses it."""
    call = Call("settle", command.grant, command.peer, command.op_id)
    found = own_action(state, call)
    if isinstance(found, Refusal):
        return kept(state, call, found, _intent(state, call, found))
    action, job = found, named(state, found, command)
    after_cut = ended(state, command.grant.path, action.run_id) is not None
    again = action.state in OUTCOMES and action.state is command.outcome
    if again and not action.resolved and not (job and job.is_news):
        return _settled(state, command, action, after_cut, job, replayed=True)
    if refusal := _not_taken(action, again, job):
        return kept(state, call, refusal, action.intent)
    data = {"op": command.op_id, "outcome": command.outcome, "receipt": command.receipt, "note": command.note}
    if job:
        told_by = "" if job.why_not else command.canceller
        data |= {"handle": command.handle, "canceller": told_by, "why_not": job.why_not}
    settled = replace(
        action,
        state=command.outcome,
        resolved=False,
        settle_seq=state.append(action.run_id, Kind.SETTLED, data),
        result_args=command.result_args or action.result_args,
        handles=(*action.handles, command.handle)
        if job and job.number == len(action.handles)
        else action.handles,
    )
    state.put(settled)
    if job and job.is_news and not job.why_not:
        put_call_off(state, settled, job.number, command.canceller)
    close_moot(state, settled)
    return _settled(state, command, settled, after_cut, job, replayed=False)


def _not_taken(action: Action, again: bool, job: Named | None) -> Refusal | None:
    """Refuse a word against what is known, about what was never permitted, or of yet another job."""
    if again and not action.resolved and job and job.is_beyond:
        return Refusal(ErrorReason.ALREADY_SETTLED, {"state": action.state, "rule": job.why_not})
    if again or action.state in (ActionState.PERMITTED, ActionState.UNKNOWN):
        return None
    if action.state in (ActionState.SUCCEEDED, ActionState.FAILED):
        return Refusal(ErrorReason.ALREADY_SETTLED, {"state": action.state})
    return Refusal(ErrorReason.NEVER_PERMITTED, {"state": action.state})


def _settled(
    state: State,
    command: verbs.Settle,
    action: Action,
    after_cut: bool,
    job: Named | None,
    *,
    replayed: bool,
) -> verbs.Settled:
    return verbs.Settled(
        command.op_id,
        action.settle_seq,
        action.state,
        after_cut,
        replayed,
        left(state, authority_of(state, command.grant)),
        job.why_not if job else "",
    )


def abandon(state: State, command: verbs.Abandon) -> verbs.Abandoned | Refusal:
    """Give up an action that was never permitted. What was held for it is free again."""
    call = Call("abandon", command.grant, command.peer, command.op_id)
    found = own_action(state, call)
    if isinstance(found, Refusal):
        return kept(state, call, found, _intent(state, call, found))
    action, by = found, authority_of(state, command.grant)
    if action.state is ActionState.ABANDONED:
        return verbs.Abandoned(command.op_id, action.settle_seq, True, left(state, by))
    if action.state is ActionState.PERMITTED:
        return kept(state, call, Refusal(ErrorReason.ALREADY_PERMITTED), action.intent)
    if action.state in OUTCOMES:
        refusal = Refusal(ErrorReason.ALREADY_SETTLED, {"state": action.state})
        return kept(state, call, refusal, action.intent)
    if action.state is ActionState.DENIED:
        return kept(state, call, _denied(action, _SAID_NO), action.intent)
    seq = state.append(action.run_id, Kind.ABANDONED, {"op": command.op_id, "note": command.note})
    let_go(state, by, action)
    state.put(replace(action, state=ActionState.ABANDONED, settle_seq=seq))
    return verbs.Abandoned(command.op_id, seq, False, left(state, by))


def _intent(state: State, call: Call, refusal: Refusal) -> Intent | None:
    """Find what a refused report is about, where it is about another grant's action."""
    action = state.action(call.grant.run_id, call.op_id)
    return action.intent if action and refusal.reason is ErrorReason.WRONG_GRANT else None
