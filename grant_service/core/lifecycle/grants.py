"""Issuing grants, and handing them on."""

from dataclasses import replace

from grant_service.core import verbs
from grant_service.core.budget import budgets_text, wider
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import grant_mark, marks_of
from grant_service.core.grant import MAX_CHAIN, Grant
from grant_service.core.journal import Kind
from grant_service.core.lifecycle import runs
from grant_service.core.lifecycle.questions import (
    Authority,
    Call,
    authority,
    authority_of,
    clock_unsure,
    ended,
    frozen,
    kept,
    killed,
    left,
)
from grant_service.core.run import Run
from grant_service.core.scope import Rule, Scope, actions_meet, scopes_text
from grant_service.core.store import State

_MORE = {
    Rule.ACTION: "is for actions no scope of it covers",
    Rule.RESOURCE: "is for resources no scope of it covers",
    Rule.USES: "is for more uses than it has",
}


def issue(state: State, command: verbs.Issue) -> verbs.Issued | Refusal:
    """Issue a grant for a run that is active and whose runs above are."""
    if unsure := clock_unsure(state):
        return unsure
    run = state.run(command.run_id)
    if run is None:
        return Refusal(ErrorReason.RUN_UNKNOWN, {"run": command.run_id})
    if refusal := ended(state, run.path, run.run_id):
        return refusal
    if refusal := frozen(state, run.marks, command.scopes):
        return Refusal(refusal.reason, {"run": run.run_id} | dict(refusal.details))
    existing = state.grant(command.grant_id)
    if existing:
        asked = (command.run_id, command.audience, command.scopes, command.ttl_ms, (), command.sealed)
        if not _is_same(existing, asked, command.budgets):
            return Refusal(ErrorReason.GRANT_EXISTS, {"grant": command.grant_id})
        return verbs.Issued(existing, run.subject, True, _left(state, existing))
    grant = _write_issued(state, command, run)
    return verbs.Issued(grant, run.subject, False, _left(state, grant))


def _left(state: State, grant: Grant) -> dict[str, int]:
    """Tell what is left to a grant in each budget that applies."""
    return left(state, authority_of(state, grant))


def _is_same(existing: Grant, asked: tuple[object, ...], budgets: tuple[object, ...]) -> bool:
    stored = (
        existing.run_id,
        existing.audience,
        existing.scopes,
        existing.ttl_ms,
        existing.chain,
        existing.sealed,
    )
    return (asked, budgets) == (stored, tuple(one.asked for one in existing.budgets))


def _write_issued(state: State, command: verbs.Issue, run: Run) -> Grant:
    expire_time = min(state.now + command.ttl_ms, run.deadline)
    data = {"grant": command.grant_id, "audience": command.audience}
    data |= {"scopes": scopes_text(command.scopes), "expire": str(expire_time)}
    data |= {"budgets": budgets_text(command.budgets), "sealed": "1" if command.sealed else ""}
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
        root_seq=seq,
        sealed=command.sealed,
        budgets=command.budgets,
    )
    state.put(grant)
    return grant


def delegate(state: State, command: verbs.Delegate) -> verbs.Delegated | Refusal:
    """Hand on part of a grant; what is handed on is never wider, longer-lived or richer."""
    call = Call("delegate", command.grant, command.peer, "")
    answer = _delegate(state, call, command)
    return kept(state, call, answer) if isinstance(answer, Refusal) else answer


def _delegate(state: State, call: Call, command: verbs.Delegate) -> verbs.Delegated | Refusal:
    by = authority(state, call, "")
    if isinstance(by, Refusal):
        return by
    child = _child(command, by.run)
    if refusal := frozen(state, _marks(by, child), command.scopes):
        return refusal
    above = by.grant
    if above.sealed:
        return Refusal(ErrorReason.GRANT_SEALED)
    if state.now >= above.expire_time:
        return Refusal(ErrorReason.GRANT_EXPIRED)
    narrowed = _narrowed(above, command.scopes)
    if isinstance(narrowed, Refusal):
        return narrowed
    scopes, narrows = narrowed
    existing = state.grant(command.grant_id)
    if existing:
        return _delegate_again(state, command, existing, scopes, above, child)
    if refusal := _may_not_delegate(state, command, by, child):
        return refusal
    run = runs.write_run(state, child, by.run) if child else None
    grant = _write_delegated(state, command, above, run or by.run, scopes, narrows)
    root = state.run(by.runs[0].run_id)
    if root:
        state.put(replace(root, delegations=root.delegations + 1))
    opened = run and state.run(run.run_id)
    return verbs.Delegated(grant, by.run.subject, opened, False, _left(state, grant))


def _marks(by: Authority, child: verbs.Open | None) -> tuple[str, ...]:
    """Write what fences would know the new grant by, but for its own id."""
    chain = map(grant_mark, (one.grant_id for one in by.grants))
    own = marks_of(child.run_id, "", child.agent, "", child.labels) if child else []
    return (*by.run.marks, *own, *chain)


def _narrowed(above: Grant, asked: tuple[Scope, ...]) -> tuple[tuple[Scope, ...], tuple[int, ...]] | Refusal:
    """Find for each scope the first one above that covers it, and what of that may be handed on.

    What an earlier scope above would have had a person asked about stays so: an action goes by the first
    scope that allows it, and a pattern that is wider than that scope must not lead around it.
    """
    scopes, narrows = [], []
    for number, scope in enumerate(asked):
        closest, wanted = Rule.ACTION, scope
        for place, wide in enumerate(above.scopes):
            narrow = wide.narrowed(wanted)
            if isinstance(narrow, Scope):
                scopes.append(narrow)
                narrows.append(place)
                break
            closest = max(closest, narrow, key=list(Rule).index)
            if actions_meet(wide.action, scope.action):
                wanted = wanted.with_approval_of(wide)
        else:
            told = {"field": f"scopes[{number}]", "rule": _MORE[closest]}
            return Refusal(ErrorReason.GRANT_TOO_WIDE, told)
    return tuple(scopes), tuple(narrows)


def _child(command: verbs.Delegate, run: Run) -> verbs.Open | None:
    """Describe the run to open: below the grant's, on behalf of the same subject and tenant."""
    if command.child is None:
        return None
    return replace(command.child, parent=run.run_id, subject=run.subject, tenant=run.tenant)


def _delegate_again(
    state: State,
    command: verbs.Delegate,
    existing: Grant,
    scopes: tuple[Scope, ...],
    above: Grant,
    child: verbs.Open | None,
) -> verbs.Delegated | Refusal:
    run = state.run(child.run_id) if child else None
    run_id, audience = child.run_id if child else above.run_id, command.audience or above.audience
    asked = (run_id, audience, scopes, command.ttl_ms, (*above.chain, above.grant_id), command.sealed)
    if not _is_same(existing, asked, command.budgets) or (child and not (run and runs.is_same(run, child))):
        return Refusal(ErrorReason.GRANT_EXISTS, {"grant": command.grant_id})
    owner = run or state.run(above.run_id)
    subject = owner.subject if owner else ""
    return verbs.Delegated(existing, subject, run, True, _left(state, existing))


def _may_not_delegate(
    state: State, command: verbs.Delegate, by: Authority, child: verbs.Open | None
) -> Refusal | None:
    if len(by.grants) >= MAX_CHAIN:
        depth = {"depth": str(len(by.grants) + 1), "limit": str(MAX_CHAIN)}
        return Refusal(ErrorReason.GRANT_TOO_DEEP, {"grant": command.grant_id} | depth)
    budgets = [budget for owner in by.owners for budget in owner.budgets]
    richer = list(wider([*command.budgets, *(child.budgets if child else ())], budgets))
    if richer:
        told = {"field": f"budgets[{richer[0]}]", "rule": "is larger than the one above"}
        return Refusal(ErrorReason.GRANT_TOO_WIDE, told)
    if by.runs[0].delegations >= command.max_delegations:
        return Refusal(ErrorReason.TREE_FULL, {"limit": str(command.max_delegations)})
    if child is None:
        return None
    if state.run(child.run_id):
        return Refusal(ErrorReason.RUN_EXISTS, {"run": child.run_id})
    return runs.too_deep(by.run, child.run_id)


def _write_delegated(
    state: State,
    command: verbs.Delegate,
    above: Grant,
    run: Run,
    scopes: tuple[Scope, ...],
    narrows: tuple[int, ...],
) -> Grant:
    expire_time = min(state.now + command.ttl_ms, above.expire_time, run.deadline)
    audience, chain = command.audience or above.audience, (*above.chain, above.grant_id)
    data = {"grant": command.grant_id, "chain": ",".join(chain), "root": str(above.root_seq)}
    data |= {"audience": audience, "scopes": scopes_text(scopes), "expire": str(expire_time)}
    data |= {"budgets": budgets_text(command.budgets), "sealed": "1" if command.sealed else ""}
    grant = Grant(
        grant_id=command.grant_id,
        run_id=run.run_id,
        ancestors=run.ancestors,
        audience=audience,
        epoch=state.epoch,
        scopes=scopes,
        used=(0,) * len(scopes),
        issue_time=state.now,
        expire_time=expire_time,
        issue_seq=state.append(run.run_id, Kind.DELEGATED, data),
        ttl_ms=command.ttl_ms,
        root_seq=above.root_seq,
        chain=chain,
        narrows=narrows,
        sealed=command.sealed,
        budgets=command.budgets,
    )
    state.put(grant)
    return grant


def extend(state: State, command: verbs.Extend) -> verbs.Extended | Refusal:
    """Let a grant last longer, if time is all it lacks; never longer than its run or a grant above it.

    It is asked of the record, whatever the token says. Repeated, it only counts the time from then.
    """
    call = Call("extend", command.grant, command.peer, "")
    answer = _extend(state, call, command.ttl_ms)
    return kept(state, call, answer) if isinstance(answer, Refusal) else answer


def _extend(state: State, call: Call, ttl_ms: int) -> verbs.Extended | Refusal:
    by = authority(state, call, "")
    if isinstance(by, Refusal):
        return by
    grant, above = by.grant, by.grants[:-1]
    if refusal := killed(state, by):
        return refusal
    if over := next((one for one in above if state.now >= one.expire_time), None):
        return Refusal(ErrorReason.GRANT_EXPIRED, {"grant": over.grant_id})
    expire_time = min(state.now + ttl_ms, by.run.deadline, *(one.expire_time for one in above))
    if expire_time <= grant.expire_time:
        return verbs.Extended(grant, by.run.subject, True, left(state, by))
    state.append(grant.run_id, Kind.EXTENDED, {"grant": grant.grant_id, "expire": str(expire_time)})
    grant = replace(grant, expire_time=expire_time)
    state.put(grant)
    return verbs.Extended(grant, by.run.subject, False, left(state, by))
