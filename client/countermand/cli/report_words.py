"""What a report says in words, once, for the terminal and for the page that is handed out."""

from collections.abc import Iterable
from dataclasses import dataclass

from countermand import (
    ActionState,
    Durability,
    ErrorReason,
    LateAttempt,
    Report,
    Reversibility,
    StopReason,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a report: its title, what a terminal says behind it, and a sentence for anybody."""

    title: str
    brief: str
    meaning: str


#: By the report's fields, in the order in which a user would ask for them.
PARTS = {
    "done": Part("Done", "", "These took place: the tool that carried each one out has confirmed it."),
    "interrupted": Part(
        "Interrupted",
        "did not happen, and cannot any more",
        "These were planned, but the stop came first: they did not happen, and cannot happen any more.",
    ),
    "in_flight": Part(
        "May still land",
        "told to go before the stop; what was begun in time may land even later",
        "These had been allowed and could still be under way when this report was made: each may yet take "
        "effect.",
    ),
    "unknown": Part(
        "Unknown",
        "may have happened; look at the target",
        "These may or may not have happened: each may have been allowed, and nobody has confirmed what "
        "became of it.",
    ),
    "not_done": Part(
        "Not done",
        "for another reason than the stop",
        "These did not happen, for a reason other than the stop.",
    ),
    "pending": Part(
        "Not decided yet",
        "prepared; a cancel now would interrupt them",
        "These are planned and not allowed yet: nothing has happened.",
    ),
    "late_attempts": Part(
        "Late attempts",
        "all refused",
        "These were asked for too late, when the stop or a block already stood: every one was refused.",
    ),
}

#: The parts that list actions.
ACTIONS = tuple(name for name in PARTS if name != "late_attempts")

#: Those whose effects are there or may be, so that somebody could want them undone.
_EFFECTS = ("done", "in_flight", "unknown")

#: What each state says of an action.
STATES = {
    ActionState.UNSPECIFIED: "not told",
    ActionState.PREPARED: "planned, nothing has happened",
    ActionState.AWAITING_APPROVAL: "waits for a person to agree",
    ActionState.DENIED: "a person said no, nobody in time, or the approval was not used in time",
    ActionState.PERMITTED: "allowed, no outcome known yet",
    ActionState.SUCCEEDED: "done, says the tool",
    ActionState.FAILED: "failed, says the tool",
    ActionState.UNKNOWN: "may have happened",
    ActionState.ABANDONED: "given up by the tool",
    ActionState.INTERRUPTED: "did not happen",
    ActionState.EXPIRED: "not committed in time",
    ActionState.UNDO_PENDING: "done; undoing it is under way",
    ActionState.UNDONE: "done, and undone since",
    ActionState.UNDO_FAILED: "done; undoing it failed, a person has to see to it",
}

#: Why a late attempt was refused; other reasons are told by their names.
WHY_LATE = {
    ErrorReason.REVOKED: "the run was stopped",
    ErrorReason.RUN_FINISHED: "the run had finished",
    ErrorReason.RUN_DEADLINE: "its deadline had passed",
    ErrorReason.STORE_EPOCH: "the store may have lost facts",
    ErrorReason.FENCED: "a fence stands over it",
    ErrorReason.GRANT_ENDED: "its grant's budget had run out",
}

#: Why a run was ended.
WHY_STOPPED = {
    StopReason.UNSPECIFIED: "no reason was given",
    StopReason.USER_STOP: "its user asked for it to stop",
    StopReason.CLIENT_DISCONNECTED: "the client it worked for went away",
    StopReason.DEADLINE: "its time was over",
    StopReason.BUDGET: "a budget ran out",
    StopReason.PARENT_CANCELLED: "the run above it was stopped",
    StopReason.INCIDENT: "an incident was being handled",
    StopReason.POLICY: "a policy forbids what it was doing",
    StopReason.SUPERSEDED: "another run took over its work",
    StopReason.RUN_FINISHED: "its work was over",
    StopReason.STORE_EPOCH: "the record may have lost facts, so everything begun before it is over",
}

#: What an acknowledged decision survives.
_SURVIVES = {
    Durability.SYNCED: "a power cut loses nothing it acknowledged",
    Durability.EVERY_SECOND: "a power cut may lose up to a second of it",
}


def durability(tier: Durability) -> str:
    """Say what the record survives."""
    return f"The store is {tier}: {_SURVIVES.get(tier, 'a power cut may lose all of it')}."


def repeated(attempts: Iterable[LateAttempt]) -> list[list[LateAttempt]]:
    """Put the attempts of a tool that kept asking into one group."""
    groups: dict[tuple[str, ...], list[LateAttempt]] = {}
    for one in attempts:
        groups.setdefault((one.run_id, one.op_id, one.verb, one.action, one.reason), []).append(one)
    return list(groups.values())


def counts(report: Report) -> dict[str, int]:
    """Count the parts; of what happened or may have, what can be undone, what cannot, what need not."""
    undos = [one.undo for part in _EFFECTS for one in getattr(report, part)]
    only_read = sum(one.reversibility is Reversibility.READ_ONLY for one in undos)
    undoable = sum(one.undoable for one in undos)
    return {part: len(getattr(report, part)) for part in ACTIONS} | {
        "late_attempts": report.late_attempt_count,
        "undoable": undoable,
        "not_undoable": len(undos) - undoable - only_read,
        "nothing_to_undo": only_read,
    }
