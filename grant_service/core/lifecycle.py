"""The rules: the only place where Python changes the state of a run, grant or action.

Each verb is a function of one store's state. It asks in a fixed order and answers with the first refusal; it
writes only after the last question, because a store that runs these rules as a script cannot take a write
back. `store/lua/` says the same for Redis; the differential test holds the two against each other.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

from grant_service.core import verbs
from grant_service.core.action import OUTCOMES, Action, ActionState, Intent
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.grant import Grant, GrantRef
from grant_service.core.journal import MAX_REFUSALS_KEPT, Kind
from grant_service.core.run import MAX_DEPTH, Run, RunState, StopReason
from grant_service.core.scope import Rule, Scope, choose
from grant_service.core.store import State

Details = Mapping[str, str]


def open(state: State, command: verbs.Open) -> verbs.Opened | Refusal:
    """Open a run, unless it was ended before or a run above it has ended."""
    if unsure := _clock_unsure(state):
        return unsure
    existing = state.run(command.run_id)
    if existing:
        return _open_again(state, existing, command)
    parent = state.run(command.parent) if command.parent else None
    if command.parent:
        if parent is None:
            return Refusal(ErrorReason.RUN_UNKNOWN, {"run": command.parent})
        if ended := _ended(state, parent.path, command.parent):
            return ended
        if len(parent.path) >= MAX_DEPTH:
            depth = {"depth": str(len(parent.path) + 1), "limit": str(MAX_DEPTH)}
            return Refusal(ErrorReason.RUN_TOO_DEEP, {"run": command.run_id} | depth)
    return verbs.Opened(_write_run(state, command, parent), replayed=False)


def _open_again(state: State, existing: Run, command: verbs.Open) -> verbs.Opened | Refusal:
    if ended := _ended(state, existing.path, command.run_id):
        return ended
    asked = (command.parent, command.subject, command.agent, command.tenant, dict(command.labels))
    stored = (existing.parent, existing.subject, existing.agent, existing.tenant, dict(existing.labels))
    if asked != stored or command.ttl_ms != existing.ttl_ms:
        return Refusal(ErrorReason.RUN_EXISTS, {"run": command.run_id})
    return verbs.Opened(existing, replayed=True)


def _write_run(state: State, command: verbs.Open, parent: Run | None) -> Run:
    deadline = state.now + command.ttl_ms
    if parent:
        deadline = min(deadline, parent.deadline)
    data = {"parent": command.parent, "subject": command.subject, "agent": command.agent}
    data |= {"tenant": command.tenant, "labels": labels_text(command.labels), "deadline": str(deadline)}
    seq = state.append(command.run_id, Kind.OPENED, data)
    run = Run(
        run_id=command.run_id,
        parent=command.parent,
        ancestors=parent.path if parent else (),
        subject=command.subject,
        agent=command.agent,
        tenant=command.tenant,
        labels=dict(command.labels),
        epoch=state.epoch,
        open_time=state.now,
        open_seq=seq,
        ttl_ms=command.ttl_ms,
        deadline=deadline,
        keep_until=deadline + command.keep_ms,
    )
    state.put(run)
    if parent:
        state.append(parent.run_id, Kind.CHILD_OPENED, {"child": run.run_id})
    return run


def issue(state: State, command: verbs.Issue) -> verbs.Issued | Refusal:
    """Issue a grant for a run that is active and whose runs above are."""
    if unsure := _clock_unsure(state):
        return unsure
    run = state.run(command.run_id)
    if run is None:
        return Refusal(ErrorReason.RUN_UNKNOWN, {"run": command.run_id})
    if ended := _ended(state, run.path, run.run_id):
        return ended
    existing = state.grant(command.grant_id)
    if existing:
        asked = (command.run_id, command.audience, command.scopes, command.ttl_ms)
        if asked != (existing.run_id, existing.audience, existing.scopes, existing.ttl_ms):
            return Refusal(ErrorReason.GRANT_EXISTS, {"grant": command.grant_id})
        return verbs.Issued(existing, run.subject, replayed=True)
    return verbs.Issued(_write_grant(state, command, run), run.subject, replayed=False)


def _write_grant(state: State, command: verbs.Issue, run: Run) -> Grant:
    expire_time = min(state.now + command.ttl_ms, run.deadline)
    data = {"grant": command.grant_id, "audience": command.audience}
    data |= {"scopes": scopes_text(command.scopes), "expire": str(expire_time)}
    seq = state.append(run.run_id, Kind.ISSUED, data)
    grant = Grant(
        grant_id=command.grant_id,
        run_id=run.run_id,
        ancestors=run.ancestors,
        audience=command.audience,
        epoch=state.epoch,
        scopes=command.scopes,
        used=(0,) * len(command.scopes),
        issue_time=state.now,
        expire_time=expire_time,
        issue_seq=seq,
        ttl_ms=command.ttl_ms,
    )
    state.put(grant)
    return grant


def prepare(state: State, command: verbs.Prepare) -> verbs.Prepared | Refusal:
    """Record an intended action, if it could be committed now."""
    intent, call = command.intent, _Call("prepare", command.grant, command.peer, command.intent.op_id)
    grant = _authority(state, call, intent)
    if isinstance(grant, Refusal):
        return grant
    existing = state.action(grant.run_id, intent.op_id)
    if existing:
        return _prepare_again(state, call, existing, intent)
    action = _new_action(state, call, grant, intent, command.ttl_ms, command.max_actions)
    if isinstance(action, Refusal):
        return action
    return verbs.Prepared(intent.op_id, action.prepare_seq, action.expire_time, replayed=False)


def _prepare_again(state: State, call: "_Call", existing: Action, intent: Intent) -> verbs.Prepared | Refusal:
    if existing.intent != intent:
        return _refuse(state, call, ErrorReason.OP_ID_CONFLICT, intent)
    if existing.grant_id != call.grant.grant_id:
        return _refuse(state, call, ErrorReason.WRONG_GRANT, intent)
    if refusal := _not_open(state, call, existing):
        return refusal
    return verbs.Prepared(intent.op_id, existing.prepare_seq, existing.expire_time, replayed=True)


def commit(state: State, command: verbs.Commit) -> verbs.Permitted | Refusal:
    """Decide whether a prepared action may happen now. The linearization point of the whole product."""
    call = _Call("commit", command.grant, command.peer, command.op_id)
    action = state.action(command.grant.run_id, command.op_id)
    grant = _authority(state, call, action.intent if action else None, action)
    if isinstance(grant, Refusal):
        return grant
    if action is None:
        return _refuse(state, call, ErrorReason.ACTION_UNKNOWN)
    if action.grant_id != grant.grant_id:
        return _refuse(state, call, ErrorReason.WRONG_GRANT, action.intent)
    if action.intent.digest != command.digest:
        return _refuse(state, call, ErrorReason.DIGEST_MISMATCH, action.intent)
    return _permit(state, call, grant, action, command.use_ms)


def perform(state: State, command: verbs.Perform) -> verbs.Permitted | Refusal:
    """Prepare and commit in one step; a repeated one gets the permit of the first."""
    intent, call = command.intent, _Call("perform", command.grant, command.peer, command.intent.op_id)
    existing = state.action(command.grant.run_id, intent.op_id)
    grant = _authority(state, call, intent, existing)
    if isinstance(grant, Refusal):
        return grant
    if existing is None:
        action = _new_action(state, call, grant, intent, command.use_ms, command.max_actions)
        return action if isinstance(action, Refusal) else _permit(state, call, grant, action, command.use_ms)
    if existing.intent != intent:
        return _refuse(state, call, ErrorReason.OP_ID_CONFLICT, intent)
    if existing.grant_id != grant.grant_id:
        return _refuse(state, call, ErrorReason.WRONG_GRANT, intent)
    return _permit(state, call, grant, existing, command.use_ms)


def _permit(
    state: State, call: "_Call", grant: Grant, action: Action, use_ms: int
) -> verbs.Permitted | Refusal:
    """Give the permit, or the one given before; use-by never outlives the grant."""
    if action.state is ActionState.PERMITTED:
        left = max(0, action.use_by - state.now)
        return verbs.Permitted(action.intent.op_id, action.fence, action.use_by, left, replayed=True)
    if refusal := _not_open(state, call, action):
        return refusal
    if state.now >= grant.expire_time:
        return _refuse(state, call, ErrorReason.GRANT_EXPIRED, action.intent)
    limit = grant.scopes[action.scope].max_uses
    if limit and grant.used[action.scope] >= limit:
        return _refuse(state, call, ErrorReason.USES_EXHAUSTED, action.intent)
    use_by = min(state.now + use_ms, grant.expire_time)
    data = {"op": action.intent.op_id, "use_by": str(use_by)}
    fence = state.append(action.run_id, Kind.PERMITTED, data)
    if limit:  # nothing asks how often a scope without a limit was used
        used = list(grant.used)
        used[action.scope] += 1
        state.put(replace(grant, used=tuple(used)))
    state.put(replace(action, state=ActionState.PERMITTED, fence=fence, use_by=use_by))
    return verbs.Permitted(action.intent.op_id, fence, use_by, use_by - state.now, replayed=False)


def settle(state: State, command: verbs.Settle) -> verbs.Settled | Refusal:
    """Record what became of a permitted action: information, so neither expiry nor a cancel refuses it."""
    call = _Call("settle", command.grant, command.peer, command.op_id)
    action = _own_action(state, call)
    if isinstance(action, Refusal):
        return action
    after_cut = _ended(state, (*command.grant.ancestors, command.grant.run_id), action.run_id) is not None
    if action.state in OUTCOMES and action.state is command.outcome:
        return verbs.Settled(command.op_id, action.settle_seq, action.state, after_cut, replayed=True)
    if action.state in (ActionState.SUCCEEDED, ActionState.FAILED):
        return _refuse(state, call, ErrorReason.ALREADY_SETTLED, action.intent, {"state": action.state})
    if action.state not in (ActionState.PERMITTED, ActionState.UNKNOWN):
        return _refuse(state, call, ErrorReason.NEVER_PERMITTED, action.intent, {"state": action.state})
    data = {"op": command.op_id, "outcome": command.outcome, "receipt": command.receipt, "note": command.note}
    seq = state.append(action.run_id, Kind.SETTLED, data)
    state.put(replace(action, state=command.outcome, settle_seq=seq))
    return verbs.Settled(command.op_id, seq, command.outcome, after_cut, replayed=False)


def abandon(state: State, command: verbs.Abandon) -> verbs.Abandoned | Refusal:
    """Give up an action that was never permitted."""
    call = _Call("abandon", command.grant, command.peer, command.op_id)
    action = _own_action(state, call)
    if isinstance(action, Refusal):
        return action
    if action.state is ActionState.ABANDONED:
        return verbs.Abandoned(command.op_id, action.settle_seq, replayed=True)
    if action.state is ActionState.PERMITTED:
        return _refuse(state, call, ErrorReason.ALREADY_PERMITTED, action.intent)
    if action.state in OUTCOMES:
        return _refuse(state, call, ErrorReason.ALREADY_SETTLED, action.intent, {"state": action.state})
    seq = state.append(action.run_id, Kind.ABANDONED, {"op": command.op_id, "note": command.note})
    state.put(replace(action, state=ActionState.ABANDONED, settle_seq=seq))
    return verbs.Abandoned(command.op_id, seq, replayed=False)


def cancel(state: State, command: verbs.Cancel) -> verbs.Cancelled:
    """End a run for good. Its cost does not depend on what runs below it: they look up, it never looks down.

    Nothing refuses it. A run id nobody knows gets a tombstone and can never be opened.
    """
    run = state.run(command.run_id)
    if run and run.state is not RunState.ACTIVE:
        return verbs.Cancelled(
            run.run_id, run.state, run.end_seq, run.end_time, known=run.was_opened, replayed=True
        )
    data = {"reason": command.reason, "actor": command.actor, "note": command.note, "tag": command.tag}
    seq = state.append(command.run_id, Kind.CANCELLED, data)
    tombstone = run or Run(command.run_id, epoch=state.epoch)
    state.put(
        replace(
            tombstone,
            state=RunState.CANCELLED,
            end_reason=command.reason,
            end_actor=command.actor,
            end_note=command.note,
            end_tag=command.tag,
            end_time=state.now,
            end_seq=seq,
            end_epoch=state.epoch,
        )
    )
    return verbs.Cancelled(
        command.run_id, RunState.CANCELLED, seq, state.now, known=run is not None, replayed=False
    )


def finish(state: State, command: verbs.Finish) -> verbs.Finished | Refusal:
    """End a run that did its work, unless it was cancelled first."""
    run = state.run(command.run_id)
    if run is None:
        return Refusal(ErrorReason.RUN_UNKNOWN, {"run": command.run_id})
    if run.state is RunState.FINISHED:
        return verbs.Finished(run, replayed=True)
    if run.state is RunState.CANCELLED:
        return Refusal(ErrorReason.REVOKED, _end_details(state, run, run.run_id))
    seq = state.append(run.run_id, Kind.FINISHED, {"actor": command.actor, "note": command.note})
    finished = replace(
        run,
        state=RunState.FINISHED,
        end_reason=StopReason.RUN_FINISHED,
        end_actor=command.actor,
        end_note=command.note,
        end_time=state.now,
        end_seq=seq,
        end_epoch=state.epoch,
    )
    state.put(finished)
    return verbs.Finished(finished, replayed=False)


class _Call:
    """Who asks for what: enough to refuse it and to journal the refusal."""

    __slots__ = ("grant", "op_id", "peer", "verb")

    def __init__(self, verb: str, grant: GrantRef, peer: str, op_id: str) -> None:
        self.verb, self.grant, self.peer, self.op_id = verb, grant, peer, op_id


def _clock_unsure(state: State) -> Refusal | None:
    """Refuse to give authority by a clock that has gone back further than a correction would."""
    if state.behind_ms > CLOCK_TOLERANCE_MS:
        return Refusal(ErrorReason.CLOCK_UNSURE, {"behind_ms": str(state.behind_ms)})
    return None


def _own_grant(state: State, call: _Call, intent: Intent | None) -> Grant | Refusal:
    """Find the grant the token points to; it must be present, and the caller's own."""
    ref, grant = call.grant, state.grant(call.grant.grant_id)
    if grant is None or (grant.run_id, grant.ancestors) != (ref.run_id, ref.ancestors):
        return Refusal(ErrorReason.GRANT_UNKNOWN, {"grant": ref.grant_id, "run": ref.run_id})
    if grant.audience != call.peer:
        found = {"audience": grant.audience, "peer": call.peer}
        return _refuse(state, call, ErrorReason.WRONG_AUDIENCE, intent, found)
    return grant


def _authority(
    state: State, call: _Call, intent: Intent | None, action: Action | None = None
) -> Grant | Refusal:
    """Clear the grant: sure clock, own grant, every run on the path active, this epoch, not expired.

    A replay is answered after the grant's own expiry, so expiry is asked where a new decision is made.
    """
    if unsure := _clock_unsure(state):
        return unsure
    grant = _own_grant(state, call, intent)
    if isinstance(grant, Refusal):
        return grant
    ended = _ended(state, (*grant.ancestors, grant.run_id), grant.run_id)
    if ended is None and grant.epoch != state.epoch:
        ended = Refusal(ErrorReason.STORE_EPOCH, {"run": grant.run_id})
    if ended is None:
        return grant
    permitted = action is not None and action.fence > 0
    prior = {"prior_decision": str(ActionState.PERMITTED)} if permitted else {}
    return _refuse(state, call, ended.reason, intent, dict(ended.details) | prior)


def _ended(state: State, path: tuple[str, ...], run_id: str) -> Refusal | None:
    """Refuse if any run of the path has ended, the root asked first."""
    for link in path:
        run = state.run(link)
        if run is None:
            return Refusal(ErrorReason.RUN_UNKNOWN, {"run": link})
        if run.state is RunState.CANCELLED:
            return Refusal(ErrorReason.REVOKED, _end_details(state, run, run_id))
        if run.state is RunState.FINISHED:
            return Refusal(ErrorReason.RUN_FINISHED, _end_details(state, run, run_id))
        if run.epoch != state.epoch:
            return Refusal(ErrorReason.STORE_EPOCH, {"run": run_id, "ended_run": link})
        if state.now >= run.deadline:
            ago = {"ended_ago_ms": str(state.now - run.deadline), "ended_time": str(run.deadline)}
            return Refusal(ErrorReason.RUN_DEADLINE, {"run": run_id, "ended_run": link} | ago)
    return None


def _end_details(state: State, run: Run, run_id: str) -> Details:
    details = {"run": run_id, "ended_run": run.run_id, "stop_reason": run.end_reason}
    details |= {"actor": run.end_actor, "note": run.end_note, "tag": run.end_tag}
    details |= {"ended_ago_ms": str(state.now - run.end_time), "ended_time": str(run.end_time)}
    details["seq"] = str(run.end_seq)
    return {name: value for name, value in details.items() if value}


def _new_action(
    state: State, call: _Call, grant: Grant, intent: Intent, ttl_ms: int, max_actions: int
) -> Action | Refusal:
    """Put an action on record under the first scope of the grant that allows it."""
    if state.now >= grant.expire_time:
        return _refuse(state, call, ErrorReason.GRANT_EXPIRED, intent)
    scope = choose(grant.scopes, grant.used, intent.action, intent.resource, intent.reversibility)
    if scope is Rule.USES:
        return _refuse(state, call, ErrorReason.USES_EXHAUSTED, intent)
    if isinstance(scope, Rule):
        return _refuse(state, call, ErrorReason.OUT_OF_SCOPE, intent, {"rule": scope})
    run = state.run(grant.run_id)
    if run is None or run.actions >= max_actions:
        return _refuse(state, call, ErrorReason.RUN_FULL, intent, {"limit": str(max_actions)})
    expire_time = min(state.now + ttl_ms, grant.expire_time)
    data = {"op": intent.op_id, "grant": grant.grant_id, "action": intent.action, "resource": intent.resource}
    data |= {"digest": intent.digest, "reversibility": intent.reversibility}
    data |= {"compensation": intent.compensation, "expire": str(expire_time)}
    seq = state.append(grant.run_id, Kind.PREPARED, data)
    action = Action(
        run_id=grant.run_id,
        grant_id=grant.grant_id,
        intent=intent,
        scope=scope,
        state=ActionState.PREPARED,
        prepare_time=state.now,
        prepare_seq=seq,
        expire_time=expire_time,
    )
    state.put(action)
    state.put(replace(run, actions=run.actions + 1))
    return action


def _own_action(state: State, call: _Call) -> Action | Refusal:
    """Find the action a tool reports on; it must have been prepared under this grant."""
    grant = _own_grant(state, call, None)
    if isinstance(grant, Refusal):
        return grant
    action = state.action(grant.run_id, call.op_id)
    if action is None:
        return _refuse(state, call, ErrorReason.ACTION_UNKNOWN)
    if action.grant_id != grant.grant_id:
        return _refuse(state, call, ErrorReason.WRONG_GRANT, action.intent)
    return action


def _not_open(state: State, call: _Call, action: Action) -> Refusal | None:
    """Refuse an action that is not, or no longer, waiting for its commit."""
    if action.state is ActionState.PERMITTED:
        return _refuse(state, call, ErrorReason.ALREADY_PERMITTED, action.intent)
    if action.state in OUTCOMES:
        return _refuse(state, call, ErrorReason.ALREADY_SETTLED, action.intent, {"state": action.state})
    if action.state is ActionState.ABANDONED:
        return _refuse(state, call, ErrorReason.ACTION_ABANDONED, action.intent)
    if state.now >= action.expire_time:
        return _refuse(state, call, ErrorReason.PREPARE_EXPIRED, action.intent)
    return None


def _refuse(
    state: State, call: _Call, reason: ErrorReason, intent: Intent | None = None, more: Details | None = None
) -> Refusal:
    """Refuse, and leave a line in the run's journal: an attempt is evidence too."""
    details = {"run": call.grant.run_id, "grant": call.grant.grant_id, "op": call.op_id}
    if intent:
        details |= {"action": intent.action, "resource": intent.resource}
    details |= more or {}
    refusal = Refusal(reason, {name: value for name, value in details.items() if value})
    run = state.run(call.grant.run_id)
    if run:
        if run.refusals < MAX_REFUSALS_KEPT:
            kept = ("op", "grant", "action", "resource", "rule", "state", "prior_decision", "peer")
            data = {"verb": call.verb, "reason": reason} | {k: details[k] for k in kept if k in details}
            state.append(run.run_id, Kind.REFUSED, data)
        state.put(replace(run, refusals=run.refusals + 1))
    return refusal


def labels_text(labels: Mapping[str, str]) -> str:
    """Write labels in the one way all stores keep them."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":")) if labels else ""


def scopes_text(scopes: tuple[Scope, ...]) -> str:
    """Write scopes in the one way all stores keep them."""
    rows = [[scope.action, scope.resource, scope.max_uses, scope.ceiling.value] for scope in scopes]
    return json.dumps(rows, separators=(",", ":"))
