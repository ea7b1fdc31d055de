"""Why something is refused: the questions of a decision, asked of what can be read, with nothing written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from grant_service.core.action import Action
from grant_service.core.errors import ErrorReason, Refusal, Refused
from grant_service.core.fence import Fence
from grant_service.core.grant import Grant, GrantRef
from grant_service.core.lifecycle import questions
from grant_service.core.lifecycle.actions import refusal_now
from grant_service.core.run import Run
from grant_service.core.store import Store


@dataclass(frozen=True, slots=True)
class Why:
    """The first rule that refuses, or None if nothing does; and the fence, if it is one."""

    refusal: Refusal | None
    fence: Fence | None
    now: int


@dataclass
class Snapshot:
    """What was read, in the form in which the rules look at a store. Nothing can be written to it."""

    epoch: str
    now: int
    behind_ms: int = 0
    runs: dict[str, Run] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    fences: Sequence[Fence] = ()

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
    grant = await _read_grants(store, state, grant_id, run_id)
    run_id = grant.run_id if grant else run_id
    action = None
    if op_id:
        (action,) = await store.actions([(run_id, op_id)])
        if action is None:
            raise Refused(ErrorReason.ACTION_UNKNOWN, run=run_id, op=op_id)
        grant = grant or await _read_grants(store, state, action.grant_id, run_id)
    await _read_runs(store, state, run_id)
    refusal = _refusal(state, run_id, grant, action)
    named = refusal.details.get("fence") if refusal else None
    fence = next((one for one in state.fences if one.fence_id == named), None)
    return Why(refusal, fence, standing.now)


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
        return questions.ended(state, run.path, run_id) or _fence_over(state, run)
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
        if refusal is None:
            return None
        by = refusal
    return questions.told(call, by, action.intent if action else None)


def _fence_over(state: Snapshot, run: Run) -> Refusal | None:
    """Tell of the first fence over a run that blocks it, or killed some of its grants.

    One that blocks all it could do comes before one that blocks some actions. One over a single grant is told
    of to whoever asks for that grant.
    """
    over = [
        one
        for one in state.fences
        if set(one.selector.marks) <= set(run.marks)
        and (one.blocks(state.now) or (run.open_seq < one.seq and not one.is_over(state.now)))
    ]
    over.sort(key=lambda one: (not one.blocks(state.now), bool(one.selector.action), one.seq))
    refusal = questions.fence_refusal(state, over[:1])
    return Refusal(refusal.reason, {"run": run.run_id} | dict(refusal.details)) if refusal else None
