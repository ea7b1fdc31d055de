"""Setting fences and lifting them."""

from dataclasses import replace

from grant_service.core import verbs
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import FENCES, Fence, FenceKind
from grant_service.core.journal import Kind
from grant_service.core.store import State


def revoke(state: State, command: verbs.Revoke) -> verbs.Fenced | Refusal:
    """Kill what was issued before. Nothing refuses it but its own id's being taken."""
    return _set(state, command, FenceKind.REVOKE, 0)


def freeze(state: State, command: verbs.Freeze) -> verbs.Fenced | Refusal:
    """Kill what was issued before, and block what comes later."""
    return _set(state, command, FenceKind.FREEZE, command.ttl_ms)


def _set(
    state: State, command: verbs.Revoke | verbs.Freeze, kind: FenceKind, ttl_ms: int
) -> verbs.Fenced | Refusal:
    existing = state.fence(command.fence_id)
    if existing:
        same = (existing.kind, existing.selector, existing.ttl_ms) == (kind, command.selector, ttl_ms)
        # A freeze that was lifted, or whose time is over, must not be taken for one that stands.
        if not same or (kind is FenceKind.FREEZE and not existing.blocks(state.now)):
            return Refusal(ErrorReason.FENCE_EXISTS, {"fence": command.fence_id})
        return verbs.Fenced(existing, replayed=True)
    block_until = state.now + ttl_ms if ttl_ms else 0
    data = {"fence": command.fence_id, "selector": command.selector.text, "reason": command.reason.value}
    data |= {"actor": command.actor, "note": command.note, "expire": str(block_until) if block_until else ""}
    seq = state.append(FENCES, Kind.REVOKED if kind is FenceKind.REVOKE else Kind.FROZEN, data)
    fence = Fence(
        fence_id=command.fence_id,
        kind=kind,
        selector=command.selector,
        reason=command.reason,
        actor=command.actor,
        note=command.note,
        seq=seq,
        time=state.now,
        kill_until=state.now + command.kill_ms,
        ttl_ms=ttl_ms,
        block_until=block_until,
    )
    state.put(fence)
    _tidy(state, fence)
    return verbs.Fenced(fence, replayed=False)


def _tidy(state: State, new: Fence) -> None:
    """Let commits no longer look for fences that are over, or that refuse nothing the new one does not."""
    for one in state.standing_fences():
        same = one.selector == new.selector and one.kill_until <= new.kill_until
        if one.seq < new.seq and (one.is_over(state.now) or (same and not one.blocks(state.now))):
            state.put(replace(one, standing=False))


def lift(state: State, command: verbs.Lift) -> verbs.Lifted | Refusal:
    """End a freeze. What it killed stays dead."""
    fence = state.fence(command.fence_id)
    if fence is None:
        return Refusal(ErrorReason.FENCE_UNKNOWN, {"fence": command.fence_id})
    if fence.kind is FenceKind.REVOKE:
        return Refusal(ErrorReason.FENCE_NOT_LIFTABLE, {"fence": command.fence_id})
    if fence.lift_seq:
        return verbs.Lifted(fence, replayed=True)
    data = {"fence": command.fence_id, "actor": command.actor, "note": command.note}
    lifted = replace(
        fence,
        lift_actor=command.actor,
        lift_note=command.note,
        lift_time=state.now,
        lift_seq=state.append(FENCES, Kind.LIFTED, data),
    )
    lifted = replace(lifted, standing=fence.standing and not lifted.is_over(state.now))
    state.put(lifted)
    return verbs.Lifted(lifted, replayed=False)
