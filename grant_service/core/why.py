"""Why something is refused: the questions of a decision, asked of what can be read, with nothing written."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grant_service.core.action import Action, ActionState
from grant_service.core.errors import ErrorReason, Refusal, Refused
from grant_service.core.fence import Fence, grant_mark
from grant_service.core.grant import Grant, GrantRef
from grant_service.core.journal import Entry
from grant_service.core.lifecycle import questions
from grant_service.core.lifecycle.actions import refusal_now
from grant_service.core.past import past_of
from grant_service.core.run import Run
from grant_service.core.scope import action_covers, actions_meet
from grant_service.core.store import Store
from grant_service.core.story import story_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Why:
    """The first rule that refuses, or None if nothing does; and the fence, if it is one.

    Where nothing refuses it, there may be a remark on a fence over part of it, or over what came before.
    """

    refusal: Refusal | None
    fence: Fence | None
    now: int
    remark: str = ""
    #: Of an action: its entries, and those that ended what it acted by.
    story: tuple[Entry, ...] = ()


@dataclass
class Snapshot:
    """What was read, in the form in which the rules look at a store. Nothing can be written to it."""

    epoch: str
    now: int
    behind_ms: int = 0
    runs: dict[str, Run] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    fences: Sequence[Fence] = ()
    #: All that was written up to this entry is in it.
    seq: int = 0

    def run(self, run_id: str) -> Run | None:
        """Find a run."""
        return self.runs.get(run_id)

    def grant(self, grant_id: str) -> Grant | None:
        """Find a grant."""
        return self.grants.get(grant_id)

    @property
    def any_fence(self) -> bool:
        """Whether any fence stands."""
        return any(one.standing for one in self.fences)

    def fences_at(self, anchor: str) -> list[Fence]:
        """Find the standing fences under an anchor."""
        return [one for one in self.fences if one.standing and one.selector.anchor == anchor]


async def why(store: Store, run_id: str, grant_id: str, op_id: str) -> Why:
    """Say what would refuse a run its next grant, a grant its next action, or an action its commit."""
    standing = await store.standing()
    state = Snapshot(standing.epoch, standing.now, fences=await store.fences())
    action = await _read_action(store, run_id, op_id)
    if op_id and run_id and action is None and (told := await _told_of_past(store, state, run_id, op_id)):
        return told
    grant = await _read_grants(store, state, grant_id, run_id)
    run_id = grant.run_id if grant else run_id
    if op_id:
        action = action or await _read_action(store, run_id, op_id)
        if action is None:
            raise Refused(ErrorReason.ACTION_UNKNOWN, run=run_id, op=op_id)
        grant = grant or await _read_grants(store, state, action.grant_id, run_id)
    await _read_runs(store, state, run_id)
    refusal = _refusal(state, run_id, grant, action)
    named = refusal.details.get("fence") if refusal else None
    fence = next((one for one in state.fences if one.fence_id == named), None)
    if action:
        path = [state.runs[one] for one in state.runs[run_id].path if one in state.runs]
        story = await story_of(store, action, path, state.fences)
        return Why(refusal, fence, standing.now, story=story)
    if refusal:
        return Why(refusal, fence, standing.now)
    noted = _over_part(state, grant) if grant else _over_some(state, state.runs[run_id])
    return Why(None, noted[0], standing.now, noted[1]) if noted else Why(None, None, standing.now)


async def only_awaiting(store: Store, actions: Sequence[Action]) -> list[Action]:
    """Pick the actions that nothing but a person's answer is wanting for."""
    standing = await store.standing()
    state = Snapshot(standing.epoch, standing.now, fences=await store.fences())
    own = await _found(store.grants, {one.grant_id for one in actions})
    chains = await _found(store.grants, {link for grant in own for link in grant.chain})
    state.grants = {one.grant_id: one for one in [*own, *chains]}
    runs = await _found(store.runs, {one.run_id for one in actions})
    above = await _found(store.runs, {link for run in runs for link in run.ancestors})
    state.runs = {one.run_id: one for one in [*runs, *above]}

    def waits(action: Action) -> bool:
        grant = state.grants.get(action.grant_id)
        if grant is None or action.run_id not in state.runs:
            return False
        refusal = _refusal(state, action.run_id, grant, action)
        return refusal is not None and refusal.reason is ErrorReason.AWAITING_APPROVAL

    return [one for one in actions if waits(one)]


async def snapshot(store: Store) -> Snapshot:
    """Read what every question needs: time, epoch, and the fences that refuse anything."""
    standing = await store.standing()
    fences = [one for one in await store.fences() if one.standing]
    return Snapshot(standing.epoch, standing.now, fences=fences, seq=standing.last_seq)


async def refusals(store: Store, state: Snapshot, asked: Sequence[tuple[str, str]]) -> list[Refusal | None]:
    """Say of many at once what would refuse them: of each a run, and a grant of it or ''."""
    own = await _found(store.grants, {grant_id for _, grant_id in asked if grant_id})
    chains = await _found(store.grants, {link for grant in own for link in grant.chain})
    state.grants = {one.grant_id: one for one in [*own, *chains]}
    runs = await _found(store.runs, {run_id for run_id, _ in asked})
    above = await _found(store.runs, {link for run in runs for link in run.ancestors})
    state.runs = {one.run_id: one for one in [*runs, *above]}

    def refusal(run_id: str, grant_id: str) -> Refusal | None:
        if run_id not in state.runs:
            return Refusal(ErrorReason.RUN_UNKNOWN, {"run": run_id})
        if grant_id and grant_id not in state.grants:
            return Refusal(ErrorReason.GRANT_UNKNOWN, {"grant": grant_id, "run": run_id})
        return _refusal(state, run_id, state.grants.get(grant_id), None)

    return [refusal(run_id, grant_id) for run_id, grant_id in asked]


async def _found(read: Callable[[Sequence[str]], Awaitable[list[T | None]]], ids: set[str]) -> list[T]:
    return [one for one in await read(sorted(ids)) if one] if ids else []


async def _read_action(store: Store, run_id: str, op_id: str) -> Action | None:
    (action,) = await store.actions([(run_id, op_id)]) if run_id and op_id else [None]
    return action


async def _told_of_past(store: Store, state: Snapshot, run_id: str, op_id: str) -> Why | None:
    """Tell of an action that only the journal knows any more: its run was archived, so it has ended."""
    (run,) = await store.runs([run_id])
    if run is None:
        return None
    await _read_runs(store, state, run_id)
    path = [state.runs[one] for one in run.path if one in state.runs]
    refusal = questions.ended(state, run.path, run_id)
    past = await past_of(store, path, op_id) if refusal else None
    if refusal is None or past is None:
        return None
    action = past.action
    ref = GrantRef(action.grant_id, run_id, run.ancestors, "", run.subject)
    permitted = {"prior_decision": str(ActionState.PERMITTED)} if action.fence else {}
    refusal = Refusal(refusal.reason, dict(refusal.details) | permitted)
    refusal = questions.told(questions.Call("why", ref, "", op_id), refusal, action.intent)
    story = await story_of(past, action, path, state.fences)
    return Why(refusal, None, state.now, story=story)


async def _read_grants(store: Store, state: Snapshot, grant_id: str, run_id: str) -> Grant | None:
    """Read a grant and its chain; it must be one of the run, if one is named."""
    if not grant_id:
        return None
    (grant,) = await store.grants([grant_id])
    if grant is None or run_id not in ("", grant.run_id):
        raise Refused(ErrorReason.GRANT_UNKNOWN, grant=grant_id, run=run_id)
    chain = await store.grants(grant.chain) if grant.chain else []
    state.grants = {one.grant_id: one for one in [*chain, grant] if one}
    return grant


async def _read_runs(store: Store, state: Snapshot, run_id: str) -> None:
    (run,) = await store.runs([run_id])
    if run is None:
        raise Refused(ErrorReason.RUN_UNKNOWN, run=run_id)
    above = await store.runs(run.ancestors) if run.ancestors else []
    state.runs = {one.run_id: one for one in [*above, run] if one}


def _refusal(state: Snapshot, run_id: str, grant: Grant | None, action: Action | None) -> Refusal | None:
    run = state.runs[run_id]
    if grant is None:
        return questions.ended(state, run.path, run_id) or _frozen(state, run)
    ref = GrantRef(grant.grant_id, grant.run_id, grant.ancestors, grant.audience, run.subject, grant.chain)
    call = questions.Call("why", ref, "", action.intent.op_id if action else "")
    by = questions.authority(state, call, action.intent.action if action else "", action)
    if not isinstance(by, Refusal):
        refusal = None
        if action and action.grant_id != grant.grant_id:
            refusal = Refusal(ErrorReason.WRONG_GRANT)
        elif action:
            refusal = refusal_now(state, by, action)
        if refusal is None and not action and state.now >= grant.expire_time:
            refusal = Refusal(ErrorReason.GRANT_EXPIRED)
        if refusal is None and not action:
            refusal = _over_all(state, grant)
        if refusal is None:
            return None
        by = refusal
    return questions.told(call, by, action.intent if action else None)


def _over_actions(state: Snapshot, grant: Grant) -> list[Fence]:
    """Find the fences over some actions that refuse a grant those actions, the oldest first."""
    links = (*grant.chain, grant.grant_id)
    marks = {*state.runs[grant.run_id].marks, *map(grant_mark, links)}
    return [
        one
        for one in state.fences
        if one.standing
        and one.selector.action
        and marks.issuperset(one.selector.marks)
        and one.refuses(grant.root_seq, state.now)
    ]


def _over_all(state: Snapshot, grant: Grant) -> Refusal | None:
    """Refuse if whatever the grant allows is under a fence over such actions."""
    over = _over_actions(state, grant)
    covering = [
        [one for one in over if action_covers(one.selector.action, scope.action)] for scope in grant.scopes
    ]
    return (
        questions.fence_refusal(state, [one for some in covering for one in some]) if all(covering) else None
    )


def _over_part(state: Snapshot, grant: Grant) -> tuple[Fence, str] | None:
    """Remark on the oldest fence over part of what a grant allows."""
    for one in _over_actions(state, grant):
        if any(actions_meet(one.selector.action, scope.action) for scope in grant.scopes):
            return one, _part(one)
    return None


def _part(fence: Fence) -> str:
    return f"nothing refuses it, but fence {fence.fence_id} ({fence.selector.text}) stands over part of it"


def _over(state: Snapshot, run: Run) -> list[Fence]:
    """Find the fences over a run. One over a single grant is told of to whoever asks for that grant."""
    return [one for one in state.fences if set(one.selector.marks) <= set(run.marks)]


def _frozen(state: Snapshot, run: Run) -> Refusal | None:
    """Refuse if a freeze blocks whatever the run could be issued."""
    over = [one for one in _over(state, run) if one.blocks(state.now) and not one.selector.action]
    refusal = questions.fence_refusal(state, over)
    return Refusal(refusal.reason, {"run": run.run_id} | dict(refusal.details)) if refusal else None


def _over_some(state: Snapshot, run: Run) -> tuple[Fence, str] | None:
    """Remark on a fence that blocks some of a run's actions, or else on what killed earlier grants of it.

    Of several that killed, the latest tells from when on grants are good; one over all comes before others.
    """
    over = _over(state, run)
    for one in over:
        if one.blocks(state.now):
            return one, _part(one)
    killed = [one for one in over if run.open_seq < one.seq and not one.is_over(state.now)]
    if not killed:
        return None
    last = max(killed, key=lambda one: (not one.selector.action, one.seq))
    dead = "what was issued" if not last.selector.action else f"for {last.selector.action} what was issued"
    return last, f"new grants can be issued; {dead} before entry {last.seq} is dead"
