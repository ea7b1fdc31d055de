"""What several verbs ask, in the order in which they ask it; and how a refused call is kept.

A question changes nothing: it answers with a refusal, or with what was asked for.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from grant_service.core.action import Action, ActionState, Intent
from grant_service.core.budget import Budget, remaining
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import EVERYTHING, Fence, action_anchors, grant_mark
from grant_service.core.grant import Grant, GrantRef
from grant_service.core.journal import MAX_REFUSALS_KEPT, Kind
from grant_service.core.run import Run, RunState
from grant_service.core.scope import Scope, action_covers, actions_meet
from grant_service.core.store import State, View

Details = Mapping[str, str]

#: What a refused call leaves in the journal.
_KEPT = ("op", "grant", "action", "resource", "rule", "state", "prior_decision", "peer", "budget", "fence")

#: Nothing is known of who asks, so nothing is added to what was answered, and no line is written.
_ANONYMOUS = frozenset({ErrorReason.CLOCK_UNSURE, ErrorReason.GRANT_UNKNOWN})


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks for what: enough to refuse it and to journal the refusal. A `peer` of '' may be anybody."""

    verb: str
    grant: GrantRef
    peer: str
    op_id: str
    #: What is asked for where that is no action: a line about its refusal tells it.
    asked: Details = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Authority:
    """What a call acts by: the grants of its chain and the runs of its path, the first ones first."""

    grants: tuple[Grant, ...]
    runs: tuple[Run, ...]
    #: Whether there are any budgets: most of the time there are none to ask, change or tell of.
    has_budgets: bool

    @property
    def grant(self) -> Grant:
        """The grant it was called with."""
        return self.grants[-1]

    @property
    def run(self) -> Run:
        """The run that grant is for."""
        return self.runs[-1]

    @property
    def owners(self) -> tuple[Run | Grant, ...]:
        """Everything whose budgets apply."""
        return (*self.runs, *self.grants)


def clock_unsure(state: View) -> Refusal | None:
    """Refuse to give authority by a clock that has gone back further than a correction would."""
    if state.behind_ms > CLOCK_TOLERANCE_MS:
        return Refusal(ErrorReason.CLOCK_UNSURE, {"behind_ms": str(state.behind_ms)})
    return None


def own_grant(state: View, call: Call) -> Grant | Refusal:
    """Find the grant the token points to; it must be present, and the caller's own."""
    ref, grant = call.grant, state.grant(call.grant.grant_id)
    told = (ref.run_id, ref.ancestors, ref.chain)
    if grant is None or (grant.run_id, grant.ancestors, grant.chain) != told:
        return Refusal(ErrorReason.GRANT_UNKNOWN, {"grant": ref.grant_id, "run": ref.run_id})
    if call.peer not in ("", grant.audience):
        return Refusal(ErrorReason.WRONG_AUDIENCE, {"audience": grant.audience, "peer": call.peer})
    return grant


def authority(state: View, call: Call, action: str, known: Action | None = None) -> Authority | Refusal:
    """Clear the grant: sure clock, own grant, every run of the path, every grant of the chain, no fence.

    `action` is what it is to be used for, '' for nothing that is an action; `known` is the action on record.
    A replay is answered after the grant's own expiry, so expiry is asked where a new decision is made.
    """
    if unsure := clock_unsure(state):
        return unsure
    grant = own_grant(state, call)
    if isinstance(grant, Refusal):
        return grant
    found = authority_of(state, call.grant)
    refusal = (
        ended(state, call.grant.path, grant.run_id)
        or chain_broken(state, call.grant)
        or fenced(state, found, action)
    )
    if refusal is None:
        return found
    if known is not None and known.fence > 0 and refusal.reason is not ErrorReason.GRANT_UNKNOWN:
        return replace(
            refusal, details=dict(refusal.details) | {"prior_decision": str(ActionState.PERMITTED)}
        )
    return refusal


def authority_of(state: View, ref: GrantRef | Grant) -> Authority:
    """Find the records a token or a grant names, those that are gone left out."""
    grants = [grant for link in ref.links if (grant := state.grant(link))]
    runs = [run for link in ref.path if (run := state.run(link))]
    owners: list[Run | Grant] = [*runs, *grants]
    return Authority(tuple(grants), tuple(runs), any(one.budgets for one in owners))


def ended(state: View, path: tuple[str, ...], run_id: str) -> Refusal | None:
    """Refuse if any run of the path has ended, the root asked first."""
    for link in path:
        run = state.run(link)
        if run is None:
            return Refusal(ErrorReason.RUN_UNKNOWN, {"run": link})
        if run.state is RunState.CANCELLED:
            return Refusal(ErrorReason.REVOKED, end_details(state, run, run_id))
        if run.state is RunState.FINISHED:
            return Refusal(ErrorReason.RUN_FINISHED, end_details(state, run, run_id))
        if run.epoch != state.epoch:
            return Refusal(ErrorReason.STORE_EPOCH, {"run": run_id, "ended_run": link})
        if state.now >= run.deadline:
            ago = {"ended_ago_ms": str(state.now - run.deadline), "ended_time": str(run.deadline)}
            return Refusal(ErrorReason.RUN_DEADLINE, {"run": run_id, "ended_run": link} | ago)
    return None


def end_details(state: View, run: Run, run_id: str) -> Details:
    """Say how a run was ended, for whoever is refused because of it."""
    details = {"run": run_id, "ended_run": run.run_id, "stop_reason": run.end_reason}
    details |= {"actor": run.end_actor, "note": run.end_note, "tag": run.end_tag}
    details |= {"ended_ago_ms": str(state.now - run.end_time), "ended_time": str(run.end_time)}
    details["seq"] = str(run.end_seq)
    return {name: value for name, value in details.items() if value}


def chain_broken(state: View, ref: GrantRef) -> Refusal | None:
    """Refuse if any grant of the chain is gone, of another epoch or ended, the first one asked first."""
    for link in ref.links:
        grant = state.grant(link)
        if grant is None:
            return Refusal(ErrorReason.GRANT_UNKNOWN, {"grant": link, "run": ref.run_id})
        if grant.epoch != state.epoch:
            return Refusal(ErrorReason.STORE_EPOCH, {"run": ref.run_id})
        if grant.end_seq:
            ago = {"ended_ago_ms": str(state.now - grant.end_time), "ended_time": str(grant.end_time)}
            details = {"ended_grant": link, "budget": grant.end_budget, "seq": str(grant.end_seq)}
            return Refusal(ErrorReason.GRANT_ENDED, details | ago)
    return None


def fenced(state: View, by: Authority, action: str) -> Refusal | None:
    """Refuse if a fence stands over this authority, the oldest one named."""
    if not state.any_fence:
        return None
    marks = (*by.run.marks, *(grant_mark(one.grant_id) for one in by.grants))
    over = _found(state, marks, action_anchors(action))
    names, root_seq = frozenset(marks), by.grant.root_seq
    hits = [one for one in over if one.refuses(root_seq, state.now) and one.selector.names(names, action)]
    return fence_refusal(state, hits)


def frozen(state: View, marks: tuple[str, ...], scopes: Iterable[Scope]) -> Refusal | None:
    """Refuse to give out what is frozen: everything, or a scope all of whose actions are."""
    if not state.any_fence:
        return None
    patterns = [scope.action for scope in scopes]
    over = _found(state, marks, (anchor for one in patterns for anchor in action_anchors(one)))
    names = frozenset(marks)

    def forbids(fence: Fence) -> bool:
        frozen_action = fence.selector.action or "*"
        asked = any(action_covers(frozen_action, one) for one in patterns)
        return fence.blocks(state.now) and asked and all(mark in names for mark in fence.selector.marks)

    return fence_refusal(state, [one for one in over if forbids(one)])


def killed(state: State, by: Authority) -> Refusal | None:
    """Refuse if a fence ever killed any of this authority, also one that no commit looks for any more.

    Fences are no longer looked for once all they killed has expired. So what a fence killed, be it one action
    of many, must never be made to last longer.
    """
    names = frozenset((*by.run.marks, *(grant_mark(one.grant_id) for one in by.grants)))

    def kills(fence: Fence) -> bool:
        killed = fence.selector.action or "*"
        asked = any(actions_meet(killed, scope.action) for scope in by.grant.scopes)
        return asked and names.issuperset(fence.selector.marks)

    return fence_refusal(state, [one for one in state.fences_since(by.grant.root_seq) if kills(one)])


def _found(state: View, marks: Iterable[str], actions: Iterable[str]) -> list[Fence]:
    """Look up the fences under these anchors, each once."""
    anchors = dict.fromkeys([*marks, *actions, EVERYTHING])
    return [fence for anchor in anchors for fence in state.fences_at(anchor)]


def fence_refusal(state: View, hits: list[Fence]) -> Refusal | None:
    """Refuse for the oldest of some fences."""
    if not hits:
        return None
    fence = min(hits, key=lambda one: one.seq)
    details = {"fence": fence.fence_id, "kind": fence.kind.value, "selector": fence.selector.text}
    details |= {"stop_reason": fence.reason, "actor": fence.actor, "note": fence.note, "seq": str(fence.seq)}
    details |= {"ended_ago_ms": str(state.now - fence.time), "ended_time": str(fence.time)}
    return Refusal(ErrorReason.FENCED, {name: value for name, value in details.items() if value})


def has_uses_left(by: Authority, scope: int) -> bool:
    """Say whether a scope, and every scope it narrows, has a use left."""
    return all(
        grant.used[index] < (grant.scopes[index].max_uses or math.inf)
        for grant, index in scope_line(by, scope)
    )


def scope_line(by: Authority, scope: int) -> Iterable[tuple[Grant, int]]:
    """Walk up from a scope of the grant to the scopes it narrows."""
    index = scope
    for grant in reversed(by.grants):
        yield grant, index
        index = grant.narrows[index] if grant.narrows else 0


def own_action(state: State, call: Call) -> Action | Refusal:
    """Find the action a tool reports on; it must have been prepared under this grant."""
    grant = own_grant(state, call)
    if isinstance(grant, Refusal):
        return grant
    action = state.action(grant.run_id, call.op_id)
    if action is None:
        return Refusal(ErrorReason.ACTION_UNKNOWN)
    if action.grant_id != grant.grant_id:
        return Refusal(ErrorReason.WRONG_GRANT)
    return action


def left(state: View, by: Authority) -> dict[str, int]:
    """Tell what is left in each budget that applies, as the records are now."""
    if not by.has_budgets:
        return {}
    return remaining((budget for owner in fresh(state, by) for budget in owner.budgets), state.now)


def fresh(state: View, by: Authority) -> list[Run | Grant]:
    """Find the records again: they may have been written since."""
    runs = [state.run(one.run_id) for one in by.runs]
    grants = [state.grant(one.grant_id) for one in by.grants]
    return [one for one in [*runs, *grants] if one]


def budgets_of(owners: Iterable[Run | Grant]) -> Iterable[tuple[Run | Grant, Budget]]:
    """Walk through the budgets, each with its owner."""
    return ((owner, budget) for owner in owners for budget in owner.budgets)


def kept(state: State, call: Call, refusal: Refusal, intent: Intent | None = None) -> Refusal:
    """Say what was refused, and leave a line in the run's journal: an attempt is evidence too."""
    refusal = told(call, refusal, intent)
    if refusal.reason in _ANONYMOUS:
        return refusal
    details, run = refusal.details, state.run(call.grant.run_id)
    # A call that waits for a person comes again and again, and is on record already.
    if run and refusal.reason is not ErrorReason.AWAITING_APPROVAL:
        if run.refusals < MAX_REFUSALS_KEPT:
            data = {"verb": call.verb, "reason": refusal.reason.value}
            data |= {name: details[name] for name in _KEPT if name in details}
            state.append(run.run_id, Kind.REFUSED, data | dict(call.asked))
        state.put(replace(run, refusals=run.refusals + 1))
    return refusal


def told(call: Call, refusal: Refusal, intent: Intent | None = None) -> Refusal:
    """Say of a refusal what was refused; empty values are left out."""
    if refusal.reason in _ANONYMOUS:
        return refusal
    details = {"run": call.grant.run_id, "grant": call.grant.grant_id, "op": call.op_id}
    if intent:
        details |= {"action": intent.action, "resource": intent.resource}
    details |= refusal.details
    return Refusal(refusal.reason, {name: value for name, value in details.items() if value})
